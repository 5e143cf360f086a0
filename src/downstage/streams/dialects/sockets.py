"""The sockets of both dialects, put in their places."""

from __future__ import annotations

from downstage.streams.dialects.pull import PullGate
from downstage.streams.dialects.push import DataServerAnswers, OwnAnswers, PushGate
from downstage.streams.dialects.staying import Guests
from downstage.streams.ground import Ground, Part
from downstage.streams.memory import keep_freed

__all__ = ["wire"]

MAX_ACK = 64 * 1024
"""Bytes of what a reader may say."""


async def wire(ground: Ground) -> Part:
    """Open them at the data server's paths, and at ours."""
    keep_freed()
    context, streams = ground.context, ground.streams
    settings = context.settings.streams
    idle_s = settings.idle_deadline.total_seconds()
    ptg = Guests(ground.callers, cookies=True)
    own = Guests(ground.callers, cookies=False)
    for path, gate in (
        ("/data/{ids}/push", PushGate(streams, ptg, DataServerAnswers())),
        ("/v1/streams/{ids}/push", PushGate(streams, own, OwnAnswers())),
    ):
        context.front(path, raw=gate, max_message=settings.max_message, idle_s=idle_s)
    for path, gate in (
        ("/data/{ids}/pull", PullGate(streams, ptg)),
        ("/v1/streams/{ids}/pull", PullGate(streams, own, own=True)),
    ):
        context.front(path, raw=gate, max_message=MAX_ACK, idle_s=idle_s)
    return _Sockets((ptg, own))


class _Sockets(Part):
    def __init__(self, guests: tuple[Guests, ...]) -> None:
        self._guests = guests

    async def stop(self) -> None:
        """Close them."""
        for guests in self._guests:
            guests.stop()
