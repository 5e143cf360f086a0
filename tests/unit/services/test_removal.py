"""Whatever an extension registered goes with it, and requests in flight end first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, WebSocket
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from downstage.services.registry import (
    create_app,
    deregister_encoder,
    owner,
    register_encoder,
    register_endpoint,
    register_facility,
    register_middleware,
    register_mount,
    register_router,
    register_websocket_endpoint,
    remove_owned,
)

from .calling import Sent, ask, router_of, says, scope_of, text

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
def app() -> FastAPI:
    return create_app("Test")


async def talk(app: ASGIApp, path: str) -> Sent:
    sent: Sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope_of(path, kind="websocket"), receive, send)
    return sent


class Tool:
    """A facility that knows when it was stopped."""

    stopped = 0

    async def stop(self) -> None:
        self.stopped += 1


class Tagging:
    """Middleware that says on the answer that it was there."""

    def __init__(self, app: ASGIApp, mark: str = "yes", inside: Any = None) -> None:
        self._app, self._mark, self._inside = app, mark, inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._inside is not None:
            raise self._inside

        async def tagged(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-mark", self._mark.encode())]
            await send(message)

        await self._app(scope, receive, tagged)


class Gate:
    """A route whose answer waits."""

    def __init__(self) -> None:
        self.reached, self.go, self.cancelled = anyio.Event(), anyio.Event(), anyio.Event()

    async def wait(self) -> str:
        self.reached.set()
        try:
            await self.go.wait()
        except BaseException:
            self.cancelled.set()
            raise
        return "done"


async def test_what_an_extension_registered_goes_with_it(app: FastAPI) -> None:
    tool, router, other = Tool(), router_of(ping="/ping"), create_app("Other")
    with owner("ext-1.0"):
        register_router(router, "e", app=app)
        register_router(router, "e", app=other)
        register_endpoint("get", "/one", says("one"), app=app)
        register_mount("m", PlainTextResponse("m"), app=app)
        register_middleware(Tagging, app=app)
        register_facility("tool", tool, app=app)
        register_encoder("rot", object(), app=app)
    register_endpoint("get", "/two", says("two"), app=app)
    assert await remove_owned("ext-1.0", 1) == 0
    paths = ("/e/ping", "/one", "/m/x", "/two")
    assert [await text(app, path) for path in paths] == [404, 404, 404, "two"]
    assert await text(other, "/e/ping") == 404
    assert "x-mark" not in (await ask(app, "/two"))[1]
    assert tool.stopped == 1
    deregister_encoder("rot", app=app)


async def test_a_removal_counts_at_once_and_requests_in_flight_end(app: FastAPI) -> None:
    gate = Gate()
    with owner("slow-1.0"):
        register_endpoint("get", "/slow", gate.wait, app=app)
    answers: list[str | int] = []

    async def call() -> None:
        answers.append(await text(app, "/slow"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await gate.reached.wait()
        async with anyio.create_task_group() as removal:
            removal.start_soon(remove_owned, "slow-1.0", 5)
            await anyio.wait_all_tasks_blocked()
            assert await text(app, "/slow") == 404
            assert answers == []
            gate.go.set()
    assert answers == ["done"]


async def test_past_the_grace_a_request_is_cut_off_with_503(app: FastAPI) -> None:
    gate = Gate()
    with owner("stuck-1.0"):
        register_endpoint("get", "/stuck", gate.wait, app=app)
    async with anyio.create_task_group() as tasks:

        async def call() -> None:
            assert (await ask(app, "/stuck"))[0] == 503
            await anyio.sleep(0)  # this task itself was not cancelled

        tasks.start_soon(call)
        await gate.reached.wait()
        assert await remove_owned("stuck-1.0", 0.01) == 1
    assert gate.cancelled.is_set()


async def test_whoever_is_cancelled_and_cut_off_at_once_is_cancelled(app: FastAPI) -> None:
    reached = anyio.Event()

    async def twice() -> None:
        reached.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()  # somebody else's, meanwhile
            await asyncio.sleep(0)

    with owner("twice-1.0"):
        register_endpoint("get", "/twice", twice, app=app)
    caller = asyncio.ensure_future(ask(app, "/twice"))
    await reached.wait()
    await remove_owned("twice-1.0", 0)
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_past_the_grace_an_answer_that_has_begun_breaks_off(app: FastAPI) -> None:
    begun = anyio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        begun.set()
        await anyio.sleep_forever()

    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces())

    with owner("endless-1.0"):
        register_endpoint("get", "/endless", stream, app=app)
    found: list[bytes] = []

    async def call() -> None:
        found.append((await ask(app, "/endless"))[2])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await begun.wait()
        assert await remove_owned("endless-1.0", 0.01) == 1
        assert found == [b"one"]  # it has ended before the removal has


async def test_a_cancelled_caller_stays_cancelled(app: FastAPI) -> None:
    gate = Gate()
    register_endpoint("get", "/gate", gate.wait, app=app)
    with anyio.move_on_after(0.01) as scope:
        await ask(app, "/gate")
    assert scope.cancelled_caught


async def test_an_open_socket_of_a_removed_extension_is_closed(app: FastAPI) -> None:
    opened = anyio.Event()

    async def stay(socket: WebSocket) -> None:
        await socket.accept()
        opened.set()
        await anyio.sleep_forever()

    with owner("socket-1.0"):
        register_websocket_endpoint("/stay", stay, app=app)
    found: Sent = []

    async def call() -> None:
        found.extend(await talk(app, "/stay"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await opened.wait()
        await remove_owned("socket-1.0", 0.01)
    assert (found[-1]["type"], found[-1]["code"]) == ("websocket.close", 1012)


async def test_what_a_route_registers_belongs_to_the_route_s_extension(app: FastAPI) -> None:
    async def grow() -> str:
        register_endpoint("get", "/grown", says("grown"), app=app)
        return "grew"

    with owner("grower-1.0"):
        register_endpoint("post", "/grow", grow, app=app)
    assert await text(app, "/grow", "POST") == "grew"
    assert await text(app, "/grown") == "grown"
    await remove_owned("grower-1.0", 0)
    assert await text(app, "/grown") == 404
