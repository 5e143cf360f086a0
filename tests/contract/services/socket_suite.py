"""What transports that carry WebSockets promise for them."""

from __future__ import annotations

import json

import anyio
import pytest

from downstage.services.errors import (
    BaseServiceError,
    ServiceNotFoundError,
    ServiceUnavailableError,
)
from downstage.services.transports import MAX_MESSAGE, Call, SocketClosed, Transport, create

from .own_time import within
from .probe import Probe
from .transport_suite import LIMITS_S, Backend


def at(path: str, *query: tuple[str, str]) -> Call:
    return Call("GET", path, query, timeout_s=5)


class SocketSuite(Backend):
    """Messages, closes, refusals."""

    async def test_text_and_bytes_come_back(self, transport: Transport) -> None:
        messages: list[str | bytes] = ["text", b"bytes", "", b"", "ä€𝄞", bytes(256), "x" * 60_000]
        with anyio.fail_after(20):
            async with transport.socket(at("/echo")) as socket:
                for message in messages:
                    await socket.send(message)
                    assert await socket.receive() == message
                assert socket.subprotocol is None

    async def test_order_is_kept(self, transport: Transport) -> None:
        async with transport.socket(Call("GET", "/count", (("3000", ""),))) as socket:
            pass
        with anyio.fail_after(20):
            async with transport.socket(at("/echo")) as socket, anyio.create_task_group() as tasks:

                async def say() -> None:
                    for number in range(3000):
                        await socket.send(str(number))

                tasks.start_soon(say)
                assert [await socket.receive() for _ in range(3000)] == list(map(str, range(3000)))

    async def test_path_query_and_headers_arrive(self, transport: Transport) -> None:
        call = Call("GET", "/scope/a%20b", (("q", "ä"),), {"x-mark": "m"})
        async with transport.socket(call) as socket:
            shown = json.loads(await socket.receive())
        assert shown == ["/scope/a b", "q=%C3%A4", "m"]

    async def test_a_subprotocol_is_agreed(self, transport: Transport) -> None:
        async with transport.socket(at("/echo"), ("v1", "v2")) as socket:
            assert socket.subprotocol == "v2"

    async def test_the_application_closes(self, transport: Transport) -> None:
        got = list[str | bytes]()
        with anyio.fail_after(20):
            async with transport.socket(Call("GET", "/count", (("7", ""),))) as socket:
                with pytest.raises(SocketClosed) as caught:  # noqa: PT012
                    while True:
                        got.append(await socket.receive())
                assert got == [str(number) for number in range(7)]
                assert (caught.value.code, caught.value.reason) == (4001, "that is äll")
                for again in (socket.receive(), socket.send("x")):
                    with pytest.raises(SocketClosed):
                        await again

    async def test_the_caller_closes(self, transport: Transport, probe: Probe) -> None:
        with anyio.fail_after(20):
            async with transport.socket(at("/echo")) as socket:
                await socket.send("x")
                assert await socket.receive() == "x"
                await socket.close(4002, "énough")
                await socket.close()
                with pytest.raises(SocketClosed):
                    await socket.receive()
                with pytest.raises(SocketClosed):
                    await socket.send("x")
            await probe.gone.wait()
        assert probe.closes == [(4002, "énough")]

    async def test_a_long_reason_is_cut(self, transport: Transport, probe: Probe) -> None:
        with anyio.fail_after(20):
            async with transport.socket(at("/echo")) as socket:
                await socket.close(4003, "é" * 100)
            await probe.gone.wait()
        assert probe.closes == [(4003, "é" * 61)]

    async def test_leaving_closes(self, transport: Transport, probe: Probe) -> None:
        async with transport.socket(at("/echo")):
            pass
        await within(1, probe.gone)
        assert probe.closes == [(1000, "")]

    async def test_cancellation_closes(self, transport: Transport, probe: Probe) -> None:
        async def listen() -> None:
            async with transport.socket(at("/echo")) as socket:
                await socket.receive()

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                await probe.started.wait()
                tasks.cancel_scope.cancel()
            await within(1, probe.gone)

    async def test_a_refusal_carries_its_answer(self, transport: Transport) -> None:
        with pytest.raises(BaseServiceError) as caught:
            async with transport.socket(at("/denied")):
                pass
        error = caught.value
        assert (error.status, error.code, error.request_id) == (403, "forbidden", "r-1")
        assert error.body == {"title": "No", "code": "forbidden"}

    async def test_refusals_without_an_answer(self, transport: Transport) -> None:
        for path, status in (("/closed", 403), ("/crash", 500)):
            with pytest.raises(BaseServiceError) as caught:
                async with transport.socket(at(path)):
                    pass
            assert caught.value.status == status

    async def test_nothing_there_and_nobody_there(self, address: str) -> None:
        from downstage.services.registry import create_app

        async with self.serve(create_app("Empty")) as empty:
            with pytest.raises(BaseServiceError) as absent:
                async with create(empty).socket(at("/nowhere")):
                    pass
        assert absent.value.status in (403, 404)
        assert isinstance(absent.value, ServiceNotFoundError) == (absent.value.status == 404)
        with pytest.raises(ServiceUnavailableError):
            async with create(self.nobody).socket(at("/echo")):
                pass

    async def test_an_application_that_never_decides(
        self, transport: Transport, probe: Probe
    ) -> None:
        for limit_s in LIMITS_S:
            with pytest.raises(ServiceUnavailableError, match=f"no answer within {limit_s:g} s"):
                async with transport.socket(Call("GET", "/mute", timeout_s=limit_s)):
                    pass
            if probe.started.is_set():
                break
        await within(1, probe.gone)

    async def test_too_large_a_message_closes_with_1009(
        self, transport: Transport, probe: Probe
    ) -> None:
        with anyio.fail_after(20):
            async with transport.socket(at("/echo")) as socket:
                with pytest.raises(SocketClosed) as there:  # noqa: PT012
                    await socket.send(bytes(MAX_MESSAGE + 1))
                    await socket.receive()
            assert there.value.code == 1009
            large = Call("GET", "/large", ((str(MAX_MESSAGE + 1), ""),))
            async with transport.socket(large) as socket:
                with pytest.raises(SocketClosed) as back:
                    await socket.receive()
            assert back.value.code == 1009
            largest = Call("GET", "/large", ((str(MAX_MESSAGE), ""),))
            async with transport.socket(largest) as socket:
                assert len(await socket.receive()) == MAX_MESSAGE

    async def test_no_handshake_becomes_two(self, transport: Transport, probe: Probe) -> None:
        with pytest.raises(ValueError, match="header"):
            async with transport.socket(Call("GET", "/echo", (), {"x": "1\r\ny: 2"})):
                pass
        assert probe.calls == 0
