"""Values: each type that USD has comes back as it was; what is no value is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pxr import Gf, Sdf, Vt

from downstage.client.live import values

pytestmark = pytest.mark.unit

TYPES = sorted(
    name
    for name in dir(Sdf.ValueTypeNames)
    if isinstance(getattr(Sdf.ValueTypeNames, name), type(Sdf.ValueTypeNames.Int))
)
NO_VALUE = {"Opaque", "Group"}


@pytest.mark.parametrize("name", [name for name in TYPES if name not in NO_VALUE])
def test_every_type_of_attribute_comes_back(name: str) -> None:
    kind = getattr(Sdf.ValueTypeNames, name)
    layer = Sdf.Layer.CreateAnonymous()
    attribute = Sdf.AttributeSpec(Sdf.CreatePrimInLayer(layer, "/A"), "x", kind)
    value = _filled(kind.defaultValue)
    attribute.default = value
    attribute.default = values.decode(values.encode(attribute.default))
    assert attribute.default == value
    assert type(attribute.default) is type(value)


def _filled(value: Any) -> Any:
    if not kind_is_array(value):
        return value
    element = {"StringArray": "a", "TokenArray": "b", "BoolArray": True}.get(type(value).__name__)
    if element is not None:
        return type(value)([element, element])
    if type(value).__name__ in ("AssetPathArray", "PathExpressionArray", "TimeCodeArray"):
        return value
    return type(value)(3)


def kind_is_array(value: Any) -> bool:
    return type(value).__name__.endswith("Array")


LIST_OP = Sdf.PathListOp()
LIST_OP.prependedItems = [Sdf.Path("/A")]
LIST_OP.deletedItems = [Sdf.Path("/B.x")]
EXPLICIT = Sdf.TokenListOp()
EXPLICIT.explicitItems = []


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**63,
        1.5,
        "text",
        Gf.Vec3d(1, 2, 3),
        Gf.Quath(1, 2, 3, 4),
        Gf.Matrix4d(2),
        Sdf.AssetPath("a.usd"),
        Sdf.Path("/A{v=a}B.x"),
        Sdf.Path(),
        Sdf.ValueBlock(),
        Sdf.TimeCode(2),
        Sdf.SpecifierClass,
        Sdf.Reference("a.usd", "/A", Sdf.LayerOffset(1, 2), {"k": 1}),
        Sdf.Payload("", "/A"),
        Sdf.LayerOffset(3, 4),
        LIST_OP,
        EXPLICIT,
        {"a": {"b": Vt.IntArray([1, 2])}, "c": [1, "x"]},
        Sdf.PathExpression("//x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_come_back(value: Any) -> None:
    back = values.decode(values.encode(value))
    assert back == value
    assert type(back) is type(value)


def test_a_spline_comes_back() -> None:
    layer = Sdf.Layer.CreateAnonymous(".usda")
    layer.ImportFromString('#usda 1.0\ndef "A" {\n double x.spline = {\n 1: 2,\n 3: 4,\n }\n}\n')
    spline = layer.GetAttributeAtPath("/A.x").GetInfo("spline")
    assert values.decode(values.encode(spline)) == spline


def test_what_does_not_travel_is_said() -> None:
    with pytest.raises(values.Unencodable):
        values.encode(object())
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(values.Unencodable):
        values.encode(deep)


HOSTILE = [
    b"",
    b"\xc1",
    b"\x91" * 10_000,
    values._encoder.encode(["Vec3d", "x"]),
    values._encoder.encode(["Vec3fArray", b"123"]),
    values._encoder.encode(["enum", "SdfNothing"]),
    values._encoder.encode(["Path", "not a path"]),
    values._encoder.encode(["nothing", 1]),
    values._encoder.encode([[]]),
    values._encoder.encode([]),
    values._encoder.encode({"a": 1}),
    values._encoder.encode(["dict", [1]]),
    values._encoder.encode(["Reference", 1]),
    values._encoder.encode(["Spline", "#usda 1.0\n"]),
    values._encoder.encode(["Matrix4d", *range(3)]),
    values._encoder.encode(["PathListOp", None, [["Path", "/A"]]]),
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 any reason will do
        values.decode(data)


@given(st.binary(max_size=64))
def test_any_bytes_make_a_value_or_are_refused(data: bytes) -> None:
    try:
        values.decode(data)
    except ValueError:
        return


def test_damaged_values_make_a_value_or_are_refused() -> None:
    draw = random.Random(1)
    for _ in range(2000):
        data = bytearray(values.encode(LIST_OP))
        data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            values.decode(bytes(data))
        except ValueError:
            continue
