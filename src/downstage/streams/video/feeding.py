"""From a network source into streams: what the reading thread finds is put in by the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from downstage.contracts import video
from downstage.contracts.video import Unit
from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.streams.model import Caller, Grant, Right
from downstage.streams.service import Streams

if TYPE_CHECKING:
    from downstage.media.ingest import IngestEvents

__all__ = ["Feed", "targets"]

log = get_logger(__name__)

MOST_WAITING = 16 << 20
"""Bytes between the thread and the store; above that entries are left out."""
DRAIN_S = 2.0


def targets(name: str, wanted: str) -> tuple[str, ...]:
    """The streams that the source *name* writes."""
    if wanted == "images":
        return (name,)
    return video.video_stream(name), video.audio_stream(name)


class Feed:
    """One connection's worth of entries.

    Args:
        streams: where they go.
        tenant: whose streams.
        name: of the source.
        wanted: ``video`` or ``images``.
    """

    def __init__(self, streams: Streams, tenant: str, name: str, wanted: str) -> None:
        self._streams, self._name, self._wanted = streams, name, wanted
        self._targets = targets(name, wanted)
        grants = tuple(Grant(stream, Right.READ | Right.WRITE) for stream in self._targets)
        self._caller = Caller("service:streams", f"source {name}", tenant, grants)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._more = anyio.Event()
        self._kinds: tuple[str, str | None] | None = None
        self._described = False
        self._over = False
        self._error: PlatformError | None = None
        self._held = False
        self.on_started: Callable[[], object] = lambda: None
        """Called once the source is read."""
        self.entries = 0
        """Put in so far."""
        self.dropped = 0
        """Left out, because the store was slower."""

    @property
    def events(self) -> IngestEvents:
        """For the thread that reads."""
        from downstage.media.ingest import IngestEvents

        pictures, sound = self._targets[0], self._targets[-1]
        return IngestEvents(
            started=lambda seen, heard: self._cross(self._start, seen, heard),
            video=lambda entry: self._cross(self._arrive, pictures, entry),
            audio=lambda entry: self._cross(self._arrive, sound, entry),
            ended=lambda error: self._cross(self._end, error),
        )

    def end(self) -> None:
        """The source is known to have gone: do not wait for the thread to notice."""
        self._end(None)

    async def run(self) -> PlatformError | None:
        """Put in what comes until the source ends; returns why, where it was no orderly end."""
        producer = self._streams.producer(self._caller, self._targets)
        producer.on_pressure = self._pressed
        try:
            while not self._over or self._waiting:
                await self._turn(producer)
                if producer.failed is not None:
                    return producer.failed
            if self._kinds is not None and self._wanted != "images":
                producer.put(self._targets[0], Unit(b"", 0, 0, end=True).pack())
        finally:
            with anyio.CancelScope(shield=True), suppress(PlatformError):
                await producer.drain(DRAIN_S)
            producer.close()
        return self._error

    async def _turn(self, producer: Any) -> None:
        if not self._waiting and not self._over:
            await self._more.wait()
        self._more = anyio.Event()
        if self._kinds is not None and not self._described:
            self._described = True
            await self._describe(*self._kinds)
        while self._waiting and producer.failed is None:
            stream, entry = self._waiting.popleft()
            self._bytes -= len(entry)
            producer.put(stream, entry)
            self.entries += 1

    async def _describe(self, pictures: str, sound: str | None) -> None:
        for stream, kind in zip(self._targets, (pictures, sound), strict=False):
            if kind is not None:
                await self._streams.describe(self._caller, stream, {"content_type": kind})

    def _cross(self, job: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended before the thread
            self._loop.call_soon_threadsafe(job, *arguments)

    def _start(self, pictures: str, sound: str | None) -> None:
        self._kinds = (pictures, sound)
        self.on_started()
        log.info("source.started", stream=self._name, pictures=pictures, sound=sound)

    def _arrive(self, stream: str, entry: bytes) -> None:
        if self._over:
            return
        if self._held or self._bytes > MOST_WAITING:
            self.dropped += 1  # its number is missed by readers, who wait for a key frame
            return
        self._waiting.append((stream, entry))
        self._bytes += len(entry)
        self._more.set()

    def _pressed(self, pressed: bool) -> None:
        self._held = pressed

    def _end(self, error: PlatformError | None) -> None:
        if not self._over:
            self._over, self._error = True, error
        self._more.set()
