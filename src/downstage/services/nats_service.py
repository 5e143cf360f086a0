"""Serves an ASGI application under a name on NATS: the other end of ``nats://``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from starlette.types import ASGIApp

from downstage.bus.nats_connection import Delivery, NatsConnection, NatsDown
from downstage.bus.nats_pool import connection, options_for
from downstage.kernel.errors import Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.nats_served import Home, LateHeads, Served, problem_frame
from downstage.services.transports.nats_frames import (
    CallHead,
    FailHead,
    FrameError,
    Kind,
    kind_of,
    pack,
    unpack,
)
from downstage.services.transports.nats_names import INBOX, SUBJECT, service_of
from downstage.services.transports.runner import Runner

__all__ = ["CONCURRENCY", "serve_nats"]

CONCURRENCY = 2048
DRAIN_S = 2.0
FLUSH_S = 2.0
START_S = 10.0
QUEUE = "downstage"
"""Replicas of a service are one queue group: each call goes to one of them."""
log = get_logger(__name__)


@asynccontextmanager
async def serve_nats(
    app: ASGIApp, uri: str, *, concurrency: int = CONCURRENCY, drain_s: float = DRAIN_S
) -> AsyncGenerator[None]:
    """Serve *app* under the name in *uri* as long as the context is open.

    Inside, the server knows of us; where it cannot be reached we are served as soon as it can. At
    exit no new calls are taken, those under way get *drain_s* to end, and the rest are told.

    Args:
        app: any ASGI application; its lifespan is not ours.
        uri: ``nats://[host[:port]]/name``.
        concurrency: calls at once; more are answered 503.
        drain_s: how long the end waits for calls.

    Raises:
        ValueError: the URI is out of form.
    """
    options, path = options_for(uri)
    name, base = service_of(path)
    if base:
        raise ValueError("A service is served under a name, not below a path.")
    shared = await connection(options)
    service = _Service(app, name, shared, concurrency)
    async with service.listening(drain_s):
        yield


class _Service:
    """Takes calls and starts a task for each."""

    def __init__(self, app: ASGIApp, name: str, shared: NatsConnection, concurrency: int) -> None:
        self._name = name
        self._shared = shared
        self._concurrency = concurrency
        self._calls: set[Served] = set()
        self._idle = asyncio.Event()
        self._home = Home(app, name, shared, LateHeads())
        self._runner = Runner(asyncio.get_running_loop())

    @asynccontextmanager
    async def listening(self, drain_s: float) -> AsyncGenerator[None]:
        """Inside, calls come; at exit they are let end."""
        subject, shared = SUBJECT + self._name, self._shared
        end = await shared.subscribe(subject, self._take, queue=QUEUE)
        try:
            await self._wait_known()
            yield
        finally:
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(FLUSH_S):
                    await end()
                    try:
                        await shared.flush(FLUSH_S)  # what was sent before is here now
                    except NatsDown:
                        log.debug("nats.not_flushed", service=self._name)
                await self._drain(drain_s)
                self._runner.close()
                log.info("nats.service_ended", service=self._name)

    async def _wait_known(self) -> None:
        shown = self._shared.options.shown
        try:
            with anyio.fail_after(START_S):
                await self._shared.ready()
                await self._shared.flush(START_S)
        except (NatsDown, TimeoutError) as error:
            log.warning("nats.served_later", service=self._name, servers=shown, why=str(error))
        else:
            log.info("nats.service_started", service=self._name, servers=shown)

    async def _drain(self, drain_s: float) -> None:
        with anyio.move_on_after(drain_s):
            while self._calls:
                self._idle = asyncio.Event()
                await self._idle.wait()
        for call in list(self._calls):
            call.stop("the service is stopping")
        with anyio.move_on_after(FLUSH_S):
            while self._calls:
                self._idle = asyncio.Event()
                await self._idle.wait()

    def _take(self, message: Delivery) -> None:
        """A frame came on the service's subject."""
        reply = message.reply
        if not INBOX.fullmatch(reply):
            log.warning("nats.frame_refused", service=self._name, why="no inbox to answer to")
            return
        try:
            request = _call_of(message.data)
            if len(self._calls) >= self._concurrency:
                full = Unavailable("The service has all the calls it can take.", retry_after_s=1)
                self._shared.post(reply, problem_frame(full))
                return
            call = Served(self._home, reply, request)  # from here on it has an inbox
        except FrameError as error:
            log.warning("nats.frame_refused", service=self._name, why=str(error))
            self._shared.post(reply, pack(Kind.FAIL, FailHead(str(error))))
            return
        self._calls.add(call)

        def ended(error: BaseException | None) -> None:
            self._calls.discard(call)
            if not self._calls:
                self._idle.set()
            if isinstance(error, Exception):
                log.error("nats_call.failed", service=self._name, exc_info=error)

        call.start(self._runner, ended)


def _call_of(frame: bytes) -> tuple[CallHead, bytes]:
    kind = kind_of(frame)
    if kind is not Kind.CALL:
        raise FrameError(f"{kind.name} is not how a call begins")
    return unpack(frame, CallHead)
