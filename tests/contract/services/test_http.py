"""``http://`` and ``ws://``: the suites, and what is special to them."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from downstage.services.errors import ServiceUnavailableError
from downstage.services.transports import Call, Transport, create
from downstage.services.transports import http as http_transport
from downstage.services.transports.pool import find_pool, open_pool

from .client_suite import ClientSuite
from .probe import Probe
from .servers import serve_http
from .socket_suite import SocketSuite
from .stream_suite import StreamSuite
from .transport_suite import TransportSuite

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

NOBODY = "http://anna:pw@127.0.0.1:9"


class TestHttp(TransportSuite):
    nobody = NOBODY

    def serve(self, app: Any) -> Any:
        return serve_http(app)

    @pytest.mark.parametrize("name", ["transfer-encoding", "Transfer-Encoding"])
    async def test_the_bodys_form_is_not_the_callers_to_say(
        self, transport: Transport, probe: Probe, name: str
    ) -> None:
        body = b"0\r\n\r\nGET /scope HTTP/1.1\r\nhost: x\r\n\r\n"
        call = Call("POST", "/echo", headers={name: "chunked"}, body=body)
        with pytest.raises(ValueError, match="transfer-encoding"):
            await transport.request(call)
        with pytest.raises(ValueError, match="transfer-encoding"):
            async with transport.stream(call):
                pass
        assert probe.calls == 0

    async def test_connections_are_used_again(self, transport: Transport) -> None:
        await transport.request(Call("GET", "/echo"))
        pool = find_pool(http_transport.NO_TLS_OPTIONS)
        assert pool is not None
        await transport.request(Call("POST", "/echo", body=b"x"))
        async with transport.stream(Call("GET", "/echo")) as stream:
            assert [piece async for piece in stream] == []
        assert len(pool.calls.connector._conns) == 1
        assert len(pool.channels.connector._conns) == 1
        assert find_pool(http_transport.NO_TLS_OPTIONS) is pool

    async def test_closing_the_pool_is_no_end(self, transport: Transport) -> None:
        await transport.request(Call("GET", "/echo"))
        await http_transport.close_pool()
        await http_transport.close_pool()
        assert (await transport.request(Call("GET", "/echo"))).status == 200

    async def test_a_pool_that_opens_while_all_are_closed_is_not_forgotten(
        self, address: str
    ) -> None:
        await create(address).request(Call("GET", "/echo"))
        slow = http_transport.TlsOptions(verify=False)  # its context is made in a thread
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(open_pool, slow)
            await anyio.sleep(0)
            tasks.start_soon(http_transport.close_pool)
        late = find_pool(slow)
        assert late is not None
        await http_transport.close_pool()
        assert late.calls.closed

    async def test_each_loop_has_a_pool_of_its_own(self, address: str) -> None:
        transport = create(address)
        await transport.request(Call("GET", "/echo"))

        def elsewhere() -> int:
            return asyncio.run(transport.request(Call("GET", "/echo"))).status

        assert await anyio.to_thread.run_sync(elsewhere) == 200
        assert (await transport.request(Call("GET", "/echo"))).status == 200

    async def test_credentials_of_an_address_are_sent_and_not_shown(
        self, address: str, transport: Transport
    ) -> None:
        mine = create(address.replace("://", "://an%20na:p%40w@"))
        scope = await self.scope(mine, Call("GET", "/scope"))
        assert dict(scope["headers"])["authorization"] == "Basic YW4gbmE6cEB3"
        own = await self.scope(mine, Call("GET", "/scope", headers={"Authorization": "Bearer t"}))
        assert dict(own["headers"])["authorization"] == "Bearer t"

    async def test_open_streams_do_not_hold_up_calls(
        self, transport: Transport, probe: Probe
    ) -> None:
        async def listen() -> None:
            async with transport.stream(Call("GET", "/events")) as stream:
                async for _ in stream:
                    pass

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for _ in range(300):
                    tasks.start_soon(listen)
                await probe.started.wait()
                assert (await transport.request(Call("GET", ""))).body == b"root"
                tasks.cancel_scope.cancel()

    async def test_an_address_without_a_host(self) -> None:
        with pytest.raises(ValueError, match="no host"):
            create("http:///path")

    @pytest.mark.parametrize(
        "said",
        [
            b"HTP/1.1 nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nset-cookie: s3cret\r\ncontent-length: 1\r\n",
            b"HTTP/1.1 200 OK\r\nx: " + b"a" * 20_000 + b"\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ],
    )
    async def test_errors_show_neither_query_nor_fields(self, said: bytes) -> None:
        async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
            transport = create(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            call = Call("GET", "/x", (("token", "s3cret"),))
            with pytest.raises(ServiceUnavailableError) as caught:
                async with transport.socket(call):
                    pass
            assert "s3cret" not in str(caught.value) + repr(caught.value)
            if b"101" in said:
                return
            with pytest.raises(ServiceUnavailableError) as caught:
                await transport.request(call)
            assert "s3cret" not in str(caught.value) + repr(caught.value)

    async def test_a_server_that_hangs_up(self) -> None:
        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            transport = create(f"http://127.0.0.1:{port}")
            with pytest.raises(ServiceUnavailableError):
                await transport.request(Call("GET", "/"))
            with pytest.raises(ServiceUnavailableError):
                async with transport.socket(Call("GET", "/")):
                    pass


class TestHttpStreams(StreamSuite):
    def serve(self, app: Any) -> Any:
        return serve_http(app)


class TestWs(SocketSuite):
    nobody = "ws://127.0.0.1:9"

    def serve(self, app: Any) -> Any:
        return serve_http(app, "ws")

    async def test_calls_work_too(self, transport: Transport) -> None:
        assert (await transport.request(Call("GET", ""))).body == b"root"


class TestHttpClient(ClientSuite):
    nobody = NOBODY

    def serve(self, app: Any) -> Any:
        return serve_http(app)
