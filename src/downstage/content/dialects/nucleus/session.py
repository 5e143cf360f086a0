"""One ConnLib socket: authorised first, then commands, many at once and each with its own end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import anyio
import anyio.abc
from starlette.websockets import WebSocket

from downstage.auth.principal import Principal
from downstage.content.dialects.nucleus.call import Answer, Call
from downstage.content.dialects.nucleus.commands import COMMANDS, REFUSED, STREAMS
from downstage.content.dialects.nucleus.desk import Desk
from downstage.content.dialects.nucleus.files import INLINE
from downstage.content.dialects.nucleus.frames import (
    BadFrame,
    Request,
    read_message,
    write_message,
)
from downstage.content.dialects.nucleus.pipe import BAD_DATA, POLICY, Gone, Pipe
from downstage.content.dialects.nucleus.status import failure
from downstage.content.model import Access, Caller
from downstage.kernel.errors import (
    DeadlineExceeded,
    NotSupported,
    PlatformError,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from downstage.kernel.ids import new_uuid
from downstage.kernel.logging import get_logger

__all__ = ["MAX_MESSAGE", "Session"]

MAX_MESSAGE = 32 * 1024 * 1024 + 64 * 1024
"""Bytes of a message: clients that were told of no better way send whole files within one."""
MAX_UNKNOWN = 64 * 1024
"""The same before anybody has proven who they are."""
AUTHORIZE_S = 15.0
COMMAND_S = 300.0
RELEASE_S = 10.0
RECHECK_S = 1.0
"""A caller is looked at again this often: a token that was revoked ends what it began, and so do
groups that are not what they were."""
PART = 5 * 1024 * 1024
MOST_AT_ONCE = 128
MOST_STREAMS = 256
MOST_BODIES = 16
"""Answers with bodies under way at once."""
MOST_BYTES = MAX_MESSAGE
"""Of bodies that wait for their commands; more is not read until some are done."""
VERSION = "1.19"
LFT = "/omni/lft"
WITH_BODIES = frozenset({"read_asset_version"})
NO_LIMIT = nullcontext()
log = get_logger(__name__)


class _Room:
    """How much of a socket's commands may be under way: who comes later waits."""

    def __init__(self) -> None:
        self._commands = 0
        self._bytes = 0
        self._changed = anyio.Event()

    async def take(self, size: int) -> None:
        """Wait for a place."""
        while self._commands and (
            self._commands >= MOST_AT_ONCE or self._bytes + size > MOST_BYTES
        ):
            self._changed = anyio.Event()
            await self._changed.wait()
        self._commands += 1
        self._bytes += size

    def give(self, size: int) -> None:
        """Give the place back."""
        self._commands -= 1
        self._bytes -= size
        self._changed.set()


