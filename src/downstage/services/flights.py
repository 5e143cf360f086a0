"""Requests that one registration is answering just now, so that it can go when they have ended."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from downstage.kernel.errors import Unavailable

__all__ = ["ANSWERED", "OWNER", "Flights"]

OWNER: ContextVar[str | None] = ContextVar("downstage_owner", default=None)
"""The extension on whose behalf something is registered just now."""
OWNER_KEY = "downstage.owner"
"""Key of the scope: the extension whose route answers."""
GOING_AWAY = 1012
UNWIND_S = 1.0
"""How long what was cut off may take to clean up."""
ACCEPTED = "downstage.accepted"
ANSWERED = "downstage.answered"
"""Key of the scope: whether the answer's head has been sent; set by the edge."""


class Flights:
    """Counts requests in flight; once `end` was asked they are waited for, then cut off."""

    __slots__ = ("_carried", "_cut", "_idle", "_owner")

    def __init__(self, owner: str | None) -> None:
        self._owner = owner
        self._carried: dict[object, asyncio.Task[Any] | None] = {}
        self._cut = set[object]()
        self._idle: anyio.Event | None = None

    def __len__(self) -> int:
        return len(self._carried)

    async def carry(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run *app* for one request, counted until it has returned."""
        key = object()
        # A cancel scope for each request would cost more than all else here.
        task = self._carried[key] = asyncio.current_task()
        token = OWNER.set(self._owner)
        if self._owner is not None:
            scope[OWNER_KEY] = self._owner
        if scope["type"] == "websocket":
            send = _noting(scope, send)
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            # Ours alone, or somebody else's too: theirs must go on (as `asyncio.timeout` does it).
            if key not in self._cut or task is None or task.uncancel() > 0:
                raise
        except SystemExit as error:  # somebody's handler: that is no reason for all to leave
            raise RuntimeError(f"a handler called sys.exit({error.code})") from error
        finally:
            OWNER.reset(token)
            del self._carried[key]
            if self._idle is not None and not self._carried:
                self._idle.set()
        if key in self._cut:
            self._cut.discard(key)
            await _cut_off(scope, send)

    async def end(self, grace_s: float) -> int:
        """Wait until no request is in flight, at most *grace_s*; then cut off, and say how many."""
        if not self._carried:
            return 0
        self._idle = anyio.Event()
        with anyio.move_on_after(grace_s):
            await self._idle.wait()
        left = dict(self._carried)
        self._cut |= left.keys()
        for task in {task for task in left.values() if task is not None}:
            task.cancel()
        if left:
            with anyio.move_on_after(UNWIND_S):
                await self._idle.wait()
        return len(left)


def _noting(scope: Scope, send: Send) -> Send:
    """Remember that the socket was accepted: only then can it be closed."""

    async def noting(message: Message) -> None:
        scope[ACCEPTED] = message["type"] in ("websocket.accept", "websocket.send")
        await send(message)

    return noting


async def _cut_off(scope: Scope, send: Send) -> None:
    """Tell the caller: 503 where nothing was answered yet, a close on an open socket.

    An answer that has begun just ends without its end: servers close the connection then.
    """
    if scope["type"] == "websocket":
        if scope.get(ACCEPTED):
            await send({"type": "websocket.close", "code": GOING_AWAY, "reason": "going away"})
        return
    if not scope.get(ANSWERED):
        raise Unavailable("What answers here is being replaced.", retry_after_s=1)
