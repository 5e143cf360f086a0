"""The socket's operations that stay open: subscriptions, and how they are ended."""

from __future__ import annotations

from downstage.content.dialects.arguments import Args, PathArgs
from downstage.content.dialects.calls import Asked, Ops
from downstage.content.dialects.forms import event_row
from downstage.content.model import Scope
from downstage.content.service import Content
from downstage.kernel.errors import NotFound

__all__ = ["register"]


class SubscribeArgs(PathArgs, frozen=True):
    """Where, how deep, from which event on."""

    scope: Scope
    since: int | None = None


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

    async def close(self, asked: Asked) -> object:
        """End an open call of this socket."""
        if not await asked.line.cancel(asked.args.id):
            raise NotFound("No such call is open on this socket.")
        return None


def register(ops: Ops, content: Content) -> None:
    """Let *ops* serve them."""
    pushing = _Handlers(content)
    ops.register("subscribe", SubscribeArgs, pushing.subscribe)
    ops.register("close", CloseArgs, pushing.close)
