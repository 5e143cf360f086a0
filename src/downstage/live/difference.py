"""What turns one document into another, as ops."""

from __future__ import annotations

from collections.abc import Iterator

from downstage.live.document import TYPE, Document, Spec, guard_of
from downstage.live.ops import Op, Order, Remove, Sample, Set
from downstage.live.paths import ROOT, name_of

__all__ = ["difference", "order_of", "spec_difference"]


def difference(old: Document, new: Document, root: str = ROOT) -> Iterator[Op]:
    """Ops that make *root* and all below it in *old* what it is in *new*.

    *old* may be changed by each as it comes, or be left as it is.
    """
    wanted, present = new.specs.get(root), old.specs.get(root)
    if wanted is None:
        if present is not None:
            yield Remove(root)
        return
    if present is not None and _is_other(present, wanted):
        yield Remove(root)
        present = None
    if present is None:
        yield from new.snapshot(root)
        return
    # Lists are taken before anything is yielded: the caller may change *old* in between.
    gone = [path for path in present.prims if path not in wanted.prims]
    gone += [path for path in present.others if path not in wanted.others]
    shown = [path for path in present.prims if path in wanted.prims]
    shown += [path for path in wanted.prims if path not in present.prims]
    yield from spec_difference(root, present, wanted)
    for path in gone:
        yield Remove(path)
    for path in (*wanted.others, *wanted.prims):
        yield from difference(old, new, path)
    if shown != list(wanted.prims):
        yield order_of(root, wanted)


def spec_difference(path: str, old: Spec, new: Spec) -> Iterator[Op]:
    """Ops that give the spec at *path* the fields and samples of *new*."""
    dropped = [name for name in old.fields if name not in new.fields]
    erased = [time for time in old.samples if time not in new.samples]
    for name, value in new.fields.items():
        if old.fields.get(name) != value:
            yield Set(path, name, value, guard_of(new, name))
    for time, value in new.samples.items():
        if old.samples.get(time) != value:
            yield Sample(path, time, value, new.fields.get(TYPE))
    for name in dropped:
        yield Set(path, name, None)
    for time in erased:
        yield Sample(path, time, None)


def order_of(path: str, spec: Spec) -> Order:
    """The op that puts the prims of *path* in the order they have in *spec*."""
    return Order(path, [name_of(child) for child in spec.prims])


def _is_other(one: Spec, other: Spec) -> bool:
    if one.kind != other.kind:
        return True
    return one.kind == "attribute" and one.fields.get(TYPE) != other.fields.get(TYPE)
