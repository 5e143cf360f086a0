"""``nats://``: the suites of all transports, over a real server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from downstage.bus.nats_pool import close_connections
from downstage.services.nats_service import serve_nats
from downstage.testing.nats import NatsServer

from .client_suite import ClientSuite
from .stream_suite import StreamSuite
from .transport_suite import TransportSuite

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

NOBODY = "nats://anna:pw@127.0.0.1:9/nobody"


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        OverNats.url = running.url
        yield running


class OverNats:
    nobody = NOBODY
    url = ""

    @asynccontextmanager
    async def serve(self, app: Any) -> AsyncGenerator[str]:
        try:
            async with serve_nats(app, f"{OverNats.url}/contract", drain_s=0.5):
                yield f"{OverNats.url}/contract"
        finally:
            await close_connections()


class TestNats(OverNats, TransportSuite):
    pass


class TestNatsStreams(OverNats, StreamSuite):
    pass


class TestNatsClient(OverNats, ClientSuite):
    pass
