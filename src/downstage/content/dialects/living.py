"""The socket's operations on live layers; see `downstage.content.live`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from downstage.content.dialects.arguments import Args, PathArgs
from downstage.content.dialects.calls import Asked, Ops
from downstage.content.live import LiveMember
from downstage.content.live_room import AT_ONCE
from downstage.content.service import Content
from downstage.live.messages import Join

__all__ = ["PART", "register"]

PART = 1024 * 1024
"""Bytes of one pushed piece; a longer message comes as several ``part`` and a ``message``."""


class OpenArgs(PathArgs, frozen=True):
    """Of which file, and what the client has seen already."""

    client: str
    epoch: int = 0
    incarnation: str = ""
    seq: int = 0


class MemberArgs(Args, frozen=True):
    """Which membership: the id of the call that opened it."""

    member: int


class SubmitArgs(MemberArgs, frozen=True):
    """A batch."""

    epoch: int
    n: int
    ops: bytes


class MergedArgs(MemberArgs, frozen=True):
    """Etag of the file that the layer is in now."""

    base: str


class _Handlers:
    def __init__(self, content: Content) -> None:
        self._live = content.live

    async def open(self, asked: Asked) -> object:
        """Answer nil; push messages until closed."""
        args: OpenArgs = asked.args
        join = Join(args.client, args.epoch, args.incarnation, args.seq)
        async with self._live.open(asked.caller, args.path, join) as member:
            asked.opened(None, keep=member)
            async for message in member:
                last = max(0, len(message) - 1) // PART * PART
                for start in range(0, last, PART):
                    await asked.push("part", message[start : start + PART])
                await asked.push("message", message[last:])
        return None

    def submit(self, asked: Asked) -> object:
        """At once, so that batches keep the order in which they came; large ones in a thread."""
        args: SubmitArgs = asked.args
        member = asked.find(args.member, LiveMember)
        if member.queued or len(args.ops) > AT_ONCE:
            return _queued(member, lambda: member.submit_large(args.epoch, args.n, args.ops))
        member.submit(args.epoch, args.n, args.ops)
        return None

    def hold(self, asked: Asked) -> object:
        """Answer with the last seq."""
        member = asked.find(asked.args.member, LiveMember)
        return _queued(member, member.hold_in_turn) if member.queued else member.hold()

    def resume(self, asked: Asked) -> object:
        """Give the hold up."""
        asked.find(asked.args.member, LiveMember).resume()
        return None

    async def merged(self, asked: Asked) -> object:
        """Answer with the new epoch."""
        args: MergedArgs = asked.args
        return await asked.find(args.member, LiveMember).merged(args.base)


def _queued(member: LiveMember, run: Callable[[], Awaitable[object]]) -> object:
    """What waits for the member's calls before it, counted from now on."""
    member.queued += 1

    async def wait() -> object:
        try:
            return await run()
        finally:
            member.queued -= 1

    return wait()


def register(ops: Ops, content: Content) -> None:
    """Let *ops* serve them."""
    living = _Handlers(content)
    ops.register("live.open", OpenArgs, living.open)
    ops.register("live.submit", SubmitArgs, living.submit)
    ops.register("live.hold", MemberArgs, living.hold)
    ops.register("live.resume", MemberArgs, living.resume)
    ops.register("live.merged", MergedArgs, living.merged)
