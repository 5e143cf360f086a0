"""Paths and batches: what is in form comes back, what is not is refused whole."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import BadMessage, TooLarge
from downstage.live import wire
from downstage.live.document import Document
from downstage.live.ops import Create, Op, Order, Remove, Sample, Set
from downstage.live.paths import ancestors, check, is_under, name_of, parent_of, shape_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("path", "shape", "parent", "name"),
    [
        ("/A", "prim", "/", "A"),
        ("/A/B", "prim", "/A", "B"),
        ("/A.x", "property", "/A", "x"),
        ("/A.x:y", "property", "/A", "x:y"),
        ("/A{v=}", "variants", "/A", "{v=}"),
        ("/A{v=a}", "variant", "/A{v=}", "{v=a}"),
        ("/A{v=.a-b|c}", "variant", "/A{v=}", "{v=.a-b|c}"),
        ("/A{v=a}B", "prim", "/A{v=a}", "B"),
        ("/A{v=a}.x", "property", "/A{v=a}", "x"),
        ("/A{v=a}{w=}", "variants", "/A{v=a}", "{w=}"),
        ("/A{v=a}{w=b}B/C.x", "property", "/A{v=a}{w=b}B/C", "x"),
        ("/Größe", "prim", "/", "Größe"),
    ],
)
def test_paths_have_shape_parent_and_name(path: str, shape: str, parent: str, name: str) -> None:
    assert check(path) == path
    assert (shape_of(path), parent_of(path), name_of(path)) == (shape, parent, name)
    assert ancestors(path)[-1] == "/"
    assert is_under(path, parent)
    assert not is_under(parent, path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "A", "//", "/A/", "/A//B", "/../A", "/A.", "/A.x.y", "/A.x/B", "/.x", "/1", "/A B"),
        *("/A{v}", "/A{=}", "/A{v=a", "/A{v=a}/B", "/A{v=}B", "/A.x{v=a}", "/{v=a}", "/A{v=a=b}"),
        *("/A\0", "/A[x]", "/A" * 129, "/" + "A" * 4096, "/A..x", "/A.x:", "/A{v=/}"),
    ],
    ids=lambda path: path[:20] or "empty",
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(BadMessage):
        check(path)


OPS: list[Op] = [
    Create("/A", "prim", {"specifier": b"x"}),
    Set("/A", "kind", None),
    Set("/A.x", "default", b"1", b"double"),
    Sample("/A.x", 1.5, b"2"),
    Order("/", ["B", "A"]),
    Remove("/A"),
]


def test_batches_come_back() -> None:
    assert wire.decode(wire.encode(OPS)) == OPS


@pytest.mark.parametrize(
    "ops",
    [
        [Sample("/A.x", float("nan"), b"")],
        [Sample("/A.x", float("inf"), b"")],
        [Set("/A", "", b"")],
        [Set("/A", "f" * 300, b"")],
        [Create("/A", "prim", {str(n): b"" for n in range(300)})],
        [Order("/", ["a"] * 100_001)],
        [*OPS, Remove("/A/..")],
    ],
    ids=["nan", "infinite", "no field", "long field", "many fields", "many names", "one bad path"],
)
def test_ops_out_of_bounds_are_refused(ops: list[Op]) -> None:
    with pytest.raises(BadMessage):
        wire.decode(wire.encode(ops))


def test_T05_the_largest_batch_takes_no_seconds_to_look_at() -> None:
    """Each path is another, so that nothing remembered helps; it took five seconds once."""
    paths = [
        "/" + "/".join("abcdefgh"[(number >> 3 * n) & 7] for n in range(24))
        for number in range(1 << 20, (1 << 20) + 40_000)
    ]
    batch = wire.encode([Set(path, "x", None) for path in paths])
    assert len(batch) < wire.MAX_BATCH
    began = time.process_time()
    assert len(wire.decode(batch)) == len(paths)
    assert time.process_time() - began < 2


def test_too_much_is_refused() -> None:
    with pytest.raises(TooLarge):
        wire.decode(wire.encode([Set("/A", "x", bytes(wire.MAX_BATCH))]))
    with pytest.raises(TooLarge):
        wire.decode(wire.encode([Remove("/A")] * (wire.MAX_OPS + 1)))


@given(st.binary(max_size=200))
def test_any_bytes_are_ops_or_refused(data: bytes) -> None:
    try:
        ops = wire.decode(data)
    except (BadMessage, TooLarge):
        return
    Document.of(ops)


@given(st.recursive(st.none() | st.integers() | st.text() | st.binary(), st.lists, max_leaves=20))
def test_any_structure_is_ops_or_refused(data: object) -> None:
    try:
        packed = msgspec.msgpack.encode(data)
    except OverflowError:
        return
    try:
        Document.of(wire.decode(packed))
    except (BadMessage, TooLarge):
        return


def test_long_runs_are_split_into_batches_that_fit() -> None:
    ops = [Set("/A", f"f{n}", bytes(200_000)) for n in range(40)]
    runs = wire.split(ops)
    assert [op for run in runs for op in run] == ops
    assert all(len(wire.encode(run)) < wire.MAX_BATCH for run in runs)


def test_the_weight_is_what_is_held() -> None:
    document = Document.of(OPS[:4])
    assert document.weight > 0
    document.apply(Remove("/A"))
    assert document.weight == 0
