"""What somebody did to a layer, as ops: notices say where to look, the document what was there.

A stage of its own is opened on the layer, so that a path in a notice is (nearly) a path in the
layer. Nearly: of variants the stage tells by the path of their prim, and of those not selected it
tells nothing. So every variant is read again when anything changed, and everything is read again
when the layer changed without a word from the stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from downstage.client.live.binding import LayerBinding
from downstage.client.live.pxr import Sdf, Tf, Usd
from downstage.live.difference import difference, order_of, spec_difference
from downstage.live.document import TYPE, Document, Spec, guard_of
from downstage.live.ops import Create, Op, Sample, Set
from downstage.live.paths import ROOT, ancestors, parent_of

__all__ = ["Capture"]


class Capture:
    """Notices the changes of *binding*'s layer.

    Args:
        binding: of the layer.
        on_change: called from within a notice, on the thread that edits; may be None.
    """

    def __init__(self, binding: LayerBinding, on_change: Callable[[], None] | None = None) -> None:
        self._binding = binding
        self._on_change = on_change
        self._stage = Usd.Stage.Open(binding.layer, Usd.Stage.LoadNone)
        self._is_deaf = False
        self._resynced = set[str]()
        self._changed = dict[str, set[str]]()
        self._blocks = self._told = 0
        self._keys: list[Any] = [
            Tf.Notice.Register(
                Sdf.Notice.LayersDidChangeSentPerLayer, self._on_layer, binding.layer
            ),
            Tf.Notice.Register(Usd.Notice.ObjectsChanged, self._on_stage, self._stage),
        ]

    def close(self) -> None:
        """Notice nothing more."""
        for key in self._keys:
            key.Revoke()
        self._keys.clear()
        self._stage = None

    @property
    def has_changes(self) -> bool:
        """Something was done since `collect`."""
        return self._blocks > 0

    def apply(self, steps: list[Op], document: Document) -> None:
        """Do *steps* to the layer without noticing them; *document* has done them."""
        self._is_deaf = True
        try:
            self._binding.do(steps, document)
        finally:
            self._is_deaf = False

    def look_everywhere(self) -> None:
        """Read the whole layer at the next `collect`, whatever the notices say."""
        self._blocks += 1

    def collect(self, document: Document) -> list[Op]:
        """Ops that make *document* what the layer is now; *document* stays as it is."""
        if not self._blocks:
            return []
        resynced, changed = self._resynced, self._changed
        blind = self._told < self._blocks
        self._resynced, self._changed = set[str](), dict[str, set[str]]()
        self._blocks = self._told = 0
        self._is_deaf = True  # reading may write: dictionaries are made alike
        try:
            return list(self._read(document, resynced, changed, blind=blind))
        finally:
            self._is_deaf = False

    def _on_layer(self, _notice: Any, _layer: Any) -> None:
        if self._is_deaf:
            return
        self._blocks += 1
        if self._on_change is not None:
            self._on_change()

    def _on_stage(self, notice: Any, _stage: Any) -> None:
        if self._is_deaf:
            return
        self._told += 1
        self._resynced.update(str(path) for path in notice.GetResyncedPaths())
        for path in notice.GetChangedInfoOnlyPaths():
            fields = notice.GetChangedFields(path)
            if fields:
                self._changed.setdefault(str(path), set()).update(fields)
            else:
                # Below what is inactive the stage tells of a spec without a field, and of one
                # that went away not at all: its holder is read again.
                self._resynced.add(parent_of(str(path)))

    def _read(
        self,
        document: Document,
        resynced: set[str],
        changed: dict[str, set[str]],
        *,
        blind: bool,
    ) -> Iterator[Op]:
        if blind or "layerRelocates" in document.specs[ROOT].fields:
            yield from self._subtree(ROOT, document)
            return
        tops = self._tops(resynced, changed, document)
        for path in tops:
            yield from self._subtree(path, document)
        if resynced and ROOT not in tops:
            yield from self._own(ROOT, document)  # a cleared layer tells of its prims alone
        for path in _holders(tops):
            yield from self._order(path, tops, document)
        covered = frozenset(tops)
        for path, fields in changed.items():
            if not covered or covered.isdisjoint(ancestors(path)):
                yield from self._fields(path, fields, document)

    def _tops(
        self, resynced: set[str], changed: dict[str, set[str]], document: Document
    ) -> list[str]:
        """The highest paths below which all is to be read, in the layer's order."""
        paths = {self._known(path, document) for path in resynced}
        paths.update(path for path, fields in changed.items() if fields & _CHILDREN)
        paths.update(document.variants)  # of those not selected the stage tells nothing
        tops = [path for path in paths if paths.isdisjoint(ancestors(path)[1:])]
        return self._in_order(tops)

    def _known(self, path: str, document: Document) -> str:
        """The path to read for a resync: with its holders, where those are new as well."""
        while path != ROOT and parent_of(path) not in document.specs:
            path = parent_of(path)
        return path

    def _in_order(self, tops: list[str]) -> list[str]:
        if len(tops) <= 1:
            return tops
        ranks = dict[str, int]()
        for holder in {parent_of(path) for path in tops}:
            spec = self._binding.read(holder)
            for rank, path in enumerate(spec.prims if spec else ()):
                ranks[path] = rank
        return sorted(tops, key=lambda path: (parent_of(path), ranks.get(path, -1), path))

    def _subtree(self, path: str, document: Document) -> Iterator[Op]:
        target = Document()
        for holder in reversed(ancestors(path)[1:]):
            known = document.specs.get(holder)
            if known is not None and holder != ROOT:
                target.do(Create(holder, known.kind))
        self._load(path, target, document)
        yield from difference(document, target, path)

    def _load(self, path: str, target: Document, document: Document) -> None:
        """Read *path* and all below it into *target*."""
        stack = [path]
        while stack:
            here = stack.pop()
            spec = self._read_fitting(here, document)
            if spec is None:
                continue
            if here != ROOT and parent_of(here) not in target.specs:
                continue
            children = [*spec.others, *spec.prims]
            spec.prims, spec.others = {}, {}
            if here != ROOT:
                target.specs[parent_of(here)].shelf(spec.kind)[here] = None
            target.specs[here] = spec
            stack.extend(reversed(children))

    def _read_fitting(self, path: str, document: Document) -> Spec | None:
        """The spec at *path*; an attribute that is new without what does not fit its type."""
        spec, known = self._binding.read(path), document.specs.get(path)
        if spec is None or spec.kind != "attribute":
            return spec
        if known is not None and spec.fields.get(TYPE) == known.fields.get(TYPE):
            return spec
        return self._binding.read(path) if self._binding.drop_misfits(path) else spec

    def _own(self, path: str, document: Document) -> Iterator[Op]:
        present, known = self._binding.read(path), document.specs.get(path)
        if present is not None and known is not None:
            yield from spec_difference(path, known, present)

    def _order(self, holder: str, tops: list[str], document: Document) -> Iterator[Op]:
        """The order of *holder*'s prims, where it is not what reading *tops* alone makes it."""
        known, present = document.specs.get(holder), self._binding.read(holder)
        if known is None or present is None:
            return
        made = [path for path in known.prims if path in present.prims]
        made += [path for path in tops if path in present.prims and path not in known.prims]
        if made != list(present.prims):
            yield order_of(holder, present)

    def _fields(self, path: str, names: set[str], document: Document) -> Iterator[Op]:
        known = document.specs.get(path)
        found = self._binding.find(path)
        if known is None or found is None or known.kind != found[0] or TYPE in names:
            yield from self._subtree(self._known(path, document), document)
            return
        for name in names:
            if name == "timeSamples":
                yield from self._samples(path, known)
                continue
            field = _TOGETHER.get(name, name)
            value = self._binding.read_field(path, field, found[1])
            if known.fields.get(field) != value:
                guard = None if value is None else guard_of(known, field)
                yield Set(path, field, value, guard)

    def _samples(self, path: str, known: Spec) -> Iterator[Op]:
        present = dict(self._binding.read_samples(path))
        guard = known.fields.get(TYPE)
        for time, value in present.items():
            if known.samples.get(time) != value:
                yield Sample(path, time, value, guard)
        for time in known.samples.keys() - present.keys():
            yield Sample(path, time, None)


_CHILDREN = frozenset({"variantChildren", "variantSetChildren", "primChildren", "properties"})
"""Told in place of a resync where the stage does not show the children."""
_TOGETHER = {"subLayerOffsets": "subLayers"}


def _holders(tops: list[str]) -> list[str]:
    return list({parent_of(path): None for path in tops if path != ROOT})
