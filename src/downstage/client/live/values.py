"""USD's values as bytes and back: scalars as they are, all else as ``[tag, ...]`` in msgpack.

Arrays travel as their raw memory, little-endian. A value that this table does not know raises
`Unencodable`; bytes that make no value raise ``ValueError``, whoever sent them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import numpy as np

from downstage.client.live.pxr import Gf, Sdf, Tf, Vt

__all__ = ["Unencodable", "decode", "encode"]

MAX_NESTING = 32
"""Dictionaries and lists within each other."""

Packed = list[Any]


class Unencodable(TypeError):
    """A value of a type that does not travel."""


def encode(value: object) -> bytes:
    """*value* as bytes; the same value gives the same bytes.

    Raises:
        Unencodable: its type does not travel.
    """
    return _encoder.encode(_pack(value, 0))


def decode(data: bytes) -> Any:
    """The value that *data* stands for.

    Raises:
        ValueError: it stands for none.
    """
    try:
        return _unpack(_decoder.decode(data), 0)
    except _MALFORMED as error:
        raise ValueError(f"no value of USD: {error}"[:200]) from error
    except Tf.ErrorException as error:
        raise ValueError("no value of USD") from error


_MALFORMED = (
    *(msgspec.DecodeError, RecursionError),
    *(TypeError, LookupError, OverflowError, AttributeError, RuntimeError),
)
"""What USD's constructors and the walk below raise for arguments that were never packed here."""
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


def _named(module: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in names if hasattr(module, name)}


_VECTORS = _named(Gf, *(f"Vec{size}{kind}" for size in "234" for kind in "hfdi"))
_MATRICES = _named(Gf, *(f"Matrix{size}{kind}" for size in "234" for kind in "fd"))
_QUATERNIONS = _named(Gf, "Quath", "Quatf", "Quatd")
_DURATIONS = _named(Gf, "Duration")
_LIST_OPS = {
    name: getattr(Sdf, name)
    for name in dir(Sdf)
    if name.endswith("ListOp") and name not in ("ListOp", "UnregisteredValueListOp")
}
_LISTS = ("prependedItems", "appendedItems", "deletedItems", "addedItems", "orderedItems")


def _arrays() -> tuple[dict[str, tuple[Any, str, tuple[int, ...]]], dict[str, Any]]:
    """Arrays with memory (type, format, shape of one element), and arrays of objects."""
    raw, plain = dict[str, tuple[Any, str, tuple[int, ...]]](), dict[str, Any]()
    for module in (Vt, Sdf):
        for name in dir(module):
            kind = getattr(module, name)
            if not name.endswith("Array") or not isinstance(kind, type):
                continue
            try:
                view = memoryview(cast(Any, kind)(1))
            except TypeError:
                plain[name] = kind
            else:
                raw[name] = (kind, view.format, cast("tuple[int, ...]", view.shape)[1:])
    return raw, plain


_RAW, _PLAIN = _arrays()


def _pack(value: Any, depth: int) -> Any:
    if type(value) in _SCALARS:
        return value
    if depth > MAX_NESTING:
        raise Unencodable("nested too deeply")
    name = type(value).__name__
    packer = _PACKERS.get(name)
    if packer is not None:
        return [name, *packer(value)]
    return _pack_nested(value, name, depth + 1)


def _pack_nested(value: Any, name: str, depth: int) -> Packed:
    if name in _RAW:
        return [name, memoryview(value).tobytes()]
    if name in _PLAIN:
        return [name, [_pack(item, depth) for item in value]]
    if isinstance(value, dict):
        items = sorted(cast("dict[str, Any]", value).items())
        return ["dict", {str(key): _pack(item, depth) for key, item in items}]
    if isinstance(value, list | tuple):
        return ["list", [_pack(item, depth) for item in cast("Sequence[Any]", value)]]
    return [name, *_pack_parts(value, name, depth)]


def _pack_parts(value: Any, name: str, depth: int) -> Packed:
    if name in _LIST_OPS:
        return _pack_list_op(value, depth)
    if name == "Reference":
        return [*_pack_arc(value), _pack(dict(value.customData), depth)]
    if name == "UnregisteredValue":
        return [_pack(value.value, depth)]
    if isinstance(value, Tf.Enum):
        return [value.fullName]
    raise Unencodable(name)


def _pack_list_op(value: Any, depth: int) -> Packed:
    if value.isExplicit:
        return [[_pack(item, depth) for item in value.explicitItems]]
    return [None, *([_pack(item, depth) for item in getattr(value, part)] for part in _LISTS)]


def _pack_arc(value: Any) -> Packed:
    offset = value.layerOffset
    path = value.primPath.pathString
    return [value.assetPath, path, offset.offset, offset.scale]


