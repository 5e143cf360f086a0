"""The document: a tree of specs that the same ops in the same order make the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

from downstage.live.ops import Create, Kind, Op, Order, Remove, Sample, Set
from downstage.live.paths import ROOT, name_of, parent_of, shape_of

__all__ = ["TYPE", "Document", "Spec", "arranged", "guard_of"]

TYPE = "typeName"
"""The field that says what values an attribute can have; it changes by re-creation alone."""

_GUARDED = {
    "attribute": frozenset({"default", "spline", "connectionPaths"}),
    "relationship": frozenset({"targetPaths"}),
}
"""Fields that make sense in a property of the same kind and type alone."""
_HELD: dict[Kind, tuple[Kind, ...]] = {
    "layer": ("prim",),
    "prim": ("prim", "attribute", "relationship", "variants"),
    "variant": ("prim", "attribute", "relationship", "variants"),
    "variants": ("variant",),
    "attribute": (),
    "relationship": (),
}
_Key = TypeVar("_Key", str, float)
_SPEC_COST = 128
"""Bytes that a spec is counted with beyond its path and values."""


@dataclass(slots=True)
class Spec:
    """One spec; children by path."""

    kind: Kind
    fields: dict[str, bytes] = field(default_factory=dict[str, bytes])
    samples: dict[float, bytes] = field(default_factory=dict[float, bytes])
    prims: dict[str, None] = field(default_factory=dict[str, None])
    """Child prims, in their order."""
    others: dict[str, None] = field(default_factory=dict[str, None])
    """Properties, variant sets or variants; USD keeps no order of them."""

    def shelf(self, kind: Kind) -> dict[str, None]:
        """Where children of *kind* are kept."""
        return self.prims if kind == "prim" else self.others


class Document:
    """All specs by path. `weight` is about what they take, in bytes."""

    def __init__(self) -> None:
        self.specs: dict[str, Spec] = {ROOT: Spec("layer")}
        self.weight = 0
        self.variants = set[str]()
        """Paths of the variant sets."""

    def __eq__(self, other: object) -> bool:
        """Same specs, fields, samples and order of prims."""
        if not isinstance(other, Document) or self.specs.keys() != other.specs.keys():
            return False
        return all(_same(spec, other.specs[path]) for path, spec in self.specs.items())

    __hash__ = None  # type: ignore[assignment]

    def apply(self, op: Op) -> tuple[Op, ...]:
        """Do *op*; the plain steps that it came to, none where it had no effect."""
        steps = self.resolve(op)
        for step in steps:
            self.do(step)
        return steps

    def resolve(self, op: Op) -> tuple[Op, ...]:
        """The steps that *op* comes to here; what fits nowhere comes to none.

        A step's create is of what is absent, its remove of what is there, its set a change.
        """
        match op:
            case Set():
                return (op,) if self._is_change(op) else ()
            case Sample():
                return (op,) if self._is_sample(op) else ()
            case Create():
                return self._resolve_create(op)
            case Remove():
                return (op,) if op.path != ROOT and op.path in self.specs else ()
            case Order():
                spec = self.specs.get(op.path)
                return (op,) if spec and list(arranged(spec.prims, op)) != list(spec.prims) else ()

    def do(self, step: Op) -> None:
        """One step of `resolve`, with no further look."""
        match step:
            case Set():
                self._put(self.specs[step.path].fields, step.field, step.value)
            case Sample():
                self._put(self.specs[step.path].samples, step.time, step.value)
            case Create():
                self._create(step)
            case Remove():
                self._remove(step.path)
            case Order():
                spec = self.specs[step.path]
                spec.prims = arranged(spec.prims, step)
            case _:  # pragma: no cover
                assert_never(step)

    def snapshot(self, root: str = ROOT) -> Iterator[Op]:
        """Ops that make *root* and all below it, holders first; applied to nothing: this."""
        stack = [root] if root in self.specs else []
        while stack:
            path = stack.pop()
            spec = self.specs[path]
            if path == ROOT:
                for name, value in spec.fields.items():
                    yield Set(path, name, value)
            else:
                yield Create(path, spec.kind, dict(spec.fields))
            for time, value in spec.samples.items():
                yield Sample(path, time, value, spec.fields.get(TYPE))
            stack.extend(reversed(spec.prims))
            stack.extend(reversed(spec.others))

    @classmethod
    def of(cls, ops: Iterable[Op]) -> Document:
        """What *ops* make of nothing."""
        document = cls()
        for op in ops:
            document.apply(op)
        return document

    def _is_change(self, op: Set) -> bool:
        spec = self.specs.get(op.path)
        if spec is None or not _fits(spec, op.guard):
            return False
        if op.field == TYPE and spec.kind == "attribute":
            return False
        return spec.fields.get(op.field) != op.value

    def _is_sample(self, op: Sample) -> bool:
        spec = self.specs.get(op.path)
        if spec is None or spec.kind != "attribute" or not _fits(spec, op.guard):
            return False
        return spec.samples.get(op.time) != op.value

    def _resolve_create(self, op: Create) -> tuple[Op, ...]:
        holder = self.specs.get(parent_of(op.path)) if op.path != ROOT else None
        if holder is None or op.kind not in _HELD[holder.kind] or not _is_shaped(op):
            return ()
        spec = self.specs.get(op.path)
        if spec is None:
            return (op,)
        if spec.kind != op.kind or (
            spec.kind == "attribute" and spec.fields.get(TYPE) != op.fields.get(TYPE)
        ):
            return (Remove(op.path), op)
        return tuple(
            Set(op.path, name, value)
            for name, value in op.fields.items()
            if spec.fields.get(name) != value
        )

    def _create(self, step: Create) -> None:
        self.specs[step.path] = Spec(step.kind, dict(step.fields))
        self.specs[parent_of(step.path)].shelf(step.kind)[step.path] = None
        if step.kind == "variants":
            self.variants.add(step.path)
        self.weight += _SPEC_COST + len(step.path) + sum(map(len, step.fields.values()))

    def _remove(self, path: str) -> None:
        holder = self.specs[parent_of(path)]
        holder.prims.pop(path, None)
        holder.others.pop(path, None)
        stack = [path]
        while stack:
            gone = stack.pop()
            spec = self.specs.pop(gone)
            self.variants.discard(gone)
            stack.extend(spec.prims)
            stack.extend(spec.others)
            self.weight -= _SPEC_COST + len(gone)
            self.weight -= sum(map(len, spec.fields.values()))
            self.weight -= sum(map(len, spec.samples.values()))

    def _put(self, shelf: dict[_Key, bytes], key: _Key, value: bytes | None) -> None:
        self.weight -= len(shelf.get(key, b""))
        if value is None:
            del shelf[key]
        else:
            shelf[key] = value
            self.weight += len(value)


def arranged(prims: Iterable[str], op: Order) -> dict[str, None]:
    """*prims* in the order that *op* asks for."""
    known = {name_of(path): path for path in prims}
    first = {known[name]: None for name in op.names if name in known}
    return first | dict.fromkeys(known.values())


def guard_of(spec: Spec, field: str) -> bytes | None:
    """What `Set.guard` is for *field* of *spec*; of a relationship an empty type."""
    if field not in _GUARDED.get(spec.kind, ()):
        return None
    return spec.fields.get(TYPE, b"")


def _fits(spec: Spec, guard: bytes | None) -> bool:
    return guard is None or spec.fields.get(TYPE, b"") == guard


def _is_shaped(op: Create) -> bool:
    shape = shape_of(op.path)
    return op.kind in ("attribute", "relationship") if shape == "property" else op.kind == shape


def _same(one: Spec, other: Spec) -> bool:
    return (
        one.kind == other.kind
        and one.fields == other.fields
        and one.samples == other.samples
        and list(one.prims) == list(other.prims)
        and one.others.keys() == other.others.keys()
    )
