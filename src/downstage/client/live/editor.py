"""A layer, what somebody does to it, and what others do: one of each, without any wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from downstage.client.live.binding import LayerBinding
from downstage.client.live.capture import Capture
from downstage.live.ops import Op
from downstage.live.replica import Batch, Replica
from downstage.live.wire import split

__all__ = ["LiveEditor"]


class LiveEditor:
    """Keeps *layer* and a replica alike. All calls on the thread that edits the layer.

    Args:
        layer: an `Sdf.Layer`; what it holds now counts as an own edit.
        on_change: called from within a notice when the layer was changed by its owner.
    """

    def __init__(self, layer: Any, on_change: Callable[[], None] | None = None) -> None:
        self.layer = layer
        self.replica = Replica()
        self.binding = LayerBinding(layer)
        self.capture = Capture(self.binding, on_change)
        self._steps = list[Op]()
        if not layer.empty:
            self.capture.look_everywhere()

    def close(self) -> None:
        """Notice nothing more; the layer stays as it is."""
        self.capture.close()

    @property
    def is_behind(self) -> bool:
        """What others did is known but not in the layer yet: nothing may be edited."""
        return self._is_behind

    _is_behind = False

    def flush(self) -> list[Batch]:
        """What was done to the layer since the last call, as batches to send. Not when behind."""
        if not self.capture.has_changes:
            return []
        ops = self.capture.collect(self.replica.shadow)
        batches = [self.replica.local(run) for run in split(ops)]
        return [batch for batch in batches if batch is not None]

    def remote(self, ops: Iterable[Op]) -> None:
        """Take in what somebody else did; `settle` puts it into the layer.

        `flush` before the first: own edits must be known.
        """
        self._is_behind = True
        self._steps += self.replica.remote(ops)

    def settle(self) -> None:
        """Put all that others did into the layer, in one change block."""
        if self._is_behind:
            self._is_behind = False
            steps, self._steps = self._steps, []
            self._apply(steps + self.replica.settle())

    def restart(self, ops: Iterable[Op], known: int, *, fresh: bool = False) -> None:
        """Begin again from a snapshot (see `Replica.restart`). `flush` and `settle` first."""
        self._apply(self.replica.restart(ops, known, fresh=fresh))

    def undo(self) -> Batch | None:
        """Take back the last own batch; what to send, None where there is nothing to undo."""
        batch, steps = self.replica.undo()
        self._apply(steps)
        return batch

    def _apply(self, steps: list[Op]) -> None:
        if steps:
            self.capture.apply(steps, self.replica.shadow)
