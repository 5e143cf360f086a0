"""``nats://``: calls to whoever serves a name, wherever it is (see docs/reference/nats.md)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlencode

import anyio

from downstage.bus.nats_connection import (
    Delivery,
    NatsConnection,
    NatsDown,
    is_no_responders,
)
from downstage.bus.nats_pool import connection, options_for
from downstage.services.errors import (
    ServiceNotFoundError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from downstage.services.transports.nats_flow import PIECE, WINDOW, Incoming, Outgoing
from downstage.services.transports.nats_frames import (
    AnswerHead,
    CallHead,
    CreditHead,
    FailHead,
    FrameError,
    Kind,
    PieceHead,
    kind_of,
    pack,
    pack_bare,
    unpack,
)
from downstage.services.transports.nats_names import (
    BEAT_TICKS,
    INBOX,
    SILENT_TICKS,
    SUBJECT,
    service_of,
)
from downstage.services.transports.transport import MAX_ANSWER, Answer, Call, Socket, Stream

__all__ = ["NatsTransport"]

_Error = TypeVar("_Error", ServiceNotFoundError, ServiceTimeoutError, ServiceUnavailableError)


class NatsTransport:
    """Calls a service by name over NATS; WebSockets are not carried."""

    def __init__(self, uri: str, app: Any = None) -> None:
        del app
        self._uri = uri
        self._shared: NatsConnection | None = None
        _, _, path = uri.partition("://")[2].partition("/")
        self.service, self._base = service_of(path)

    async def request(self, call: Call) -> Answer:
        """Carry *call*: one message there and one back, where both fit."""
        exchange = await self._begin(call, until_head=False)
        try:
            head = await exchange.head
            body = await exchange.rest()
            return Answer(head.status, _headers(head), body)
        finally:
            await exchange.close()

    def stream(self, call: Call) -> AbstractAsyncContextManager[Stream]:
        """Carry *call*; its answer comes piece by piece."""
        return self._stream(call)

    @asynccontextmanager
    async def _stream(self, call: Call) -> AsyncGenerator[Stream]:
        exchange = await self._begin(call, until_head=True)
        try:
            yield _Stream(await exchange.head, exchange)
        finally:
            await exchange.close()

    def socket(
        self, call: Call, subprotocols: tuple[str, ...] = ()
    ) -> AbstractAsyncContextManager[Socket]:
        """Not carried."""
        del call, subprotocols
        raise NotImplementedError(
            "nats:// carries requests and streams, but no WebSockets: reach the service by http://."
        )

    async def _begin(self, call: Call, *, until_head: bool) -> _Exchange:
        shared = self._shared
        if shared is None or shared.is_closed or shared.loop is not asyncio.get_running_loop():
            shared = await self._connection()
        exchange = _Exchange(shared, call, self.service)
        try:
            if shared.is_up:
                await exchange.start(self._base, until_head=until_head)
            else:
                with anyio.fail_after(call.timeout_s):
                    await shared.ready()
                await exchange.start(self._base, until_head=until_head)
        except NatsDown as error:
            raise exchange.unavailable(str(error)) from error
        except TimeoutError as error:
            raise exchange.late() from error
        except FrameError as error:
            raise exchange.unavailable(str(error)) from error
        return exchange

    async def _connection(self) -> NatsConnection:
        shared = self._shared = await connection(options_for(self._uri)[0])
        shared.stray = lambda message: _end_stray(shared, message)
        return shared


class _Exchange:
    """One call under way; a `Peer` of its connection."""

    __slots__ = (
        "_accepted", "_call", "_control", "_inbox", "_incoming", "_is_over", "_loop", "_outgoing",
        "_sender", "_service", "_shared", "_silent", "_timer", "_until_head", "head",
    )  # fmt: skip

    def __init__(self, shared: NatsConnection, call: Call, service: str) -> None:
        self._shared = shared
        self._call = call
        self._service = service
        self._inbox = ""
        self._control = ""
        self._incoming: Incoming | None = None
        self._outgoing: Outgoing | None = None
        self._accepted: asyncio.Event | None = None
        self._sender: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until_head = False
        self._silent = 0
        self._is_over = False
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.head: asyncio.Future[AnswerHead] = loop.create_future()

    # --- the caller's side ---------------------------------------------------------------------

    async def start(self, base: str, *, until_head: bool) -> None:
        """Send the request, or its first part."""
        call, shared = self._call, self._shared
        self._until_head = until_head
        whole = call.body if isinstance(call.body, bytes) else None
        inline = min(shared.max_payload // 2, WINDOW // 2)
        first = whole[:inline] if whole else b""
        more = whole is None or len(first) < len(whole)
        frame = pack(Kind.CALL, self._head(base, whole, more=more), first)
        if call.timeout_s is not None:
            self._timer = self._loop.call_later(call.timeout_s, self._expire)
        self._inbox = shared.open_inbox(self)
        if more:
            self._accepted = asyncio.Event()
            self._outgoing = Outgoing(self._send, len(first), _piece(shared))
        try:
            await shared.publish(SUBJECT + self._service, frame, self._inbox)
        except BaseException:
            await self.close()
            raise
        if more:
            rest = call.body if whole is None else whole[len(first) :]
            self._sender = self._loop.create_task(self._send_body(rest))

    def _head(self, base: str, whole: bytes | None, *, more: bool) -> CallHead:
        call = self._call
        headers = [
            (k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in call.headers.items()
        ]
        if whole and not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", str(len(whole)).encode()))
        return CallHead(
            call.method,
            base + call.path or "/",
            urlencode(call.query) if call.query else "",
            headers,
            0 if call.timeout_s is None else max(1, round(call.timeout_s * 1000)),
            self._until_head,
            more,
        )

    async def _send_body(self, body: bytes | AsyncIterable[bytes]) -> None:
        """Send what did not go with the request; whatever fails here ends the call."""
        assert self._accepted is not None  # noqa: S101 - made by `start`
        assert self._outgoing is not None  # noqa: S101 - made by `start`
        try:
            await self._accepted.wait()
            if isinstance(body, bytes):
                await self._outgoing.send(body, more=False)
                return
            async for piece in body:
                if piece:
                    await self._outgoing.send(piece, more=True)
            await self._outgoing.send(b"", more=False)
        except NatsDown as error:
            self._fail(self.unavailable(str(error)))
        except Exception as error:  # noqa: BLE001 - the caller's own body: raised where it waits
            self._fail(error)

    async def _send(self, frame: bytes) -> None:
        await self._shared.publish(self._control, frame)

    async def take(self) -> bytes | None:
        """The next piece of the answer, or None after the last."""
        incoming = self._incoming
        assert incoming is not None  # noqa: S101 - asked for after the head
        if incoming.is_whole:
            return await incoming.take()
        limit = self._call.read_timeout_s
        try:
            with anyio.fail_after(limit):
                return await incoming.take()
        except TimeoutError as error:
            raise self._error(ServiceTimeoutError, f"silent for {limit:g} s") from error
        except NatsDown as error:
            raise self.unavailable(str(error)) from error

    async def rest(self) -> bytes:
        """All of the answer's body, bounded."""
        first = await self.take()
        if first is None or (self._incoming and self._incoming.is_empty):
            return first or b""
        body = bytearray(first)
        while (piece := await self.take()) is not None:
            body += piece
            if len(body) > MAX_ANSWER:
                raise self.unavailable(f"the answer is larger than {MAX_ANSWER} bytes")
        return bytes(body)

    async def close(self) -> None:
        """End it: where the answer is not whole, the handler learns that nobody waits."""
        if self._timer is not None:
            self._timer.cancel()
        self._shared.close_inbox(self._inbox)
        is_whole = self._incoming is not None and self._incoming.is_whole
        if self._control and not is_whole and not self._is_over:
            self._shared.post(self._control, pack_bare(Kind.CANCEL))
        self._is_over = True
        if not self.head.done():
            self.head.cancel()
        elif not self.head.cancelled():
            self.head.exception()  # looked at: the caller may have gone before it came
        if self._sender is not None and not self._sender.done():
            self._sender.cancel()
            with anyio.CancelScope(shield=True), contextlib.suppress(asyncio.CancelledError):
                await self._sender

    # --- what the connection tells -------------------------------------------------------------

    def deliver(self, message: Delivery) -> None:
        """A frame came."""
        self._silent = 0
        try:
            if is_no_responders(message):
                self._nobody()
            else:
                self._understand(message)
        except FrameError as error:
            self._fail(self.unavailable(f"the answer cannot be read: {error}"))

    def _understand(self, message: Delivery) -> None:
        kind = kind_of(message.data)
        if message.reply:
            if not INBOX.fullmatch(message.reply):
                raise FrameError("its reply subject is no inbox")
            self._control = message.reply
        match kind:
            case Kind.ANSWER:
                self._answered(message.data)
            case Kind.PIECE if self._incoming is not None:
                self._incoming.push(*unpack(message.data, PieceHead))
            case Kind.ACCEPT:
                if self._accepted is not None:
                    self._accepted.set()
            case Kind.CREDIT if self._outgoing is not None:
                self._outgoing.grant(unpack(message.data, CreditHead)[0].taken)
            case Kind.FAIL:
                self._is_over = True
                self._fail(self.unavailable(unpack(message.data, FailHead)[0].why))
            case Kind.BEAT:
                pass
            case _:
                raise FrameError(f"{kind.name} came out of turn")

    def _answered(self, data: bytes) -> None:
        head, first = unpack(data, AnswerHead)
        if self._incoming is not None:
            raise FrameError("a second answer came")
        self._incoming = Incoming(self._send, first, more=head.more)
        if not self.head.done():
            self.head.set_result(head)
        if self._timer is not None and (self._until_head or not head.more):
            self._timer.cancel()

    def _nobody(self) -> None:
        self._is_over = True
        if self._control:
            self._fail(self.unavailable("the service went away"))
        else:
            why = f"nobody serves {self._service}"
            self._fail(self._error(ServiceNotFoundError, why))

    def tick(self) -> None:
        """Time has passed: give a sign, and listen for one."""
        if self._incoming is not None and self._incoming.is_whole:
            return
        self._silent += 1
        if self._silent > SILENT_TICKS:
            self._fail(self.unavailable("the service fell silent"))
        elif self._control and self._silent % BEAT_TICKS == 0:
            self._shared.post(self._control, pack_bare(Kind.BEAT), self._inbox)

    def lost(self, why: str) -> None:
        """The connection broke."""
        self._is_over = True
        self._fail(self.unavailable(why))

    def _expire(self) -> None:
        self._fail(self.late())

    def _fail(self, error: Exception) -> None:
        if not self.head.done():
            self.head.set_exception(error)
        if self._incoming is not None:
            self._incoming.fail(error)

    # --- errors --------------------------------------------------------------------------------

    def unavailable(self, why: str) -> ServiceUnavailableError:
        """The call failed, for this reason."""
        return self._error(ServiceUnavailableError, why)

    def late(self) -> ServiceTimeoutError:
        """No answer came in time."""
        return self._error(ServiceTimeoutError, f"no answer within {self._call.timeout_s:g} s")

    def _error(self, kind: type[_Error], why: str) -> _Error:
        path = self._call.path
        text = f"{self._call.method} {path or '/'}: {why}"
        return kind(
            text,
            method=self._call.method,
            url=f"{self._shared.options.shown}/{self._service}{path}",
        )


class _Stream:
    """An answer that is read as it comes."""

    def __init__(self, head: AnswerHead, exchange: _Exchange) -> None:
        self.status = head.status
        self.headers = _headers(head)
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces, as they come."""
        while (piece := await self._exchange.take()) is not None:
            yield piece


def _end_stray(shared: NatsConnection, message: Delivery) -> None:
    """A server speaks of a call whose caller has gone: now that it said where, tell it so."""
    if not INBOX.fullmatch(message.reply):
        return
    try:
        kind = kind_of(message.data)
    except FrameError:
        return
    if kind in (Kind.ACCEPT, Kind.ANSWER, Kind.PIECE, Kind.BEAT):
        shared.post(message.reply, pack_bare(Kind.CANCEL))


def _headers(head: AnswerHead) -> dict[str, str]:
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in head.headers}


def _piece(shared: NatsConnection) -> int:
    return min(PIECE, shared.max_payload // 2)


TRANSPORTS = {"nats": NatsTransport}
