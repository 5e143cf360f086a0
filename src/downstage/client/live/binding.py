"""One `Sdf.Layer` as specs of a live document: read what it has, do what a step says.

Of what USD fills in by itself only what differs is a field: an ``over`` has no specifier, a
plain attribute neither ``custom`` nor ``variability``. So two who author over the same prim
do not take each other's definition away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from downstage.client.live import values
from downstage.client.live.fields import FieldWriter, plain_fields
from downstage.client.live.pxr import Sdf, Tf
from downstage.kernel.logging import get_logger
from downstage.live.difference import order_of
from downstage.live.document import TYPE, Document, Spec
from downstage.live.ops import Create, Kind, Op, Order, Remove, Sample, Set
from downstage.live.paths import ROOT, name_of, parent_of
from downstage.live.wire import MAX_BATCH

__all__ = ["LayerBinding"]

_log = get_logger(__name__)

MAX_VALUE = MAX_BATCH - 64 * 1024
"""Bytes of one value; what is larger stays here, and belongs into a file."""

_UNREAD = frozenset(
    {"timeSamples", "primChildren", "properties", "variantChildren", "variantSetChildren"}
    | {"subLayerOffsets"}
)


class LayerBinding:
    """Reads and writes *layer* as specs.

    Args:
        layer: an `Sdf.Layer`; used on one thread at a time.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.refused = 0
        """Steps that USD would not do: values it has no room for."""
        self._writer = FieldWriter(layer)

    # Read --------------------------------------------------------------------------------------

    def read(self, path: str) -> Spec | None:
        """The spec at *path* as it is now, without what lies below; None: there is none."""
        found = self.find(path)
        if found is None:
            return None
        kind, spec = found
        result = Spec(kind)
        if kind == "variants":
            names = [variant.name for variant in spec.variantList]
            result.others = dict.fromkeys(f"{path[:-1]}{name}}}" for name in names)
            return result
        for name in spec.ListInfoKeys():
            if name not in _UNREAD:
                value = self.read_field(path, name, spec)
                if value is not None:
                    result.fields[name] = value
        if kind == "attribute":
            result.samples = dict(self.read_samples(path))
        elif kind != "relationship":
            self._read_children(path, spec, result)
        return result

    def read_field(self, path: str, name: str, spec: Any = None) -> bytes | None:
        """A field's value; None: it has none that is worth telling."""
        if spec is None:
            found = self.find(path)
            if found is None:
                return None
            spec = found[1]
        if name in _UNREAD:
            return None
        try:
            value = plain_fields(self.layer, spec, name)
        except values.Unencodable as error:
            _log.warning("live.field_skipped", field=name, path=path, type=str(error))
            return None
        if value is not None and len(value) > MAX_VALUE:
            _log.warning("live.field_skipped", field=name, path=path, size=len(value))
            return None
        return value

    def read_samples(self, path: str) -> Iterator[tuple[float, bytes]]:
        """Times and values of an attribute."""
        for time in self.layer.ListTimeSamplesForPath(path):
            value = values.encode(self.layer.QueryTimeSample(path, time))
            if len(value) <= MAX_VALUE:
                yield time, value
            else:
                _log.warning("live.field_skipped", field="timeSamples", path=path, size=len(value))

    def kind_at(self, path: str) -> Kind | None:
        """What lies at *path*."""
        found = self.find(path)
        return found[0] if found else None

    def prims_of(self, path: str) -> list[str]:
        """Names of the child prims, in order."""
        spec = self._holder(path)
        return [] if spec is None else [child.name for child in spec.nameChildren]

    def drop_misfits(self, path: str) -> bool:
        """Take from an attribute the values that its type has no room for; whether any was.

        USD leaves them when the type changes; nobody else could be given them.
        """
        attribute, layer, dropped = self.layer.GetAttributeAtPath(path), self.layer, False
        usual = cast("type[Any]", type(attribute.typeName.defaultValue))
        if attribute.HasDefaultValue() and type(attribute.default) is not usual:
            try:
                attribute.default = attribute.default
            except Tf.ErrorException:
                attribute.ClearDefaultValue()
                dropped = True
        for time in layer.ListTimeSamplesForPath(path):
            value = layer.QueryTimeSample(path, time)
            if type(value) is usual:
                continue
            try:
                layer.SetTimeSample(path, time, value)
            except Tf.ErrorException:
                layer.EraseTimeSample(path, time)
                dropped = True
        return dropped

    def _read_children(self, path: str, spec: Any, result: Spec) -> None:
        stem = path if path == ROOT or path.endswith("}") else f"{path}/"
        result.prims = dict.fromkeys(stem + child.name for child in spec.nameChildren)
        if path != ROOT:
            result.others = dict.fromkeys(f"{path}.{child.name}" for child in spec.properties)
            result.others.update(dict.fromkeys(f"{path}{{{n}=}}" for n in spec.variantSets.keys()))  # noqa: SIM118 no mapping

    def find(self, path: str) -> tuple[Kind, Any] | None:
        """What lies at *path*, and USD's object for it; None: nothing."""
        if path == ROOT:
            return "layer", self.layer.pseudoRoot
        spec = self.layer.GetObjectAtPath(path)
        if not spec:
            return None
        kind = _KINDS[type(spec).__name__]
        return kind, spec.primSpec if kind == "variant" else spec

    def _holder(self, path: str) -> Any:
        found = self.find(path)
        return found[1] if found and found[0] in ("layer", "prim", "variant") else None

    # Write -------------------------------------------------------------------------------------

    def do(self, steps: Iterable[Op], document: Document) -> None:
        """Do *steps*, which *document* has done; what USD will not do is logged and left."""
        holders = dict[str, None]()
        with Sdf.ChangeBlock():
            for step in steps:
                if isinstance(step, Order):
                    holders[step.path] = None
                else:
                    self._try(step)
        # An order is a namespace edit, which no block may hold: they come last, and as the
        # document has them in the end.
        for path in holders:
            spec = document.specs.get(path)
            if spec is not None:
                self._try(order_of(path, spec))

    def _try(self, step: Op) -> None:
        try:
            self._step(step)
        except (Tf.ErrorException, ValueError, TypeError, AttributeError, RuntimeError) as error:
            self.refused += 1
            if self.refused <= _TELL:
                _log.warning("live.step_refused", path=step.path, reason=str(error)[-200:])

    def _step(self, step: Op) -> None:
        match step:
            case Set():
                self._set(step.path, step.field, step.value)
            case Sample():
                if step.value is None:
                    self.layer.EraseTimeSample(step.path, step.time)
                else:
                    self.layer.SetTimeSample(step.path, step.time, values.decode(step.value))
            case Create():
                self._create(step)
            case Remove():
                self._remove(step.path)
            case Order():
                self.arrange(step.path, step.names)

    def _set(self, path: str, name: str, value: bytes | None) -> None:
        found = self.find(path)
        if found is not None:
            self._writer.write(found[0], found[1], name, value)

    def _create(self, step: Create) -> None:
        holder, name = self.find(parent_of(step.path)), name_of(step.path)
        if holder is None:
            return
        above, made = holder[1], {"specifier", TYPE, "variability", "custom"}
        fields = {key: values.decode(step.fields[key]) for key in made if key in step.fields}
        match step.kind:
            case "prim":
                specifier = fields.get("specifier", Sdf.SpecifierOver)
                Sdf.PrimSpec(above, name, specifier, fields.get(TYPE, ""))
            case "attribute":
                kind = Sdf.ValueTypeNames.Find(fields[TYPE])
                varies = fields.get("variability", Sdf.VariabilityVarying)
                Sdf.AttributeSpec(above, name, kind, varies).custom = fields.get("custom", False)
            case "relationship":
                varies = fields.get("variability", Sdf.VariabilityUniform)
                Sdf.RelationshipSpec(above, name, fields.get("custom", False), varies)
            case "variants":
                Sdf.VariantSetSpec(above, name.strip("{=}"))
            case "variant":
                Sdf.VariantSpec(above, name[name.index("=") + 1 : -1])
            case "layer":
                return
        for key, value in step.fields.items():
            if key not in made:
                self._try(Set(step.path, key, value))

    def _remove(self, path: str) -> None:
        holder, found = self.find(parent_of(path)), self.find(path)
        if holder is None or found is None:
            return
        match found[0]:
            case "prim":
                del holder[1].nameChildren[name_of(path)]
            case "attribute" | "relationship":
                holder[1].RemoveProperty(found[1])
            case "variants":
                del holder[1].variantSets[name_of(path).strip("{=}")]
            case "variant":
                holder[1].RemoveVariant(self.layer.GetObjectAtPath(path))
            case "layer":
                pass

    def arrange(self, path: str, names: list[str]) -> None:
        """Put the child prims of *path* in this order; outside of a change block."""
        present = self.prims_of(path)
        wanted = [name for name in names if name in set(present)]
        wanted += [name for name in present if name not in set(wanted)]
        kept = _head(present, wanted)
        if kept == len(wanted):
            return
        stem = path if path == ROOT or path.endswith("}") else f"{path}/"
        edit = Sdf.BatchNamespaceEdit()
        # A prim cannot be moved within its holder: it is named away and back, to the end.
        for name in wanted[kept:]:
            away = stem + _AWAY
            edit.Add(stem + name, away, -1)
            edit.Add(away, stem + name, -1)
        if not self.layer.Apply(edit):
            raise RuntimeError("the order was not taken")


_KINDS: dict[str, Kind] = {
    "PrimSpec": "prim",
    "AttributeSpec": "attribute",
    "RelationshipSpec": "relationship",
    "VariantSetSpec": "variants",
    "VariantSpec": "variant",
}
_TELL = 5
"""Refused steps that are logged; the rest are counted."""
_AWAY = "__moved_by_live__"


def _head(present: list[str], wanted: list[str]) -> int:
    """How many of *wanted*, from its start, stand in their order already."""
    place, count = iter(present), 0
    for name in wanted:
        if name not in place:
            break
        count += 1
    return count
