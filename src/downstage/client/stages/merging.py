"""A live layer laid into the layer below it, so that the stage stays what it is."""

from __future__ import annotations

from typing import Any

from downstage.client.live import values
from downstage.client.live.binding import LayerBinding
from downstage.live.document import TYPE, Document
from downstage.live.ops import Create, Op, Remove, Sample, Set

__all__ = ["lay_over"]


def lay_over(below: Any, document: Document) -> int:
    """Put what *document* says into the layer *below*; the number of things that did not fit.

    Opinions of the document are the stronger ones. A list is edited as USD would when composing,
    a dictionary is merged, and an attribute's values hide all that are below: a default also the
    samples.
    """
    binding = LayerBinding(below)
    steps = list[Op]()
    for op in document.snapshot():
        match op:
            case Set(path=path, field=name, value=value) if value is not None:
                steps.append(
                    Set(path, name, _combined(name, value, binding.read_field(path, name)))
                )
            case Create():
                steps += _created(op, binding, document)
            case _:
                steps.append(op)
    binding.do(steps, document)
    return binding.refused


def _created(op: Create, binding: LayerBinding, document: Document) -> list[Op]:
    kind = binding.kind_at(op.path)
    if kind is None:
        return [op]
    if kind != op.kind:
        return [Remove(op.path), op]
    if kind == "attribute" and binding.read_field(op.path, TYPE) != op.fields.get(TYPE):
        return [Remove(op.path), op]
    steps = list[Op]()
    if kind == "attribute" and ("default" in op.fields or document.specs[op.path].samples):
        steps += [Sample(op.path, time, None) for time, _ in binding.read_samples(op.path)]
        if binding.read_field(op.path, "spline") is not None:
            steps.append(Set(op.path, "spline", None))
    for name, value in op.fields.items():
        if (kind, name) not in _FIXED:
            below = binding.read_field(op.path, name)
            steps.append(Set(op.path, name, _combined(name, value, below)))
    return steps


_FIXED = {("attribute", TYPE)}


def _combined(name: str, value: bytes, below: bytes | None) -> bytes:
    """*value* as it is with *below* under it."""
    if below is None:
        return value
    stronger, weaker = values.decode(value), values.decode(below)
    if name == "subLayers":
        known = {row[0] for row in stronger}
        return values.encode([*stronger, *(row for row in weaker if row[0] not in known)])
    return values.encode(_over(stronger, weaker))


def _over(stronger: Any, weaker: Any) -> Any:
    if _is_dictionary(stronger) and _is_dictionary(weaker):
        result = dict(weaker)
        for key, value in stronger.items():
            result[key] = _over(value, result[key]) if key in result else value
        return result
    if hasattr(stronger, "ApplyOperations") and type(stronger) is type(weaker):
        both = stronger.ApplyOperations(weaker)
        return stronger if both is None else both
    return stronger


def _is_dictionary(value: Any) -> bool:
    return isinstance(value, dict)
