"""One accepted WebSocket of JSON messages: bounded both ways, closed with a code and a reason."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import anyio
import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from downstage.kernel.clock import Clock
from downstage.kernel.errors import BadMessage, PlatformError, TooLarge, TooMany, problem
from downstage.kernel.limits import MAX_SIGNALLING
from downstage.services.problems import answer

__all__ = ["BAD_DATA", "Bucket", "Refusal", "Wire", "deny_socket"]

BAD_DATA, POLICY, TOO_BIG, LATER = 1007, 1008, 1009, 1013
"""Close codes: not understood, not allowed, too big, come back."""
BACKLOG = 256
"""Messages held for a slow reader; then its socket is closed."""
SEND_S = 10.0
"""How long one message may take to leave, give or take `GRAIN_S`."""
GRAIN_S = 1.0


class Refusal(Exception):
    """The socket must be closed: why, for programs and for people."""

    def __init__(self, close_code: int, error: PlatformError, reason: str | None = None) -> None:
        super().__init__(error.detail)
        self.close_code = close_code
        self.error = error
        self.reason = reason or error.code


class Bucket:
    """A token bucket: *rate* a second, bursts of *burst*."""

    def __init__(self, clock: Clock, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = clock.monotonic()

    def take(self) -> bool:
        """One more; False where that is too many."""
        now = self._clock.monotonic()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


@dataclass(frozen=True, slots=True)
class _Close:
    code: int
    reason: str


class Wire:
    """Sends without waiting, reads with limits.

    Args:
        websocket: accepted already.
        bucket: how many messages may come.
    """

    def __init__(self, websocket: WebSocket, bucket: Bucket) -> None:
        self._websocket = websocket
        self._bucket = bucket
        self._queue: deque[str] = deque()
        self._changed = anyio.Event()
        self._closed: _Close | None = None

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue *message*; a reader who does not keep up is closed instead."""
        if self._closed is not None:
            return
        if len(self._queue) >= BACKLOG:
            self.close(LATER, "slow")
            return
        self._queue.append(_written(message))
        self._changed.set()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close once all that was sent has left."""
        if self._closed is None:
            self._closed = _Close(code, reason)
            self._changed.set()

    def refuse(self, refusal: Refusal) -> None:
        """Say why, then close."""
        self.send({"type": "error", "problem": problem(refusal.error)})
        self.close(refusal.close_code, refusal.reason)

    async def pump(self) -> None:
        """Send what is queued until the socket is closed; run it beside the reader."""
        try:
            end = await self._send_all()
            with anyio.fail_after(SEND_S):
                await self._websocket.close(end.code, end.reason[:120])
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            self._closed = self._closed or _Close(1006, "gone")

    async def _send_all(self) -> _Close:
        while True:
            if self._queue:
                await self._send_queued()
            if self._closed is not None:
                return self._closed
            self._changed = anyio.Event()
            await self._changed.wait()

    async def _send_queued(self) -> None:
        """All that waits, under one deadline that is moved on: one for each costs more than it."""
        moved = monotonic()
        with anyio.fail_after(SEND_S) as scope:
            while self._queue:
                await self._websocket.send_text(self._queue.popleft())
                if monotonic() - moved > GRAIN_S:
                    moved, scope.deadline = monotonic(), anyio.current_time() + SEND_S

    async def messages(self) -> AsyncIterator[str]:
        """Text messages until the other side goes.

        Raises:
            Refusal: one is binary, too long, or there are too many.
        """
        while True:
            try:
                message = await self._websocket.receive()
            except RuntimeError:
                return  # closed from our side meanwhile
            if message["type"] == "websocket.disconnect":
                return
            if not self._bucket.take():
                raise Refusal(POLICY, TooMany("Too many messages at once on this socket."))
            text = message.get("text")
            if text is None:
                raise Refusal(BAD_DATA, BadMessage("Messages here are JSON text."))
            if len(text) > MAX_SIGNALLING:
                raise Refusal(TOO_BIG, TooLarge(f"Messages have at most {MAX_SIGNALLING} bytes."))
            yield text


def _written(message: Mapping[str, Any]) -> str:
    try:
        return msgspec.json.encode(message).decode()
    except UnicodeEncodeError:  # half a character: JSON has it as an escape alone
        return json.dumps(message, separators=(",", ":"))


async def deny_socket(websocket: WebSocket, error: PlatformError) -> None:
    """Refuse the handshake by *error*'s HTTP status: nothing is accepted."""
    await websocket.send_denial_response(answer(error, websocket.scope.get("request_id")))
