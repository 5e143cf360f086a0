"""Figures of streams, in Prometheus' form, on the operator's port alone."""

from __future__ import annotations

from downstage.streams.callers import Callers
from downstage.streams.opening import Opening

__all__ = ["Metrics"]


class Metrics:
    """Tells what the service did, as this process saw it.

    Args:
        opening: the engine and the service on it.
        callers: who is in.
    """

    def __init__(self, opening: Opening, callers: Callers) -> None:
        self._opening = opening
        self._callers = callers

    def lines(self) -> list[str]:
        """All of them."""
        return [
            "# TYPE downstage_streams_engine_up gauge",
            f"downstage_streams_engine_up {int(self._opening.why is None)}",
        ]
