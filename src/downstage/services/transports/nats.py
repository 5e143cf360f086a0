"""``nats://``: calls to whoever serves a name, wherever it is (see docs/reference/nats.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio

from downstage.bus.nats_connection import NatsConnection, NatsDown
from downstage.bus.nats_pool import connection, options_for
from downstage.services.transports.head import check, fold
from downstage.services.transports.nats_exchange import Exchange, end_stray
from downstage.services.transports.nats_frames import AnswerHead, FrameError
from downstage.services.transports.nats_names import service_of
from downstage.services.transports.transport import Answer, Call, Socket, Stream

__all__ = ["NatsTransport"]


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
            headers = fold(head.headers)
            return Answer(head.status, headers, await exchange.rest(head.status, headers))
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

    async def _begin(self, call: Call, *, until_head: bool) -> Exchange:
        check(call)
        shared = self._shared
        if shared is None or shared.is_closed or shared.loop is not asyncio.get_running_loop():
            shared = await self._connection()
        exchange = Exchange(shared, call, self.service)
        try:
            if shared.is_up and not shared.is_congested:
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
        shared.stray = lambda message: end_stray(shared, message)
        return shared


class _Stream:
    """An answer that is read as it comes."""

    def __init__(self, head: AnswerHead, exchange: Exchange) -> None:
        self.status = head.status
        self.headers = fold(head.headers)
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces, as they come."""
        return self._exchange.pieces(self.status, self.headers)


TRANSPORTS = {"nats": NatsTransport}
