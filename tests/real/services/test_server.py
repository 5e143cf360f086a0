"""Our servers on real sockets: TCP, unix, limits, ends."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect

from downstage.kernel.errors import Forbidden, SetupError
from downstage.kernel.limits import MAX_SIGNALLING
from downstage.services import AsyncClient
from downstage.services.registry import create_app
from downstage.services.server import Server, open_port, open_unix
from downstage.services.transports.http import close_pool

pytestmark = [pytest.mark.real, pytest.mark.anyio]


@pytest.fixture
def app() -> FastAPI:
    app = create_app("Test")

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("text") is not None:
                    await socket.send_text(str(len(message["text"])))
                else:
                    await socket.send_bytes(b"x" * int(message["bytes"]))
        except WebSocketDisconnect:
            return

    @app.websocket("/refused")
    async def refused(socket: WebSocket) -> None:
        raise Forbidden("Not from there.")

    return app


@asynccontextmanager
async def serving(app: FastAPI, *sockets: socket.socket) -> AsyncGenerator[Server]:
    server = Server(app, list(sockets))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        try:
            yield server
        finally:
            await close_pool()
            server.stop()


def port_of(sock: socket.socket) -> int:
    return sock.getsockname()[1]


async def test_a_port_of_our_choice_or_a_free_one(app: FastAPI) -> None:
    sock = open_port("127.0.0.1", 0)
    async with serving(app, sock):
        client = AsyncClient(f"http://127.0.0.1:{port_of(sock)}")
        assert await client.status.get() == "OK"


async def test_no_answer_waits_for_nagle() -> None:
    """Without the option, calls over kept connections took 43 ms instead of 0.5."""
    listening = open_port("127.0.0.1", 0)
    with socket.create_connection(listening.getsockname()), listening:
        await anyio.wait_readable(listening)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert accepted.proto == socket.IPPROTO_TCP


async def test_ipv6(app: FastAPI) -> None:
    sock = open_port("::1", 0)
    async with serving(app, sock):
        assert await AsyncClient(f"http://[::1]:{port_of(sock)}").status.get() == "OK"


async def test_several_sockets_serve_one_application(app: FastAPI, data: Path) -> None:
    first, second, unix = open_port("127.0.0.1", 0), open_port("127.0.0.1", 0), data / "s.sock"
    async with serving(app, first, second, open_unix(unix)):
        for sock in (first, second):
            assert await AsyncClient(f"http://127.0.0.1:{port_of(sock)}").status.get() == "OK"
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(unix))) as session,
            session.get("http://platform/status") as answer,
        ):
            assert (answer.status, await answer.json()) == (200, "OK")
        assert unix.stat().st_mode & 0o777 == 0o600


async def test_a_taken_port_says_what_to_do() -> None:
    with open_port("127.0.0.1", 0) as sock, pytest.raises(SetupError, match="--port"):
        open_port("127.0.0.1", port_of(sock))


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(data: Path) -> None:
    path = data / "s.sock"
    open_unix(path).close()
    assert path.exists()
    with open_unix(path), pytest.raises(SetupError, match="Another Downstage"):
        open_unix(path)


async def test_a_file_in_the_way_is_left_alone(data: Path) -> None:
    path = data / "s.sock"
    path.write_text("mine")
    with pytest.raises(SetupError, match="Move it away"):
        open_unix(path)
    assert path.read_text() == "mine"


async def test_a_path_that_is_too_long_says_so(data: Path) -> None:
    with pytest.raises(SetupError, match="108"):
        open_unix(data / ("x" * 108))


async def test_a_message_over_64_kib_closes_with_1009_and_harms_nobody(app: FastAPI) -> None:
    sock = open_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port_of(sock)}/echo"
    async with (
        serving(app, sock),
        aiohttp.ClientSession() as session,
        session.ws_connect(url) as good,
        session.ws_connect(url) as bad,
    ):
        await good.send_str("x" * MAX_SIGNALLING)
        assert await good.receive_str(timeout=20) == str(MAX_SIGNALLING)
        await bad.send_str("x" * (MAX_SIGNALLING + 1))
        closed = await bad.receive(timeout=20)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1009)
        await good.send_str("still here")
        assert await good.receive_str(timeout=20) == "10"


async def test_a_large_message_may_go_out(app: FastAPI) -> None:
    sock = open_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port_of(sock)}/echo"
    async with (
        serving(app, sock),
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=0) as ws,
    ):
        await ws.send_bytes(b"8000000")
        assert len(await ws.receive_bytes(timeout=20)) == 8_000_000


async def test_compression_is_refused(app: FastAPI) -> None:
    sock = open_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port_of(sock)}/echo"
    async with (
        serving(app, sock),
        aiohttp.ClientSession() as session,
        session.ws_connect(url, compress=15) as ws,
    ):
        assert ws.compress == 0


async def test_a_refused_socket_gets_the_problem(app: FastAPI) -> None:
    sock = open_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port_of(sock)}/refused"
    async with serving(app, sock), aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(url)
        assert caught.value.status == 403
        assert caught.value.headers is not None
        assert caught.value.headers["content-type"] == "application/problem+json"


async def test_it_ends_in_time_although_a_socket_stays_open(app: FastAPI) -> None:
    sock = open_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port_of(sock)}/echo"
    async with aiohttp.ClientSession() as session:
        with anyio.fail_after(20):
            async with serving(app, sock):
                ws = await session.ws_connect(url)
        assert (await ws.receive(timeout=20)).type is aiohttp.WSMsgType.CLOSE


@pytest.mark.parametrize("pause", [0, 0.05])
async def test_cancellation_closes_the_sockets(app: FastAPI, pause: float) -> None:
    sock = open_port("127.0.0.1", 0)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Server(app, [sock]).run)
            await anyio.sleep(pause)
            tasks.cancel_scope.cancel()
    assert sock.fileno() == -1
