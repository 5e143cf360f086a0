"""What takes a step back, and whether it still may."""

from __future__ import annotations

from dataclasses import dataclass

from downstage.live.difference import order_of
from downstage.live.document import TYPE, Document, arranged, guard_of
from downstage.live.ops import Create, Op, Order, Remove, Sample, Set
from downstage.live.paths import parent_of

__all__ = ["Inverse", "invert", "still_holds"]


@dataclass(frozen=True, slots=True)
class Inverse:
    """The ops that undo one step."""

    step: Op
    ops: tuple[Op, ...]
    order: tuple[str, ...] = ()
    """Of the prims, as an order left them."""


def invert(document: Document, step: Op) -> Inverse:
    """What undoes *step*, which *document* is about to do."""
    spec = document.specs.get(step.path)
    match step:
        case Set() if spec is not None:
            old = spec.fields.get(step.field)
            guard = None if old is None else guard_of(spec, step.field)
            return Inverse(step, (Set(step.path, step.field, old, guard),))
        case Sample() if spec is not None:
            guard = spec.fields.get(TYPE)
            return Inverse(
                step, (Sample(step.path, step.time, spec.samples.get(step.time), guard),)
            )
        case Create():
            return Inverse(step, (Remove(step.path),))
        case Remove():
            holder = parent_of(step.path)
            made = (*document.snapshot(step.path), order_of(holder, document.specs[holder]))
            return Inverse(step, made)
        case Order() if spec is not None:
            left = tuple(arranged(spec.prims, step))
            return Inverse(step, (order_of(step.path, spec),), left)
        case _:
            return Inverse(step, ())


def still_holds(document: Document, inverse: Inverse) -> bool:
    """What the step did is still so: nobody did another thing to the same since."""
    step = inverse.step
    spec = document.specs.get(step.path)
    match step:
        case Remove():
            return spec is None
        case Create():
            return spec is not None
        case Set():
            return spec is not None and spec.fields.get(step.field) == step.value
        case Sample():
            return spec is not None and spec.samples.get(step.time) == step.value
        case Order():
            return spec is not None and tuple(spec.prims) == inverse.order
