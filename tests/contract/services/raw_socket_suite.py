"""What sockets of a `SocketHandler` promise, whoever reads and writes them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from downstage.services.application import ServiceApp
from downstage.services.fronts import Front
from downstage.services.registry import create_app
from downstage.services.sockets import asgi, wire

from .raw_sockets import ACCEPT, Closed, Echo, Frame, Gate, Peer, frame

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
LIMIT = 200_000
LONG_S = 20

BAD: list[tuple[str, list[bytes], tuple[int, ...]]] = [
    ("compressed", [frame(BINARY, b"x", rsv=4)], (1002,)),
    ("rsv2", [frame(BINARY, b"x", rsv=2)], (1002,)),
    ("rsv3 ping", [frame(PING, b"x", rsv=1)], (1002,)),
    ("reserved data", [frame(3, b"x")], (1002,)),
    ("reserved control", [frame(11, b"x")], (1002,)),
    ("unmasked", [frame(BINARY, b"", mask=None)], (1002,)),
    ("nothing to continue", [frame(CONT, b"x")], (1002,)),
    ("two begun", [frame(TEXT, b"x", fin=False), frame(TEXT, b"x")], (1002,)),
    ("ping in parts", [frame(PING, b"x", fin=False)], (1002,)),
    ("long ping", [frame(PING, bytes(126))], (1002,)),
    ("half a code", [frame(CLOSE, b"\x03")], (1002,)),
    ("code 1005", [frame(CLOSE, b"\x03\xed")], (1002,)),
    ("code 1006", [frame(CLOSE, b"\x03\xee")], (1002,)),
    ("code 5000", [frame(CLOSE, b"\x13\x88")], (1002,)),
    ("reason no text", [frame(CLOSE, b"\x03\xe8\xff")], (1002, 1007)),
    ("no text", [frame(TEXT, b"\xff")], (1007,)),
    ("surrogate", [frame(TEXT, b"\xed\xa0\x80")], (1007,)),
    ("parts", [frame(TEXT, b"\xc3", fin=False), frame(CONT, b"x")], (1007,)),
    ("limit+1", [frame(BINARY, bytes(LIMIT + 1))], (1009,)),
    ("in parts", [frame(BINARY, bytes(LIMIT), fin=False), frame(CONT, b"x")], (1009,)),
    ("a terabyte", [b"\x82\xff\x00\x00\x00\xff" + bytes(8)], (1009,)),
]


class RawSocketSuite:
    """Inherit, and say how to serve and to connect."""

    is_ours = True
    """Our own server serves it; else uvicorn does, and some reasons are its own."""

    def serve(self, app: Any) -> Any:
        """An async context manager that serves *app* and gives what `connect` takes."""
        raise NotImplementedError

    def connect(self, place: Any) -> Any:
        """A connection to it."""
        raise NotImplementedError

    @pytest.fixture
    def gate(self) -> Gate:
        return Gate()

    @pytest.fixture
    def idle_s(self) -> float:
        return 60

    @pytest.fixture
    def app(self, gate: Gate, idle_s: float) -> ServiceApp:
        app = create_app("Raw")
        app.put_front(
            Front.of_sockets("/raw/{ids}/echo", gate, max_message=LIMIT, owner="raw", idle_s=idle_s)
        )

        @app.get("/raw/{ids}/echo")
        async def other(ids: str) -> str:
            return ids

        return app

    @pytest.fixture
    async def place(self, app: ServiceApp) -> AsyncGenerator[Any]:
        async with self.serve(app) as place:
            yield place

    @asynccontextmanager
    async def asking(self, place: Any) -> AsyncGenerator[Peer]:
        with anyio.fail_after(LONG_S):
            async with await self.connect(place) as stream:
                yield Peer(stream)

    @asynccontextmanager
    async def opened(self, place: Any, path: str = "/raw/x/echo") -> AsyncGenerator[Peer]:
        async with self.asking(place) as peer:
            await peer.shake(path)
            assert peer.status == 101, peer.body
            yield peer

    # Opening.

    async def test_the_handshake_is_answered(self, place: Any) -> None:
        offered = ["Sec-WebSocket-Extensions: permessage-deflate", "X-Request-ID: mine"]
        async with self.asking(place) as peer:
            await peer.shake(extra=offered)
            assert peer.status == 101
            assert peer.headers["sec-websocket-accept"] == ACCEPT
            assert peer.headers["x-request-id"] == "mine"
            assert "sec-websocket-extensions" not in peer.headers

    async def test_the_request_is_known(self, place: Any) -> None:
        extra = ["X-Own: o", "X-Request-ID: r-1", "X-Forwarded-User: root"]
        async with self.asking(place) as peer:
            await peer.shake("/raw/a%20b/echo/?q=%C3%A4", extra)
            await peer.send(frame(TEXT, b"request"))
            facts = json.loads((await peer.frame()).data)
        assert facts[:6] == ["/raw/a%20b/echo/", "/raw/a b/echo/", "ä", "o", *facts[4:5], "r-1"]
        assert facts[4] in ("ws", "wss")
        if self.is_ours:
            assert facts[6] is False

    async def test_a_refusal_is_a_real_answer(self, place: Any) -> None:
        for status in (401, 403, 404, 429):
            async with self.asking(place) as peer:
                await peer.shake(f"/raw/x/echo?as={status}")
                assert peer.status == status == peer.problem["status"]
                assert peer.headers["content-type"] == "application/problem+json"
                assert peer.problem["request_id"] == peer.headers["x-request-id"]
                bearer = "Bearer" if status == 401 else None
                assert peer.headers.get("www-authenticate") == bearer
                assert peer.headers.get("retry-after") == ("7" if status == 429 else None)
                await peer.end()

    async def test_a_crash_before_it_opens_is_500(self, place: Any) -> None:
        async with self.asking(place) as peer:
            await peer.shake("/raw/x/echo?as=crash")
            assert peer.status == 500
            await peer.end()

    async def test_no_handshake_no_socket(self, place: Any) -> None:
        lines = ["GET /raw/x/echo HTTP/1.1", "Host: h", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
        for change in (("Version: 13", "Version: 7"), ("Key: dGhl", "Key: d"), ("Sec-", "X-")):
            async with self.asking(place) as peer:
                await peer.ask("\r\n".join(lines).replace(*change).encode())
                assert peer.status in (400, 426)
                await peer.end()

    async def test_requests_at_the_same_path_go_on(self, place: Any) -> None:
        async with self.asking(place) as peer:
            await peer.ask(b"GET /raw/x/echo HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (peer.status, peer.body) == (200, b'"x"')

    # Messages.

    async def test_messages_come_back(self, place: Any, gate: Gate) -> None:
        sizes = [0, 1, 125, 126, 127, 1000, 40_000, 65_535, 65_536, 100_000, LIMIT]
        async with self.opened(place) as peer:
            for size in sizes:
                data = bytes(i % 251 for i in range(size))
                await peer.send(frame(BINARY, data), frame(TEXT, f"n {size} ä".encode()))
                assert await peer.frame() == Frame(BINARY, data)
                assert await peer.frame() == Frame(TEXT, f"n {size} ä".encode())
            assert all(type(item) in (str, bytes) for item in gate.last.received)

    async def test_many_at_once_and_byte_by_byte(self, place: Any) -> None:
        sent = [frame(BINARY, bytes([i % 256]) * (i % 700)) for i in range(1500)]
        async with self.opened(place) as peer:
            for byte in b"".join(sent[:4]):
                await peer.send(bytes([byte]))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(peer.send, *sent[4:])
                for i in range(1500):
                    assert await peer.frame() == Frame(BINARY, bytes([i % 256]) * (i % 700))

    async def test_packets_and_parts(self, place: Any) -> None:
        async with self.opened(place) as peer:
            for size in (0, 100, 150_000):
                await peer.send(frame(TEXT, f"packet {size}".encode()))
                assert await peer.frame() == Frame(TEXT, b"[1,2]")
                assert await peer.frame() == Frame(BINARY, b"<" + bytes(size) + b">")
                assert await peer.frame() == Frame(BINARY, b"acde")

    # Fragments and control frames (as the Autobahn suite has them).

    async def test_fragments_make_one_message(self, place: Any) -> None:
        async with self.opened(place) as peer:
            await peer.send(
                frame(TEXT, "ä".encode()[:1], fin=False),
                frame(PING, b"between"),
                frame(CONT, "ä".encode()[1:], fin=False),
                frame(CONT, b"", fin=False),
                frame(CONT, b"!"),
                frame(BINARY, b"", fin=False),
                frame(CONT, b""),
                frame(BINARY, bytes(70_000), fin=False),
                frame(PING, b"again"),
                frame(CONT, bytes(70_000)),
            )
            assert await peer.frame() == Frame(PONG, b"between")
            assert await peer.frame() == Frame(TEXT, "ä!".encode())
            assert await peer.frame() == Frame(BINARY, b"")
            assert await peer.frame() == Frame(PONG, b"again")
            assert await peer.frame() == Frame(BINARY, bytes(140_000))

    async def test_pings_are_answered_and_pongs_are_not(self, place: Any) -> None:
        async with self.opened(place) as peer:
            await peer.send(frame(PONG, b"unasked"), frame(PING, bytes(125)), frame(PING))
            assert await peer.frame() == Frame(PONG, bytes(125))
            assert await peer.frame() == Frame(PONG, b"")

    async def test_bad_frames_close_with_a_code(self, place: Any, gate: Gate) -> None:
        for name, frames, codes in BAD:
            async with self.opened(place) as peer:
                await peer.send(frame(TEXT, b"before"))
                assert await peer.frame() == Frame(TEXT, b"before")
                await peer.send(*frames)
                closed, reason = (await peer.frame()).close
                assert closed in codes, name
                if self.is_ours and closed == 1009:
                    assert reason == "too-large"
                await peer.end()
            await until(lambda: gate.last.events[-1:] == ["close"])
            assert gate.last.received == ["before"], name

    async def test_T04_a_message_far_above_the_limit_is_told_so(self, place: Any) -> None:
        """Its rest is on the way when it is refused: a reset would swallow the reason."""
        if not self.is_ours:
            pytest.skip("uvicorn closes with bytes unread")
        async with self.opened(place) as peer:

            async def push() -> None:
                with suppress(anyio.BrokenResourceError):
                    await peer.send(frame(BINARY, bytes(20 << 20)))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(push)
                assert (await peer.frame()).close == (1009, "too-large")
                tasks.cancel_scope.cancel()

    async def test_T04_a_bomb_is_no_message(self, place: Any) -> None:
        """Deflate was not agreed: a frame that says it is compressed is refused unread."""
        async with self.asking(place) as peer:
            await peer.shake(extra=["Sec-WebSocket-Extensions: permessage-deflate"])
            await peer.send(frame(BINARY, bytes(1000), rsv=4))
            assert (await peer.frame()).close[0] == 1002

    # Closing.

    async def test_the_peer_closes(self, place: Any, gate: Gate) -> None:
        for payload in (b"", b"\x03\xe8", b"\x0f\xa0because"):
            async with self.opened(place) as peer:
                await peer.send(frame(CLOSE, payload))
                assert (await peer.frame()) == Frame(CLOSE, payload[:2] or b"") or payload[2:]
                await peer.end()
            await until(lambda: gate.last.events == ["open", "close"])

    async def test_we_close(self, place: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
        """The peer's own close ends it, not the time that it is given for that."""
        for module in (asgi, wire):
            monkeypatch.setattr(module, "CLOSE_S", 10 * LONG_S)
        async with self.opened(place) as peer:
            await peer.send(frame(TEXT, b"before"), frame(TEXT, b"close 1008 bad-id"))
            await peer.send(frame(TEXT, b"after"))
            assert await peer.frame() == Frame(TEXT, b"before")
            assert (await peer.frame()).close == (1008, "bad-id")
            await peer.send(frame(CLOSE, b"\x03\xf0"))
            with anyio.fail_after(LONG_S):
                await peer.end()
        await until(lambda: gate.last.events == ["open", "close"])
        assert gate.last.received == ["before"]

    async def test_errors_of_a_listener_say_why(self, place: Any, gate: Gate) -> None:
        for order, end in ((b"fail", (1007, "bad-frame")), (b"crash", (1011, "internal"))):
            async with self.opened(place) as peer:
                await peer.send(frame(TEXT, order), frame(TEXT, b"after"))
                assert (await peer.frame()).close == end
            await until(lambda: gate.last.events[-1:] == ["close"])
            assert gate.last.received == []

    async def test_a_peer_that_is_gone_is_noticed(self, place: Any, gate: Gate) -> None:
        async with self.opened(place) as peer:
            await peer.send(frame(TEXT, b"x"))
            await peer.frame()
        await until(lambda: gate.last.events == ["open", "close"])

    # Backpressure.

    async def test_what_waits_is_known_and_drains(self, place: Any, gate: Gate) -> None:
        async with self.opened(place) as peer:
            await peer.send(frame(TEXT, b"many 400"))
            await until(lambda: bool(gate.listeners) and gate.last.socket.buffered() > 1 << 20)
            assert gate.last.events == ["open"]
            for _ in range(400):
                assert len((await peer.frame()).data) == 1 << 16
            await until(lambda: gate.last.events == ["open", "drained"])
            assert gate.last.socket.buffered() < 1 << 18

    async def test_T04_a_paused_socket_is_not_read(self, place: Any, gate: Gate) -> None:
        async with self.opened(place) as peer:
            await peer.send(frame(TEXT, b"pause"))
            big = frame(BINARY, bytes(LIMIT))
            sent = 0
            with anyio.move_on_after(0.5):
                for _ in range(200):
                    await peer.send(big)
                    sent += 1
            assert sent < 150  # 30 MB did not go in anywhere
            assert len(gate.last.received) <= 1  # uvicorn has asked for one more already
            gate.last.socket.resume()
            gate.last.socket.pause()
            gate.last.socket.resume()
            await until(lambda: len(gate.last.received) >= sent)

    # Counting.

    async def test_open_sockets_are_counted(self, place: Any, app: ServiceApp) -> None:
        meter = app.state.meter
        async with self.opened(place), self.opened(place):
            assert meter.sockets == 2
        await until(lambda: meter.sockets == 0)
        async with self.asking(place) as peer:
            await peer.shake("/raw/x/echo?as=403")
            await peer.end()
        await until(lambda: meter.sockets == 0)


async def until(holds: Any) -> None:
    with anyio.fail_after(LONG_S):
        while not holds():
            await anyio.sleep(0.005)


__all__ = ["Closed", "Echo", "RawSocketSuite", "until"]
