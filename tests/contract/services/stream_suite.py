"""What every transport promises for pieces, time and cancellation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import pytest

from downstage.services.errors import ServiceTimeoutError, ServiceUnavailableError
from downstage.services.transports import Call, Transport

from .own_time import within
from .probe import Probe
from .transport_suite import LIMITS_S, Backend, resident_bytes

MIB = 1024 * 1024


class Spoilt(Exception):
    """What a caller's own iterator raises."""


class StreamSuite(Backend):
    """Streams both ways, silence, cancellation."""

    streamed_bytes = 128 * MIB

    async def test_requests_and_answers_interleave(self, transport: Transport) -> None:
        said, heard = anyio.create_memory_object_stream[bytes](1)

        async def body() -> AsyncIterator[bytes]:
            async for piece in heard:
                yield piece

        with anyio.fail_after(20):
            async with said, heard:
                await said.send(b"first")
                call = Call("POST", "/duplex", body=body())
                async with transport.stream(call) as stream:
                    answer = aiter(stream)
                    assert await anext(answer) == b"first"
                    for number in range(20):
                        await said.send(b"%d" % number)
                        assert await anext(answer) == b"%d" % number
                    said.close()
                    assert [piece async for piece in answer] == []

    async def test_events_come_as_they_are_sent(self, transport: Transport, probe: Probe) -> None:
        with anyio.fail_after(20):
            async with transport.stream(Call("GET", "/events", timeout_s=3)) as stream:
                assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
                events = aiter(stream)
                assert await anext(events) == b"data: 1\n\n"
                probe.release.set()
                assert await anext(events) == b"data: 2\n\n"
            await within(1, probe.gone)

    async def test_much_is_streamed_in_little_memory(
        self, transport: Transport, probe: Probe
    ) -> None:
        """A reader that dawdles at first: the handler must wait, not the memory grow."""
        size = self.streamed_bytes
        before, most, got = resident_bytes(), 0, 0
        call = Call("GET", "/stream", (("size", str(size)),))
        with anyio.fail_after(60):
            async with transport.stream(call) as stream:
                for _ in range(100):
                    await anyio.sleep(0.001)
                assert probe.sent < 32 * MIB
                async for piece in stream:
                    got += len(piece)
                    if got % MIB < len(piece):
                        most = max(most, resident_bytes())
        assert got == size
        assert most - before < 40 * MIB

    async def test_much_is_sent_in_little_memory(self, transport: Transport) -> None:
        before, most, sent = resident_bytes(), 0, 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal most, sent
            while sent < self.streamed_bytes:
                sent += 65536
                yield bytes(65536)
                if not sent % MIB:
                    most = max(most, resident_bytes())

        with anyio.fail_after(60):
            answer = await transport.request(Call("POST", "/digest", body=body()))
        assert answer.body.startswith(b"%d " % self.streamed_bytes)
        assert most - before < 40 * MIB

    async def test_leaving_a_stream_early_reaches_the_handler(
        self, transport: Transport, probe: Probe
    ) -> None:
        with anyio.fail_after(20):
            async with transport.stream(Call("GET", "/endless")) as stream:
                async for piece in stream:
                    assert piece
                    break
            await within(1, probe.gone)
            assert (await transport.request(Call("GET", ""))).body == b"root"

    async def test_cancellation_reaches_the_handler(
        self, transport: Transport, probe: Probe
    ) -> None:
        errors = list[BaseException]()

        async def call() -> None:
            try:
                await transport.request(Call("GET", "/wait"))
            except BaseException as error:
                errors.append(error)
                raise

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await probe.started.wait()
                tasks.cancel_scope.cancel()
            await within(1, probe.gone)
        assert [type(error) for error in errors] == [anyio.get_cancelled_exc_class()]
        assert (await transport.request(Call("GET", ""))).body == b"root"

    async def test_cancellation_inside_a_stream(self, transport: Transport, probe: Probe) -> None:
        with anyio.fail_after(20):
            with anyio.CancelScope() as scope:
                async with transport.stream(Call("GET", "/silent")) as stream:
                    async for piece in stream:
                        assert piece == b"one"
                        scope.cancel()
            assert scope.cancelled_caught
            await within(1, probe.gone)

    async def test_cancellation_while_a_body_is_sent(
        self, transport: Transport, probe: Probe
    ) -> None:
        closed = anyio.Event()

        async def body() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"piece"
                    await anyio.sleep(0.01)
            finally:
                closed.set()

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(transport.request, Call("POST", "/wait", body=body()))
                await probe.started.wait()
                tasks.cancel_scope.cancel()
            await within(1, probe.gone)
            await within(1, closed)

    async def test_an_answer_that_breaks_off_is_an_error(self, transport: Transport) -> None:
        for path in ("/broken", "/short"):
            with pytest.raises(ServiceUnavailableError), anyio.fail_after(20):
                await transport.request(Call("GET", path))
            got = list[bytes]()
            with pytest.raises(ServiceUnavailableError), anyio.fail_after(20):  # noqa: PT012
                async with transport.stream(Call("GET", path)) as stream:
                    async for piece in stream:
                        got.append(piece)
            assert b"".join(got) in (b"one", b"three")

    async def test_no_answer_in_time(self, transport: Transport, probe: Probe) -> None:
        for limit_s in LIMITS_S:
            with pytest.raises(ServiceUnavailableError, match=f"no answer within {limit_s:g} s"):
                await transport.request(Call("GET", "/wait", timeout_s=limit_s))
            if probe.started.is_set():
                break
        await within(1, probe.gone)
        with pytest.raises(ServiceUnavailableError, match=r"no answer within 0\.2 s"):
            async with transport.stream(Call("GET", "/wait", timeout_s=0.2)):
                pass

    async def test_time_is_for_the_head_of_a_stream(
        self, transport: Transport, probe: Probe
    ) -> None:
        for limit_s in LIMITS_S:
            call = Call("GET", "/events", timeout_s=limit_s)
            with suppress(ServiceTimeoutError):
                async with transport.stream(call) as stream:
                    events = aiter(stream)
                    await anext(events)
                    await anyio.sleep(2 * limit_s)
                    probe.release.set()
                    assert await anext(events) == b"data: 2\n\n"
                    return
        pytest.fail("the time was not for the head alone")

    async def test_silence_is_an_error(self, transport: Transport, probe: Probe) -> None:
        for limit_s in LIMITS_S:
            call = Call("GET", "/silent", timeout_s=None, read_timeout_s=limit_s)
            with pytest.raises(ServiceUnavailableError, match=f"nothing came for {limit_s:g} s"):
                await transport.request(call)
            with pytest.raises(ServiceUnavailableError, match=f"nothing came for {limit_s:g} s"):
                async with transport.stream(call) as stream:
                    assert [piece async for piece in stream] == [b"one"]
            if probe.started.is_set():
                break
        await within(1, probe.gone)

    async def test_a_slow_upload_is_no_silence(self, transport: Transport) -> None:
        async def body(pause_s: float) -> AsyncIterator[bytes]:
            for _ in range(5):
                await anyio.sleep(pause_s)
                yield b"x"

        for limit_s in LIMITS_S:
            call = Call("POST", "/echo", body=body(limit_s / 3), read_timeout_s=limit_s)
            with suppress(ServiceTimeoutError):
                assert (await transport.request(call)).body == b"xxxxx"
                return
        pytest.fail("a slow upload was taken for silence")

    async def test_a_body_that_fails_is_the_callers_own_error(
        self, transport: Transport, probe: Probe
    ) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield b"piece"
            raise Spoilt

        with pytest.raises(Spoilt), anyio.fail_after(20):
            await transport.request(Call("POST", "/wait", body=body()))
        await within(1, probe.gone)
        with pytest.raises(Spoilt), anyio.fail_after(20):
            async with transport.stream(Call("POST", "/echo", body=body())) as stream:
                assert [piece async for piece in stream] == []