class Session:
    """Serves one socket.

    Args:
        websocket: accepted already.
        desk: what sessions share.
        base: ``http(s)://host:port`` as the client dialled us.
        url_token: the token that the socket's address held; it only lets the socket wait longer.
    """

    def __init__(self, websocket: WebSocket, desk: Desk, base: str, url_token: str) -> None:
        self._pipe = Pipe(websocket, max_bytes=MAX_UNKNOWN, idle_s=AUTHORIZE_S)
        self._desk = desk
        self._base = base
        self._url_token = url_token
        self._client_id = new_uuid()
        self._room = _Room()
        self._bodies = anyio.CapacityLimiter(MOST_BODIES)
        self._streams: dict[int, anyio.CancelScope] = {}
        self._running = set[int]()
        self._principal: Principal | None = None
        self._caller: Caller | None = None
        self._lapsed: PlatformError | None = None
        """Why a token that counted does so no longer; another may be shown."""
        self._token = ""
        self._slows_down = False

    async def serve(self) -> None:
        """Answer until the client goes; its locks end a while after."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_checking)
                async for message in self._pipe.messages():
                    try:
                        await self._take(message, tasks)
                    except Gone:
                        break
                tasks.cancel_scope.cancel()
            await self._pipe.close()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(RELEASE_S):
                await self._release()

    async def _release(self) -> None:
        try:
            await self._desk.content.release_client(self._client_id, grace_s=self._desk.grace_s)
        except PlatformError as error:  # its locks end with their leases
            log.warning("nucleus.locks_kept", code=error.code)

    async def _take(self, message: bytes, tasks: anyio.abc.TaskGroup) -> None:
        try:
            request = read_message(message)
        except BadFrame as error:
            if error.request_id is None:
                await self._pipe.close(BAD_DATA, error.code)
            else:
                fields = {**failure(error), "status": "INVALID_COMMAND"}
                await self._send(error.request_id, fields, is_last=True)
            return
        if request.command == "authorize_token":
            await self._authorize(request)
        elif (caller := self._present()) is None:
            await self._refuse(request)
        elif request.command == "stop":
            self._stop(request.arguments.get("subscription_id"))
        else:
            await self._begin(request, caller, tasks)

    def _present(self) -> Caller | None:
        """Who calls; None: nobody yet, or one whose token no longer counts."""
        if self._principal is None:
            return None
        try:
            self._desk.check(self._principal)
        except Unauthenticated as error:
            self._principal, self._caller, self._lapsed = None, None, error
        return self._caller

    async def _refuse(self, request: Request) -> None:
        if self._lapsed is not None:
            await self._send(request.id, failure(self._lapsed), is_last=True)
            return
        error = Unauthenticated("The first command is authorize_token.")
        await self._send(request.id, failure(error), is_last=True)
        await self._pipe.close(POLICY, error.code)

    async def _begin(self, request: Request, caller: Caller, tasks: anyio.abc.TaskGroup) -> None:
        if request.id in self._running:
            fields = _refusal("That id is in use.")
            await self._send(request.id, fields, is_last=True)
            return
        if request.command in STREAMS:
            if len(self._streams) >= MOST_STREAMS:
                error = TooMany("Too many subscriptions on this connection.")
                await self._send(request.id, self._failure(error), is_last=True)
                return
            self._running.add(request.id)
            tasks.start_soon(self._stream, request, caller)
            return
        size = len(request.blob or b"")
        await self._room.take(size)
        self._running.add(request.id)
        tasks.start_soon(self._command, request, caller, size)

    def _stop(self, subscription_id: object) -> None:
        scope = self._streams.get(subscription_id) if isinstance(subscription_id, int) else None
        if scope is not None:
            scope.cancel()

    async def _command(self, request: Request, caller: Caller, size: int) -> None:
        try:
            async with self._bodies if request.command in WITH_BODIES else NO_LIMIT:
                fields, blob = await self._answer(request, caller)
                await self._send(request.id, fields, blob, is_last=True)
        except Gone:
            return
        finally:
            self._running.discard(request.id)
            self._room.give(size)

    async def _answer(
        self, request: Request, caller: Caller
    ) -> tuple[dict[str, Any], bytes | None]:
        command = COMMANDS.get(request.command)
        if command is None:
            return self._unknown(request), None
        try:
            with anyio.fail_after(COMMAND_S):
                answer = await command(self._call(request, caller))
        except TimeoutError:
            return self._failure(DeadlineExceeded("The command took too long.")), None
        except PlatformError as error:
            return self._failure(error), None
        except Exception:  # the edge: one command's fault must not end the others
            log.exception("nucleus.command_failed", command=request.command)
            return self._failure(PlatformError("Something went wrong here.")), None
        return _success(answer), answer.blob

    def _unknown(self, request: Request) -> dict[str, Any]:
        why = REFUSED.get(request.command)
        if why is not None:
            return failure(NotSupported(why))
        return _refusal("There is no such command.")

    async def _stream(self, request: Request, caller: Caller) -> None:
        try:
            with anyio.CancelScope() as scope:
                self._streams[request.id] = scope
                await self._pump(request, STREAMS[request.command](self._call(request, caller)))
        except Gone:
            return
        finally:
            self._streams.pop(request.id, None)
            self._running.discard(request.id)

    async def _pump(self, request: Request, answers: AsyncIterator[Answer]) -> None:
        """Send what *answers* yields; an error of it is the last."""
        try:
            async for answer in answers:
                fields = _success(answer)
                await self._send(request.id, fields, answer.blob, is_last=answer.is_last)
                if answer.is_last:
                    return
            await self._send(request.id, {"status": "DONE", "ts": {}}, is_last=True)
        except PlatformError as error:
            await self._send(request.id, self._failure(error), is_last=True)
        except Gone:
            raise
        except Exception:  # the edge, as above
            log.exception("nucleus.stream_failed", command=request.command)
            error = PlatformError("Something went wrong here.")
            await self._send(request.id, self._failure(error), is_last=True)

    def _call(self, request: Request, caller: Caller) -> Call:
        return Call(self._desk, caller, self._token, self._base, request.arguments, request.blob)

    def _failure(self, error: PlatformError) -> dict[str, Any]:
        return failure(error, slows_down=self._slows_down)

    async def _send(
        self,
        request_id: int,
        fields: dict[str, Any],
        blob: bytes | None = None,
        *,
        is_last: bool = False,
    ) -> None:
        head = {"id": request_id, **fields}
        if is_last:
            head["fin"] = True
        await self._pipe.send(write_message(head, blob))

    async def _authorize(self, request: Request) -> None:
        token = request.arguments.get("token")
        try:
            if self._caller is not None:
                await self._send(
                    request.id, {"status": "ALREADY_AUTHENTICATED", "ts": {}}, is_last=True
                )
                return
            principal = await self._desk.principal(token or self._url_token)
            self._caller = await self._desk.gate.caller(principal, self._client_id)
        except PlatformError as error:
            await self._send(request.id, failure(error), is_last=True)
            return
        self._principal, self._lapsed = principal, None
        self._token = str(token or self._url_token)
        self._slows_down = request.arguments.get("slowDown") is True
        self._pipe.widen(MAX_MESSAGE)
        await self._send(request.id, self._welcome(principal, self._caller), is_last=True)

    def _welcome(self, principal: Principal, caller: Caller) -> dict[str, Any]:
        return {
            "status": "OK",
            "ts": {},
            "version": VERSION,
            "username": principal.name,
            "token": self._token,
            "connection_id": self._client_id,
            "max_chunk_size": INLINE,
            "server_capabilities": {},
            "lft_address": f"{self._base}{LFT}",
            "lft_threshold": INLINE,
            "multipart_chunk_size": PART,
            "super_user": bool(caller.may & Access.ADMIN),
            "max_in_flight_requests": MOST_AT_ONCE,
        }

    async def _keep_checking(self) -> None:
        """End every stream once its caller is not who they were when it began."""
        while True:
            await anyio.sleep(RECHECK_S)
            before, principal = self._present(), self._principal
            if before is None or principal is None:
                if self._lapsed is not None:
                    await self._end_streams(failure(self._lapsed))
                continue
            try:
                self._caller = await self._desk.gate.caller(principal, self._client_id)
            except Unavailable:
                continue  # then they are who they were
            except PlatformError as error:
                self._principal, self._caller, self._lapsed = None, None, error
                await self._end_streams(failure(error))
                continue
            if self._caller != before:
                await self._end_streams({"status": "ACCESS_LOST", "ts": {}})

    async def _end_streams(self, fields: dict[str, Any]) -> None:
        for request_id, scope in list(self._streams.items()):
            scope.cancel()
            try:
                await self._send(request_id, fields, is_last=True)
            except Gone:
                return


def _success(answer: Answer) -> dict[str, Any]:
    return {"status": answer.status, "ts": {}, **answer.fields}


def _refusal(notice: str) -> dict[str, Any]:
    return {"status": "INVALID_COMMAND", "ts": {}, "notice": notice}
