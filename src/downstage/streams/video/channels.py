"""All that is on air: started when somebody asks, for those who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from downstage.contracts import video
from downstage.kernel.errors import NotFound, TooMany
from downstage.streams import names
from downstage.streams.model import Caller, Right
from downstage.streams.service import Streams
from downstage.streams.video.channel import FAREWELL_S, Channel
from downstage.streams.video.sessions import SessionGate
from downstage.streams.video.sources import find_source, insider

__all__ = ["Channels"]

MOST = 64
"""On air at once, of all tenants."""
CODERS = 4
"""Of them, how many are coded at the same moment."""


class Channels:
    """What is on air.

    Args:
        streams: where it is read.
        gate: lets people watch sessions.
        start: ``start(function, *arguments, name=…)``: a task that is cancelled at the shutdown.
    """

    def __init__(self, streams: Streams, gate: SessionGate, start: Callable[..., Any]) -> None:
        self._streams, self._gate, self._start = streams, gate, start
        self._channels: dict[tuple[str, str], Channel] = {}
        self._limiter = anyio.CapacityLimiter(CODERS)

    def __len__(self) -> int:
        return len(self._channels)

    @property
    def held_bytes(self) -> int:
        """Of all segments that are held."""
        return sum(channel.window.size for channel in self._channels.values())

    async def open(self, caller: Caller, name: str) -> Channel:
        """What *caller* watches as *name*; begins where nobody watched it yet.

        Raises:
            NotFound: nothing that *caller* may watch.
            UnsupportedMedia: a stream that is nothing to watch.
            Unavailable: a session without a picture yet, or no engine.
            TooMany: too much is on air.
        """
        found = await self.current(caller, name)
        if found is not None and not found.is_over:
            return found
        source = await find_source(self._streams, caller, name)
        self._sweep()
        key = self._key(caller, name)
        found = self._channels.get(key)  # somebody may have been quicker
        if found is None or found.is_over:
            if len(self._channels) >= MOST:
                raise TooMany("Too many streams are watched at once.", retry_after_s=10)
            reader = insider(caller.tenant)
            found = Channel(self._streams, reader, name, source, self._limiter)
            self._channels[key] = found
            self._start(self._run, key, found, name=f"video.{name}")
        found.touch()
        return found

    async def current(self, caller: Caller, name: str) -> Channel | None:
        """The same where it is on air already, or was a moment ago; None where it is not.

        Raises:
            NotFound: *caller* may not watch it.
        """
        names.check(name)
        session = video.session_of(name)
        if session is not None:
            await self._gate.ask(session, caller.subject)
        found = self._channels.get(self._key(caller, name))
        if found is None:
            return None
        if session is None and not _may_watch(caller, found):
            raise NotFound(f"There is no stream {name}.")
        found.touch()
        return found

    @staticmethod
    def _key(caller: Caller, name: str) -> tuple[str, str]:
        session = video.session_of(name)
        return caller.tenant, name if session is None else video.session_stream(session)

    def _sweep(self) -> None:
        for key, channel in list(self._channels.items()):
            if channel.is_over:
                del self._channels[key]

    async def _run(self, key: tuple[str, str], channel: Channel) -> None:
        try:
            await channel.run()
            if not channel.is_idle:
                await anyio.sleep(FAREWELL_S)  # who watched it fetches the rest
        finally:
            if self._channels.get(key) is channel:
                del self._channels[key]


def _may_watch(caller: Caller, channel: Channel) -> bool:
    first = channel.source.streams[0]
    return Right.READ in caller.rights(first)
