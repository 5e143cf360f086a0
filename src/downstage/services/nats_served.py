"""One call that came over NATS: the ASGI conversation on our side, frames on the other."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import anyio
from starlette.types import ASGIApp

from downstage.bus.nats_connection import (
    TICK_S,
    Delivery,
    NatsConnection,
    NatsDown,
    is_no_responders,
)
from downstage.kernel.errors import PlatformError, problem
from downstage.kernel.logging import get_logger
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
from downstage.services.transports.nats_names import BEAT_TICKS, SILENT_TICKS
from downstage.services.transports.runner import Runner, Worker

__all__ = ["Home", "LateHeads", "Served", "problem_frame"]

ACCEPT_TICKS = 2
HEAD_WAITS_S = 0.005
"""How long an answer's head waits, at most, for the first of its body to go with it."""
AGAIN_S = 3.0
"""A handler that was cancelled may take so long to clean up before it is cancelled again."""
SLACK_TICKS = 1
"""The caller's own clock comes first."""
FAIL_S = 1.0
BODILESS = frozenset({204, 304})
METHOD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
PATH = re.compile(r"/[\x21\x22\x24-\x3e\x40-\x7e]*")  # neither # nor ?
QUERY = re.compile(r"[\x21\x22\x24-\x7e]*")
FIELD = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
UNSENDABLE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
log = get_logger(__name__)


