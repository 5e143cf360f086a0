"""``local://``: the suites, and what holds in one process alone."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from fastapi import BackgroundTasks, FastAPI
from starlette.middleware.base import BaseHTTPMiddleware

from downstage.services import AsyncClient
from downstage.services.errors import ServiceUnavailableError
from downstage.services.registry import create_app, put_app
from downstage.services.transports import Call, Transport, create, lifespan
from downstage.services.transports.local import close_app, close_local, raise_app_errors

from .client_suite import ClientSuite, Seen, build
from .own_time import within
from .probe import Probe, answer, pieces
from .servers import serve_local
from .socket_suite import SocketSuite
from .stream_suite import StreamSuite
from .transport_suite import TransportSuite

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

MARK: ContextVar[str] = ContextVar("MARK", default="")


class Local:
    nobody = "local://nobody"

    def serve(self, app: Any) -> Any:
        return serve_local(app)


class TestLocal(Local, TransportSuite):
    async def test_the_application_lives_once(self, address: str, probe: Probe) -> None:
        assert probe.starts == 0
        states = [
            (await self.scope(create(address), Call("GET", "/scope")))["state"] for _ in range(3)
        ]
        assert states == [{"lives": 1}] * 3
        assert (await create("local://", probe).request(Call("GET", ""))).status == 200
        assert (probe.starts, probe.stops) == (1, 0)
        await close_app(probe)
        assert (probe.starts, probe.stops) == (1, 1)
        await create(address).request(Call("GET", ""))
        await close_local()
        await close_local()
        assert (probe.starts, probe.stops) == (2, 2)

    async def test_who_waits_for_a_start_that_takes_too_long_is_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of them, also who came later."""
        monkeypatch.setattr(lifespan, "START_S", 0.3)
        calls = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal calls
            if scope["type"] == "lifespan":
                await anyio.sleep_forever()
            calls += 1
            await answer(send, 200, b"")

        transport = create("local://", app)
        refused = 0

        async def one() -> None:
            nonlocal refused
            with pytest.raises(ServiceUnavailableError, match="did not start in time"):
                await transport.request(Call("GET", "/"))
            refused += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await anyio.sleep(0.2)
            tasks.start_soon(one)
        assert (refused, calls) == (2, 0)
        await close_local()

    async def test_an_application_that_is_replaced_shuts_down(
        self, transport: Transport, probe: Probe
    ) -> None:
        await transport.request(Call("GET", ""))
        other = Probe()
        put_app("contract", other)
        await transport.request(Call("GET", ""))
        assert (probe.stops, other.starts) == (1, 1)

    async def test_a_context_is_seen_and_not_changed(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                seen = MARK.get()
                MARK.set("theirs")
                await asyncio.sleep(0)
                await answer(send, 200, f"{seen} {MARK.get()}".encode())

        MARK.set("mine")
        transport = create("local://", app)
        for _ in range(3):
            assert (await transport.request(Call("GET", ""))).body == b"mine theirs"
        assert MARK.get() == "mine"

    async def test_middleware_with_task_groups_and_background_tasks(self) -> None:
        """Cancel scopes belong to tasks: the handler must end in the one that it began in."""
        release, finished = anyio.Event(), anyio.Event()
        app = FastAPI()

        async def pass_on(request: Any, call_next: Any) -> Any:
            return await call_next(request)

        app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

        async def later() -> None:
            await release.wait()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep, 0)
            finished.set()

        @app.get("/")
        async def handler(tasks: BackgroundTasks) -> str:
            tasks.add_task(later)
            with anyio.fail_after(1):
                return "now"

        with anyio.fail_after(20):
            assert (await create("local://", app).request(Call("GET", "/"))).body == b'"now"'
            assert not finished.is_set()
            release.set()
            await finished.wait()

    async def test_each_call_has_a_task_of_its_own(self) -> None:
        tasks = set[Any]()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                tasks.add(asyncio.current_task())
                await anyio.sleep(0.01)
                tasks.add(asyncio.current_task())
                await answer(send, 200, b"")

        transport = create("local://", app)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(transport.request, Call("GET", ""))
        assert len(tasks) == 5
        assert asyncio.current_task() not in tasks

    async def test_leaving_a_broken_stream_harms_no_other_call(self) -> None:
        """Its worker carries another call by then."""
        dead, begun, release = anyio.Event(), anyio.Event(), anyio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return
            if scope["path"] == "/other":
                begun.set()
                await release.wait()
                await answer(send, 200, b"whole")
                return
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0)
            dead.set()
            raise RuntimeError("a defect")

        transport = create("local://", app)
        got = list[bytes]()

        async def other() -> None:
            got.append((await transport.request(Call("GET", "/other"))).body)

        async with anyio.create_task_group() as tasks:
            async with transport.stream(Call("GET", "/broken")):
                await dead.wait()
                await asyncio.sleep(0)
                tasks.start_soon(other)
                await begun.wait()
            release.set()
        assert got == [b"whole"]

    async def test_a_handler_that_cancels_itself(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                if scope["path"] == "/wait":
                    await asyncio.sleep(1)

        async def good(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await asyncio.sleep(0)
                await answer(send, 200, b"")

        transport = create("local://", app)
        for path in ("/wait", "/now", "/wait"):
            assert (await transport.request(Call("GET", path))).status == 500
            assert (await create("local://", good).request(Call("GET", "/"))).status == 200
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    async def test_a_handler_that_listens_to_nobody_is_cancelled(self) -> None:
        started, cancelled = anyio.Event(), anyio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                started.set()
                try:
                    await anyio.sleep_forever()
                finally:
                    cancelled.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(create("local://", app).request, Call("GET", ""))
            await started.wait()
            tasks.cancel_scope.cancel()
        await within(1, cancelled)

    async def test_giving_up_on_a_piece_does_not_end_the_body(self) -> None:
        given_up = anyio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                with anyio.move_on_after(0.05):
                    await receive()
                given_up.set()
                await answer(send, 200, b"".join([piece async for piece in pieces(receive)]))

        async def body() -> Any:
            await given_up.wait()
            yield b"late"

        call = Call("POST", "", body=body())
        assert (await create("local://", app).request(call)).body == b"late"

    async def test_calls_that_never_wait_let_others_run(self, transport: Transport) -> None:
        await transport.request(Call("GET", ""))
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            calls = 0
            while turns <= 10 and calls < 100_000:
                await transport.request(Call("GET", ""))
                calls += 1
            tasks.cancel_scope.cancel()
        assert turns > 10

    async def test_calls_within_calls(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                depth = len(scope["path"])
                inner = b""
                if depth < 400:
                    call = Call("GET", scope["path"] + "x")
                    inner = (await transport.request(call)).body
                await answer(send, 200, inner + b".")

        transport = create("local://", app)
        assert len((await transport.request(Call("GET", "/"))).body) == 400

    async def test_errors_come_out_where_a_test_asks(self, transport: Transport) -> None:
        with raise_app_errors(), pytest.raises(RuntimeError, match="a defect"):
            await transport.request(Call("GET", "/crash"))
        app = create_app("Test")

        @app.get("/defect")
        async def defect() -> None:
            raise LookupError("ours")

        with raise_app_errors(), pytest.raises(LookupError, match="ours"):
            await create("local://", app).request(Call("GET", "/defect"))
        assert (await create("local://", app).request(Call("GET", "/defect"))).status == 500

    async def test_an_application_that_does_not_start(self) -> None:
        tries = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal tries
            assert scope["type"] == "lifespan"
            tries += 1
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "the secret path"})

        for _ in range(2):
            with pytest.raises(ServiceUnavailableError, match="did not start") as caught:
                await create("local://", app).request(Call("GET", ""))
            assert "secret" not in str(caught.value)
        assert tries == 2


class TestLocalStreams(Local, StreamSuite):
    streamed_bytes = 1024 * 1024 * 1024


class TestLocalSockets(Local, SocketSuite):
    async def test_a_slow_listener_holds_the_application_back(self, transport: Transport) -> None:
        call = Call("GET", "/count", (("100000", ""),))
        async with transport.socket(call) as socket:
            await anyio.sleep(0.05)
            assert len(socket._to_caller._items) <= 1024  # type: ignore[attr-defined]


class TestLocalClient(Local, ClientSuite):
    async def test_an_application_may_be_given(self, seen: Seen) -> None:
        assert await AsyncClient("local://", build(seen)).status.get() == "OK"


def test_a_loop_that_ends_shuts_applications_down() -> None:
    probe = Probe()

    async def main() -> None:
        await create("local://", probe).request(Call("GET", ""))

    for turn in (1, 2):
        asyncio.run(main())
        assert (probe.starts, probe.stops) == (turn, turn)
