"""One call over NATS, from the caller's side: what it sends, and what comes back when."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator
from urllib.parse import urlencode

import anyio

from downstage.bus.nats_connection import (
    Delivery,
    NatsConnection,
    NatsDown,
    is_no_responders,
)
from downstage.services.errors import ServiceNotFoundError, ServiceUnavailableError
from downstage.services.transports.head import (
    BODILESS,
    NAMES,
    failure,
    field_name,
    silence,
)
from downstage.services.transports.inflate import inflater
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
)
from downstage.services.transports.transport import MAX_ANSWER, Call

__all__ = ["Exchange", "end_stray"]

ACCEPT = (b"accept", b"*/*")
CHUNKED = (b"transfer-encoding", b"chunked")
FIELD = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
UNSENDABLE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
FIRST_STATUS, LAST_STATUS = 200, 999
PATIENCE_S = 1.0
"""How long the caller's own body may take to end when it is not wanted any more."""
LENGTHLESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})


class Exchange:
    """One call under way; a `Peer` of its connection."""

    __slots__ = (
        "_accepted", "_call", "_control", "_inbox", "_incoming", "_is_over", "_loop", "_outgoing",
        "_quiet", "_sender", "_service", "_shared", "_silent", "_timer", "_until_head", "head",
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
        self._quiet: asyncio.TimerHandle | None = None
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
        frame = pack(Kind.CALL, self._head(base, more=more), first)
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
        else:
            self._expect_sign()

    def _expect_sign(self) -> None:
        """The request is out: from now on silence counts, where it is shorter than the deadline."""
        call = self._call
        limit = call.read_timeout_s
        if limit is None or (call.timeout_s is not None and limit >= call.timeout_s):
            return
        if not self.head.done():
            self._quiet = self._loop.call_later(limit, self._fall_silent)

    def _head(self, base: str, *, more: bool) -> CallHead:
        call = self._call
        deadline = call.timeout_s
        return CallHead(
            call.method,
            base + call.path or "/",
            urlencode(call.query) if call.query else "",
            _fields(call),
            0 if deadline is None else max(1, round(deadline * 1000)),
            self._until_head,
            more,
        )

    async def _send_body(self, body: bytes | AsyncIterable[bytes]) -> None:
        """Send what did not go with the request; whatever fails here ends the call."""
        assert self._accepted is not None  # noqa: S101 - made by `start`
        assert self._outgoing is not None  # noqa: S101 - made by `start`
        accepted, outgoing = self._accepted, self._outgoing
        try:
            if isinstance(body, bytes):
                await accepted.wait()
                await outgoing.send(body, more=False)
            else:
                async for piece in body:
                    if piece:
                        await accepted.wait()
                        await outgoing.send(piece, more=True)
                await accepted.wait()
                await outgoing.send(b"", more=False)
            self._expect_sign()
        except NatsDown as error:
            self._fail(self.unavailable(str(error)))
        except Exception as error:  # noqa: BLE001 - the caller's own body: raised where it waits
            self._fail(error)
        finally:
            aclose = getattr(body, "aclose", None)
            if aclose is not None:
                await aclose()  # a generator that is not read to its end

    async def _send(self, frame: bytes) -> None:
        await self._shared.publish(self._control, frame)

    async def take(self) -> bytes | None:
        """The next piece of the answer, or None after the last."""
        incoming = self._incoming
        assert incoming is not None  # noqa: S101 - asked for after the head
        if incoming.is_whole:
            return await incoming.take()
        try:
            with anyio.fail_after(self._call.read_timeout_s):
                piece = await incoming.take()
            if (frame := incoming.credit()) is not None:
                await self._send(frame)
        except TimeoutError as error:
            raise self._silence() from error
        except NatsDown as error:
            raise self.unavailable(str(error)) from error
        return piece

    async def pieces(self, status: int, headers: dict[str, str]) -> AsyncIterator[bytes]:
        """The answer's body, inflated, and of the length that was told."""
        inflate = inflater(headers.get("content-encoding", ""))
        size = 0
        while (piece := await self.take()) is not None:
            size += len(piece)
            if inflate is None:
                yield piece
                continue
            try:
                for inflated in inflate(piece):
                    yield inflated
            except ValueError as error:
                raise self.unavailable(str(error)) from error
        self._check_length(size, status, headers)

    async def rest(self, status: int, headers: dict[str, str]) -> bytes:
        """All of the answer's body, bounded."""
        incoming = self._incoming
        if incoming is not None and incoming.is_single and "content-encoding" not in headers:
            body = await incoming.take() or b""
            self._check_length(len(body), status, headers)
            return body
        gathered = bytearray()
        async for piece in self.pieces(status, headers):
            gathered += piece
            if len(gathered) > MAX_ANSWER:
                raise self.unavailable(f"the answer is larger than {MAX_ANSWER} bytes")
        return bytes(gathered)

    def _check_length(self, size: int, status: int, headers: dict[str, str]) -> None:
        told = headers.get("content-length", "")
        if told == str(size) or not told or self._call.method == "HEAD" or status in BODILESS:
            return
        raise self.unavailable("the answer broke off")

    async def close(self) -> None:
        """End it: where the answer is not whole, the handler learns that nobody waits."""
        self._stop_timers()
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
            with anyio.CancelScope(shield=True):
                await asyncio.wait({self._sender}, timeout=PATIENCE_S)

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
        _check(head)
        self._incoming = Incoming(first, more=head.more)
        if not self.head.done():
            self.head.set_result(head)
        if self._until_head or not head.more:
            self._stop_timers()
        elif self._quiet is not None:
            self._quiet.cancel()  # each piece is awaited with its own clock

    def _nobody(self) -> None:
        self._is_over = True
        if self._control:
            self._fail(self.unavailable("the service went away"))
        else:
            why = f"nobody serves {self._service}"
            path = self._call.path
            text = f"{self._call.method} {path or '/'}: {why}"
            address = self._address + path
            self._fail(ServiceNotFoundError(text, method=self._call.method, url=address))

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

    def _fall_silent(self) -> None:
        self._fail(self._silence())

    def _stop_timers(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._quiet is not None:
            self._quiet.cancel()

    def _fail(self, error: Exception) -> None:
        if not self.head.done():
            self.head.set_exception(error)
        if self._incoming is not None:
            self._incoming.fail(error)

    # --- errors --------------------------------------------------------------------------------

    @property
    def _address(self) -> str:
        return f"{self._shared.options.shown}/{self._service}"

    def unavailable(self, why: str) -> ServiceUnavailableError:
        """The call failed, for this reason."""
        return failure(self._call, self._address, why)

    def late(self) -> ServiceUnavailableError:
        """No answer came in time."""
        return silence(self._call, self._address, f"no answer within {self._call.timeout_s:g} s")

    def _silence(self) -> ServiceUnavailableError:
        limit = self._call.read_timeout_s
        return silence(self._call, self._address, f"nothing came for {limit:g} s")


def _check(head: AnswerHead) -> None:
    """Refuse what no HTTP engine would hand to a caller."""
    if not FIRST_STATUS <= head.status <= LAST_STATUS:
        raise FrameError("its status is none")
    for name, value in head.headers:
        if not FIELD.fullmatch(name) or UNSENDABLE.search(value):
            raise FrameError("a header is out of form")


def _fields(call: Call) -> list[tuple[bytes, bytes]]:
    """Header fields as they are sent; what an HTTP engine would add is added."""
    fields = [(NAMES.get(k) or field_name(k), v.encode()) for k, v in call.headers.items()]
    names = {name for name, _ in fields}
    if b"accept" not in names:
        fields.append(ACCEPT)
    if not call.body and call.method in LENGTHLESS:
        return fields
    if b"content-length" not in names and b"transfer-encoding" not in names:
        if isinstance(call.body, bytes):
            fields.append((b"content-length", str(len(call.body)).encode()))
        else:
            fields.append(CHUNKED)
    return fields


def _piece(shared: NatsConnection) -> int:
    return min(PIECE, shared.max_payload // 2)


def end_stray(shared: NatsConnection, message: Delivery) -> None:
    """A server speaks of a call whose caller has gone: now that it said where, tell it so."""
    if not INBOX.fullmatch(message.reply):
        return
    try:
        kind = kind_of(message.data)
    except FrameError:
        return
    if kind in (Kind.ACCEPT, Kind.ANSWER, Kind.PIECE, Kind.BEAT):
        shared.post(message.reply, pack_bare(Kind.CANCEL))
