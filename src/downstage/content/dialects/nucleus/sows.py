"""The sockets of discovery and sign-in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import anyio.abc
from starlette.websockets import WebSocket

from downstage.content.dialects.nucleus.frames import (
    BadFrame,
    SowsRequest,
    read_request,
    write_data,
    write_done,
    write_error,
)
from downstage.content.dialects.nucleus.pipe import BAD_DATA, POLICY, Gone, Pipe
from downstage.kernel.errors import NotSupported, PlatformError
from downstage.kernel.logging import get_logger

__all__ = ["MAX_MESSAGE", "SowsSocket"]

MAX_MESSAGE = 64 * 1024
IDLE_S = 60.0
"""Nobody has said here who they are; who has more to ask dials again."""
ANSWER_S = 20.0
MOST_IN_FLIGHT = 16
"""Requests of one socket; a client has three."""
Handler = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
log = get_logger(__name__)


class SowsSocket:
    """Serves one socket.

    Args:
        websocket: accepted already.
        handler: answers a method, or raises a `PlatformError`.
    """

    def __init__(self, websocket: WebSocket, handler: Handler) -> None:
        self._pipe = Pipe(websocket, max_bytes=MAX_MESSAGE, idle_s=IDLE_S)
        self._handler = handler
        self._running = set[int]()

    async def serve(self) -> None:
        """Answer until the client goes."""
        async with anyio.create_task_group() as tasks:
            async for message in self._pipe.messages():
                try:
                    await self._take(message, tasks)
                except Gone:
                    break
            tasks.cancel_scope.cancel()
        await self._pipe.close()

    async def _take(self, message: bytes, tasks: anyio.abc.TaskGroup) -> None:
        try:
            request = read_request(message)
        except BadFrame as error:
            if error.request_id is None:
                await self._pipe.close(BAD_DATA, error.code)
            else:
                await self._pipe.send(write_error(error.request_id, error.detail))
            return
        if request is None:
            return  # a stop, or a kind that is not used: nothing here goes on by itself
        if request.id in self._running:
            await self._pipe.send(write_error(request.id, "That id is in use."))
        elif len(self._running) >= MOST_IN_FLIGHT:
            await self._pipe.close(POLICY, "too-many")
        else:
            self._running.add(request.id)
            tasks.start_soon(self._answer, request)

    async def _answer(self, request: SowsRequest) -> None:
        try:
            for frame in await self._frames(request):
                await self._pipe.send(frame)
        except Gone:
            return
        finally:
            self._running.discard(request.id)

    async def _frames(self, request: SowsRequest) -> list[bytes]:
        try:
            with anyio.fail_after(ANSWER_S):
                found = await self._handler(request.method, request.parameters)
        except NotSupported as error:
            return [write_error(request.id, error.detail)]
        except TimeoutError:
            return [write_error(request.id, "It took too long.")]
        except PlatformError as error:
            log.warning("nucleus.call_failed", method=request.method[:64], code=error.code)
            return [write_error(request.id, error.detail)]
        return [write_data(request.id, found), write_done(request.id)]
