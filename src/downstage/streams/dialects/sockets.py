"""The sockets of both dialects, put in their places."""

from __future__ import annotations

from downstage.streams.dialects.pull import PullOpener
from downstage.streams.dialects.push import DataServerAnswers, OwnAnswers, PushOpener
from downstage.streams.dialects.staying import Gate, Guests, Opener
from downstage.streams.ground import Ground, Part
from downstage.streams.memory import keep_freed
from downstage.streams.service import Streams

__all__ = ["openers", "wire"]

MAX_ACK = 64 * 1024
"""Bytes of what a reader may say."""


def openers(streams: Streams) -> dict[str, Opener]:
    """By kind, in whichever process serves them."""
    return {
        "ptg-push": PushOpener(streams, DataServerAnswers()),
        "own-push": PushOpener(streams, OwnAnswers()),
        "ptg-pull": PullOpener(streams),
        "own-pull": PullOpener(streams, own=True),
    }


async def wire(ground: Ground) -> Part:
    """Open them at the data server's paths, and at ours."""
    keep_freed()
    context = ground.context
    settings = context.settings.streams
    idle_s = settings.idle_deadline.total_seconds()
    ptg = Guests(ground.callers, cookies=True, workers=ground.workers)
    own = Guests(ground.callers, cookies=False, workers=ground.workers)
    kinds = openers(ground.streams)
    for root, guests, name in (("/data", ptg, "ptg"), ("/v1/streams", own, "own")):
        push = Gate(guests, kinds[f"{name}-push"], f"{name}-push", "push")
        pull = Gate(guests, kinds[f"{name}-pull"], f"{name}-pull", "pull")
        context.front(
            f"{root}/{{ids}}/push", raw=push, max_message=settings.max_message, idle_s=idle_s
        )
        context.front(f"{root}/{{ids}}/pull", raw=pull, max_message=MAX_ACK, idle_s=idle_s)
    return _Sockets((ptg, own))


class _Sockets(Part):
    def __init__(self, guests: tuple[Guests, ...]) -> None:
        self._guests = guests

    async def stop(self) -> None:
        """Close them."""
        for guests in self._guests:
            guests.stop()
