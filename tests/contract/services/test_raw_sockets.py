"""Sockets of a `SocketHandler`: read by our own server over TCP, TLS, unix; and by uvicorn."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import uvloop

from downstage.services.server import Server, open_port, open_unix
from downstage.services.sockets import BINARY
from downstage.services.sockets.frames import TURN

from .raw_socket_suite import RawSocketSuite, until
from .raw_sockets import KEY, Gate, frame
from .servers import Authority

pytestmark = [pytest.mark.contract, pytest.mark.anyio]


@pytest.fixture(scope="module", autouse=True)
def _uvloop_was_used() -> None:
    """libuv keeps one pipe for all loops of a process, from the first one on."""
    uvloop.new_event_loop().close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def serving(app: Any, sock: Any, **options: Any) -> AsyncGenerator[Server]:
    server = Server(app, [sock], **options)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        try:
            yield server
        finally:
            server.stop()


class OverTcp(RawSocketSuite):
    options: dict[str, Any] = {}  # noqa: RUF012 - of the class, and never changed

    @asynccontextmanager
    async def serve(self, app: Any) -> AsyncGenerator[Any]:
        sock = open_port("127.0.0.1", 0)
        port = sock.getsockname()[1]
        async with serving(app, sock, **self.options):
            yield port

    def connect(self, place: Any) -> Any:
        return anyio.connect_tcp("127.0.0.1", place)

    @pytest.mark.parametrize("idle_s", [0.6])
    async def test_T03_a_silent_peer_is_closed(self, place: Any, gate: Gate, idle_s: float) -> None:
        """One that answers nothing is; one that answers pings is not."""
        del idle_s
        async with self.opened(place) as peer, self.opened(place) as other:

            async def answer() -> None:
                while True:
                    first, size = await other.exactly(2)
                    ping = await other.exactly(size)
                    if first & 15 == 9:
                        await other.send(frame(10, ping))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(answer)
                code, _ = (await peer.frame()).close
                assert code in (1008, 1011)
                await until(lambda: gate.listeners[0].events[-1:] == ["close"])
                assert gate.last.events == ["open"]
                tasks.cancel_scope.cancel()


class TestOurs(OverTcp):
    async def test_the_server_stops(self, app: Any, gate: Gate) -> None:
        sock = open_port("127.0.0.1", 0)
        port = sock.getsockname()[1]
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                server = Server(app, [sock])
                tasks.start_soon(server.run)
                await server.wait_started()
                async with self.opened(port) as kind, self.opened(port) as deaf:
                    server.stop()
                    assert (await kind.frame()).close == (1001, "going-away")
                    await kind.send(frame(8, b"\x03\xe9"))
                    await kind.end()
                    assert (await deaf.frame()).close == (1001, "going-away")
                    await deaf.end()  # though it never answers
        assert [item.events for item in gate.listeners] == [["open", "close"]] * 2

    async def test_pings_without_end_are_not_answered_without_end(
        self, place: Any, gate: Gate
    ) -> None:
        """T06: whoever reads no answers gets none that would have to be kept."""
        async with self.opened(place) as peer:
            pings = frame(9, bytes(125)) * 500
            with anyio.move_on_after(1):
                for _ in range(400):  # 26 MB
                    await peer.send(pings)
            assert gate.last.socket.buffered() < 256 * 1024

    @pytest.mark.parametrize(
        ("method", "version", "more"),
        [
            ("POST", "1.1", ""),
            ("GET", "1.0", ""),
            ("GET", "1.1", "Content-Length: 6\r\n"),
            ("GET", "1.1", "Transfer-Encoding: chunked\r\n"),
        ],
    )
    async def test_T07_only_a_get_without_a_body_opens_a_socket(
        self, place: Any, gate: Gate, method: str, version: str, more: str
    ) -> None:
        asked = f"{method} /raw/x/echo HTTP/{version}\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        asked += f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n{more}"
        async with self.asking(place) as peer:
            await peer.ask(f"{asked}Sec-WebSocket-Version: 13\r\n\r\n".encode())
            assert (peer.status, peer.headers["connection"]) == (400, "close")
            await peer.end()
        assert not gate.listeners

    async def test_T06_a_flood_of_empty_frames_leaves_others_their_turn(
        self, place: Any, gate: Gate
    ) -> None:
        """They come with one reading, and are not told in one turn of the loop."""
        count, most = 20_000, 0

        async def watch() -> None:
            nonlocal most
            had = 0
            while True:
                await anyio.lowlevel.checkpoint()
                has = len(gate.last.received)
                had, most = has, max(most, has - had)

        async with self.opened(place) as peer, anyio.create_task_group() as tasks:
            tasks.start_soon(peer.end)
            tasks.start_soon(watch)
            await peer.send(frame(BINARY) * count)
            await until(lambda: len(gate.last.received) == count)
            tasks.cancel_scope.cancel()
        assert 0 < most <= 2 * TURN


class TestOursOnUvloop(OverTcp):
    @pytest.fixture
    def anyio_backend(self) -> Any:
        return "asyncio", {"use_uvloop": True}


class TestOursOverUnix(OverTcp):
    @asynccontextmanager
    async def serve(self, app: Any) -> AsyncGenerator[Any]:
        with tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp") as folder:
            path = Path(folder) / "raw.sock"
            async with serving(app, open_unix(path)):
                yield path

    def connect(self, place: Any) -> Any:
        return anyio.connect_unix(place)


class TestOursOverTls(OverTcp):
    @pytest.fixture(autouse=True)
    def _certified(self, authority: Authority) -> None:
        self.authority = authority
        self.options = {"certificate": authority.server}

    authority: Authority

    def connect(self, place: Any) -> Any:
        context = ssl.create_default_context(cafile=str(self.authority.ca_file))
        return anyio.connect_tcp(
            "127.0.0.1", place, ssl_context=context, tls_hostname="localhost",
            tls_standard_compatible=False,
        )  # fmt: skip


class TestUvicorn(OverTcp):
    is_ours = False
    options = {"raw_sockets": False}  # noqa: RUF012 - of the class, and never changed
