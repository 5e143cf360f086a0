"""The socket's operations that stay open: subscriptions and channels; and how they are ended."""

from __future__ import annotations

from downstage.content.channels import Member
from downstage.content.dialects.arguments import Args, Count, PathArgs
from downstage.content.dialects.calls import Asked, Ops
from downstage.content.dialects.forms import event_row
from downstage.content.model import Scope
from downstage.content.service import Content
from downstage.kernel.errors import NotFound

__all__ = ["register"]


class SubscribeArgs(PathArgs, frozen=True):
    """Where, how deep, from which event on."""

    scope: Scope
    since: Count | None = None


class JoinArgs(PathArgs, frozen=True):
    """Which channel, and what those present are told."""

    hello: bytes = b""


class SendArgs(Args, frozen=True):
    """Into which channel, what."""

    member: int
    data: bytes


class CloseArgs(Args, frozen=True):
    """Which call."""

    id: int


class _Handlers:
    def __init__(self, content: Content) -> None:
        self._content = content

    async def subscribe(self, asked: Asked) -> object:
        """Answer with the seq from which on events come; push them until closed."""
        args: SubscribeArgs = asked.args
        async with self._content.subscribe(
            asked.caller, args.path, args.scope, since=args.since
        ) as events:
            asked.opened(await self._content.seq() if args.since is None else args.since)
            async for event in events:
                await asked.push("event", event_row(event))
        return None

    async def join(self, asked: Asked) -> object:
        """Answer with the member's id; push what others say until closed."""
        args: JoinArgs = asked.args
        async with self._content.channels.join(asked.caller, args.path, hello=args.hello) as member:
            asked.opened(member.id, keep=member)
            async for heard in member:
                await asked.push("message", (heard.event, heard.sender, heard.content, heard.name))
        return None

    async def send(self, asked: Asked) -> object:
        """Say something in a channel that this socket joined."""
        args: SendArgs = asked.args
        await asked.find(args.member, Member).send(args.data)
        return None

    async def close(self, asked: Asked) -> object:
        """End an open call of this socket."""
        if not await asked.line.cancel(asked.args.id):
            raise NotFound("No such call is open on this socket.")
        return None


def register(ops: Ops, content: Content) -> None:
    """Let *ops* serve them."""
    pushing = _Handlers(content)
    ops.register("subscribe", SubscribeArgs, pushing.subscribe)
    ops.register("join", JoinArgs, pushing.join)
    ops.register("send", SendArgs, pushing.send)
    ops.register("close", CloseArgs, pushing.close)