_SCALARS = frozenset({bool, int, float, str, type(None)})
_PACKERS: dict[str, Callable[[Any], Sequence[Any]]] = {
    **dict.fromkeys(_VECTORS, tuple),
    **dict.fromkeys(_MATRICES, lambda value: [cell for row in value for cell in row]),
    **dict.fromkeys(_QUATERNIONS, lambda value: [value.real, *value.imaginary]),
    **dict.fromkeys(_DURATIONS, lambda value: [float(value)]),
    "TimeCode": lambda value: [value.GetValue()],
    "AssetPath": lambda value: [value.authoredPath],
    "Path": lambda value: [value.pathString],
    "PathExpression": lambda value: [value.GetText()],
    "ValueBlock": lambda _value: (),
    "AnimationBlock": lambda _value: (),
    "Payload": _pack_arc,
    "Spline": lambda value: [_spline_text(value)],
    "LayerOffset": lambda value: [value.offset, value.scale],
}


def _unpack(packed: Any, depth: int) -> Any:
    if not isinstance(packed, list):
        if type(packed) not in _SCALARS:
            raise ValueError("neither a scalar nor tagged")
        return packed
    if depth > MAX_NESTING:
        raise ValueError("nested too deeply")
    name, *rest = cast("list[Any]", packed)
    unpacker = _UNPACKERS.get(name)
    if unpacker is not None:
        return unpacker(*rest)
    return _unpack_nested(name, rest, depth + 1)


def _unpack_nested(name: str, rest: Packed, depth: int) -> Any:
    if name in _RAW:
        kind, code, shape = _RAW[name]
        return kind.FromNumpy(np.frombuffer(rest[0], dtype=code).reshape(-1, *shape))
    if name in _PLAIN:
        return _PLAIN[name]([_unpack(item, depth) for item in rest[0]])
    if name == "dict":
        return {str(key): _unpack(item, depth) for key, item in rest[0].items()}
    if name == "list":
        return [_unpack(item, depth) for item in rest[0]]
    return _unpack_parts(name, rest, depth)


def _unpack_parts(name: str, rest: Packed, depth: int) -> Any:
    if name in _LIST_OPS:
        return _unpack_list_op(_LIST_OPS[name](), rest, depth)
    if name == "Reference":
        data = _unpack(rest[4], depth)
        return Sdf.Reference(rest[0], _path(rest[1]), Sdf.LayerOffset(*rest[2:4]), data)
    if name == "UnregisteredValue":
        return Sdf.UnregisteredValue(_unpack(rest[0], depth))
    return _unpack_enum(rest[0])


def _unpack_list_op(value: Any, rest: Packed, depth: int) -> Any:
    if rest[0] is not None:
        value.explicitItems = [_unpack(item, depth) for item in rest[0]]
        return value
    for part, items in zip(_LISTS, rest[1:], strict=True):
        if items:
            setattr(value, part, [_unpack(item, depth) for item in items])
    return value


def _path(text: str) -> Any:
    if not text:
        return Sdf.Path()
    if not Sdf.Path.IsValidPathString(text)[0]:
        raise ValueError("no path of USD")
    return Sdf.Path(text)


def _payload(asset: str, path: str, offset: float, scale: float) -> Any:
    return Sdf.Payload(asset, _path(path), Sdf.LayerOffset(offset, scale))


def _spline_text(value: Any) -> str:
    """A spline has no other form than USD's own text."""
    layer = Sdf.Layer.CreateAnonymous(".usda")
    kind = Sdf.GetValueTypeNameForValue(
        Sdf.ValueTypeNames.Find(value.GetValueTypeName()).defaultValue
    )
    attribute = Sdf.AttributeSpec(Sdf.PrimSpec(layer, "S", Sdf.SpecifierOver), "s", kind)
    attribute.SetInfo("spline", value)
    return layer.ExportToString()


def _spline(text: str) -> Any:
    layer = Sdf.Layer.CreateAnonymous(".usda")
    layer.ImportFromString(text)
    return layer.GetAttributeAtPath("/S.s").GetInfo("spline")


def _unpack_enum(name: str) -> Any:
    value = Tf.Enum.GetValueFromFullName(name)
    if value is None:
        raise ValueError("unknown enumeration value")
    return value


_UNPACKERS: dict[str, Callable[..., Any]] = {
    **_VECTORS,
    **_MATRICES,
    **_QUATERNIONS,
    **_DURATIONS,
    "TimeCode": Sdf.TimeCode,
    "AssetPath": Sdf.AssetPath,
    "Path": _path,
    "PathExpression": Sdf.PathExpression,
    "Spline": _spline,
    "ValueBlock": Sdf.ValueBlock,
    "AnimationBlock": getattr(Sdf, "AnimationBlock", Sdf.ValueBlock),
    "Payload": _payload,
    "LayerOffset": Sdf.LayerOffset,
}
