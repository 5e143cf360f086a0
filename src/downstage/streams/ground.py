"""What every part of the service stands on, and what a part is to whoever wires it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from downstage.kernel.errors import Unavailable
from downstage.services.context import ServiceContext

if TYPE_CHECKING:
    from downstage.streams.callers import Callers
    from downstage.streams.service import Streams
    from downstage.streams.workers.pool import Pool

__all__ = ["Ground", "Late", "Part", "Wire"]

RETRY_S = 1


class Part:
    """One part of the service as it runs: a dialect, the recorder, video."""

    def metrics(self) -> list[str]:
        """Lines for Prometheus, on the operator's port."""
        return []

    async def stop(self) -> None:
        """End its sockets and tasks; all parts together have 3 s."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a part is wired with."""

    context: ServiceContext
    streams: Streams
    """There before the engine is: until then every use of it raises `Unavailable`."""
    callers: Callers
    folder: Path
    """Private; the engine's files and recordings lie below it."""
    origins: frozenset[str]
    """Of pages that are ours."""
    workers: Pool | None = None
    """Serve sockets in other processes, where the settings say so."""


Wire = Callable[[Ground], Awaitable["Part | None"]]
"""Puts a part in its place: routers, fronts, tasks. Must not wait for the engine."""


class Late:
    """Stands for `Streams` from the start on, so that parts can be wired before the engine is up.

    Attributes are those of the service that `arrive` brought; before that, and after `leave`,
    asking for one raises `Unavailable`, which a caller is answered as 503 with Retry-After.
    """

    def __init__(self) -> None:
        self._streams: Streams | None = None
        self._why = "The engine of streams is starting."

    def __getattr__(self, name: str) -> object:
        streams = self._streams
        if streams is None:
            raise Unavailable(self._why, retry_after_s=RETRY_S)
        return getattr(streams, name)

    def arrive(self, streams: Streams) -> None:
        """It is there."""
        self._streams = streams

    def leave(self, why: str) -> None:
        """It is gone, or did not come yet: *why* is told to callers."""
        self._streams, self._why = None, why

    @property
    def why(self) -> str | None:
        """Why it is not there; None: it is."""
        return self._why if self._streams is None else None

    def as_streams(self) -> Streams:
        """Itself, for whoever asks for the service."""
        return cast("Streams", self)