class LateHeads:
    """Heads whose bodies let wait for themselves, sent alone: one timer for all calls."""

    def __init__(self) -> None:
        self._waiting: list[Served] = []

    def add(self, call: Served) -> None:
        """Send the head of *call* in a while, unless its body has come by then."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(HEAD_WAITS_S, self._send)
        self._waiting.append(call)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.send_head()


@dataclass(frozen=True, slots=True)
class Home:
    """What all calls of one service share."""

    app: ASGIApp
    name: str
    shared: NatsConnection
    late_heads: LateHeads


class Served:
    """One call under way; a `Peer` of its connection."""

    __slots__ = (
        "_app", "_began", "_deadline", "_gone", "_has_ended", "_head", "_headers", "_inbox",
        "_incoming", "_is_complete", "_is_stopped", "_late_heads", "_outgoing", "_reply", "_scope",
        "_shared", "_silent", "_status", "_ticks", "_was_read", "_why", "_worker",
    )  # fmt: skip

    def __init__(self, home: Home, reply: str, call: tuple[CallHead, bytes]) -> None:
        """Raises `FrameError` where the head of *call* makes no request."""
        head, body = call
        shared = self._shared = home.shared
        self._app = home.app
        self._late_heads = home.late_heads
        self._reply = reply
        self._head = head
        self._scope = _scope(home.name, head)
        self._incoming = Incoming(body, more=head.more)
        self._outgoing: Outgoing | None = None
        self._inbox = shared.open_inbox(self)
        self._worker: Worker | None = None
        self._gone = asyncio.Event()
        self._was_read = False
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._began = False
        self._is_complete = False
        self._deadline = (
            head.deadline_ms / 1000 / TICK_S + SLACK_TICKS if head.deadline_ms else None
        )
        self._ticks = 0
        self._silent = 0
        self._is_stopped = False
        self._has_ended = False
        self._why = "the answer broke off"

    # --- the application's side ----------------------------------------------------------------

    async def run(self) -> None:
        """Run the application and finish the answer."""
        try:
            if self._head.more:
                await self._send_out(pack_bare(Kind.ACCEPT))
            await self._call()
            await self._finish()
        except NatsDown:
            log.info("nats.caller_lost", path=self._head.path[:256])
        finally:
            self._close()
            if not self._is_complete and not self._gone.is_set():
                await self._tell_failure()

    async def _call(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._respond)
        except NatsDown:
            raise
        except Exception:  # the edge: over HTTP the server would do this
            if not self._is_complete:
                log.exception("nats_call.crashed", path=self._head.path[:256])

    async def _finish(self) -> None:
        if self._status == 0 or (not self._began and not self._is_complete):
            self._status, self._headers = 500, [(b"content-type", b"text/plain; charset=utf-8")]
            await self._begin(b"Internal Server Error", more=False)

    async def _tell_failure(self) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(FAIL_S):
            await self._shared.publish_or_drop(self._reply, pack(Kind.FAIL, FailHead(self._why)))

    async def _receive(self) -> dict[str, Any]:
        if not self._was_read:
            try:
                piece = await self._incoming.take()
                if (frame := self._incoming.credit()) is not None:
                    await self._shared.publish(self._reply, frame)
            except (FrameError, NatsDown):
                self._leave()
                return {"type": "http.disconnect"}
            self._was_read = self._incoming.is_empty
            more = not self._was_read
            return {"type": "http.request", "body": piece or b"", "more_body": more}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _respond(self, message: MutableMapping[str, Any]) -> None:
        if self._gone.is_set():
            raise OSError("the caller has gone")
        if message["type"] == "http.response.start":
            if self._status:
                raise RuntimeError("the answer has begun already")
            self._status = cast("int", message["status"])
            self._headers = list(message.get("headers") or ())
            self._late_heads.add(self)
        elif message["type"] == "http.response.body":
            body = cast("bytes", message.get("body", b""))
            await self._body(body, more=bool(message.get("more_body", False)))

    async def _body(self, body: bytes, *, more: bool) -> None:
        if not self._status or self._is_complete:
            raise RuntimeError("a body came where none was due")
        if self._head.method == "HEAD" or self._status in BODILESS:
            body = b""
        if not self._began:
            await self._begin(body, more=more)
            return
        await self._shared.drained()  # the head may still be waiting there
        assert self._outgoing is not None  # noqa: S101 - made with the head
        if body or not more:
            await self._outgoing.send(body, more=more)
        if not more:
            self._complete()

    async def _begin(self, body: bytes, *, more: bool) -> None:
        """Send the head with the body, or with the first piece of it."""
        inline = min(self._shared.max_payload // 2, WINDOW // 2)
        first = body[:inline] if len(body) > inline else body
        is_all = len(first) == len(body)
        frame = pack(
            Kind.ANSWER, AnswerHead(self._status, self._headers, more or not is_all), first
        )
        self._began = True
        if not more and is_all:
            self._complete()
            await self._shared.publish(self._reply, frame)
            return
        self._open_outgoing(len(first))
        await self._send_out(frame)
        if not is_all:
            assert self._outgoing is not None  # noqa: S101 - just made
            await self._outgoing.send(body[len(first) :], more=more)
            if not more:
                self._complete()

    def send_head(self) -> None:
        """Where nothing has been sent yet, send the head alone."""
        if self._began or self._has_ended or self._gone.is_set():
            return
        try:
            frame = pack(Kind.ANSWER, AnswerHead(self._status, self._headers, more=True))
        except FrameError:
            return  # told when the body comes
        self._began = True
        self._open_outgoing(0)
        self._shared.post(self._reply, frame, self._inbox)

    def _open_outgoing(self, first: int) -> None:
        piece = min(PIECE, self._shared.max_payload // 2)
        self._outgoing = Outgoing(self._send_out, first, piece)
        if self._head.until_head:
            self._deadline = None

    def _complete(self) -> None:
        """The answer is whole: what the application does from now on is its own affair."""
        self._is_complete = True
        self._shared.close_inbox(self._inbox)
        self._gone.set()

    async def _send_out(self, frame: bytes) -> None:
        await self._shared.publish(self._reply, frame, self._inbox)

    # --- the caller's side ---------------------------------------------------------------------

    def start(self, runner: Runner, ended: Callable[[BaseException | None], None]) -> None:
        """Run, from the first step on; *ended* is called at the end."""
        self._worker = runner.start(self.run(), ended)

    def stop(self, why: str) -> None:
        """End the call from here; the caller is told *why*."""
        self._why = why
        self._is_stopped = True
        self._cancel()

    def _cancel(self) -> None:
        """Cancel the handler, again and again: what it waited for may have swallowed the first.

        By a timer of its own, since nothing ticks any more where the connection broke.
        """
        if self._has_ended:
            return
        if self._worker is not None:  # None in its own first step
            self._worker.cancel()
        asyncio.get_running_loop().call_later(AGAIN_S, self._cancel)

    def deliver(self, message: Delivery) -> None:
        """A frame came from the caller."""
        self._silent = 0
        if is_no_responders(message):
            self._leave()
            return
        try:
            self._understand(message)
        except FrameError as error:
            log.warning("nats.frame_refused", path=self._head.path[:256], why=str(error))
            self._incoming.fail(error)
            self.stop(str(error))

    def _understand(self, message: Delivery) -> None:
        match kind_of(message.data):
            case Kind.PIECE:
                self._incoming.push(*unpack(message.data, PieceHead))
            case Kind.CREDIT if self._outgoing is not None:
                self._outgoing.grant(unpack(message.data, CreditHead)[0].taken)
            case Kind.CANCEL:
                self._leave()
            case Kind.BEAT:
                pass
            case kind:
                raise FrameError(f"{kind.name} came out of turn")

    def _leave(self) -> None:
        """Nobody waits for the answer any more."""
        if not self._is_complete:
            self._gone.set()
            self.stop("the caller has gone")

    def tick(self) -> None:
        """Time has passed: tell the caller where we are, and listen for it."""
        self._ticks += 1
        self._silent += 1
        if self._is_stopped:
            return
        if self._deadline is not None and self._ticks > self._deadline:
            self.stop("it took too long")
            return
        if self._ticks == ACCEPT_TICKS:
            self._shared.post(self._reply, pack_bare(Kind.ACCEPT), self._inbox)
        elif self._ticks % BEAT_TICKS == 0:
            self._shared.post(self._reply, pack_bare(Kind.BEAT), self._inbox)
        if self._silent > SILENT_TICKS:
            log.info("nats.caller_silent", path=self._head.path[:256])
            self._leave()

    def lost(self, why: str) -> None:
        """The connection broke, and the caller with it."""
        self._incoming.fail(NatsDown(why))
        self._leave()

    def _close(self) -> None:
        self._has_ended = True
        self._shared.close_inbox(self._inbox)


def problem_frame(error: PlatformError) -> bytes:
    """*error* as a whole answer."""
    headers = [(b"content-type", b"application/problem+json")]
    retry = getattr(error, "retry_after_s", None)
    if retry is not None:
        headers.append((b"retry-after", str(retry).encode()))
    body = json.dumps(problem(error)).encode()
    return pack(Kind.ANSWER, AnswerHead(error.status, headers), body)


def _scope(service: str, head: CallHead) -> dict[str, Any]:
    _check(head)
    headers = head.headers
    if not any(name == b"host" for name, _ in headers):
        headers = [(b"host", service.encode()), *headers]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": head.method,
        "scheme": "http",
        "path": unquote(head.path),
        "raw_path": head.path.encode(),
        "query_string": head.query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("nats", 0),
        "server": (service, None),
        "state": {},
    }


def _check(head: CallHead) -> None:
    """Refuse what no HTTP server would hand to an application."""
    if not METHOD.fullmatch(head.method):
        raise FrameError("the method is out of form")
    if not PATH.fullmatch(head.path) or not QUERY.fullmatch(head.query):
        raise FrameError("the path is out of form")
    for name, value in head.headers:
        if not FIELD.fullmatch(name) or UNSENDABLE.search(value):
            raise FrameError("a header is out of form")
