"""`Client`: the same without ``async``, where no loop runs, or one that must not wait."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from downstage.services import (
    Client,
    ServiceNotFoundError,
    ServiceTimeoutError,
    SocketClosed,
    describe,
)
from downstage.services.client import Event, portal
from downstage.services.client.propagation import handling
from downstage.services.registry import create_app
from downstage.services.server import Server, open_port

pytestmark = [pytest.mark.real]


def build() -> FastAPI:
    app = create_app("Blocking")

    @app.get("/v1/echo_it/{item}")
    async def echo(item: str, mark: str = "") -> dict[str, str]:
        await anyio.sleep(0.001)
        return {"item": item, "mark": mark}

    @app.get("/v1/list")
    async def listed(limit: int = 2, after: int = 0) -> dict[str, Any]:
        more = after + limit < 7
        return {
            "items": list(range(7))[after : after + limit],
            "next": after + limit if more else None,
        }

    @app.get("/v1/slow")
    async def slow() -> None:
        await anyio.sleep(30)

    @app.get("/v1/request-id")
    async def request_id(request: Request) -> Any:
        return request.scope["request_id"]

    @app.get("/v1/events")
    async def events() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for number in range(3):
                yield f"data: {number}\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    @app.put("/v1/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.websocket("/v1/echo")
    async def socket(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                text = await socket.receive_text()
                if text == "end":
                    await socket.close(1000)
                    return
                await socket.send_text(text)
        except WebSocketDisconnect:
            return

    return app


@pytest.fixture(params=["local", "http"])
def client(request: pytest.FixtureRequest, data: Path,
           monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(data))
    if request.param == "local":
        with Client("local://", build()) as client:
            yield client
        return
    sock = open_port("127.0.0.1", 0)
    server = Server(build(), [sock])
    thread = threading.Thread(target=lambda: asyncio.run(server.run()))
    thread.start()
    with Client(f"http://127.0.0.1:{sock.getsockname()[1]}") as client:
        yield client
    server.stop()
    thread.join(10)


def test_calls(client: Client) -> None:
    assert client.v1.echo_it.get("a_b", mark="m") == {"item": "a_b", "mark": "m"}
    assert client.v1.echo_it["x y"].get()["item"] == "x y"
    with pytest.raises(ServiceNotFoundError) as caught:
        client.v1.nothing.get()
    assert caught.value.code == "not-found"
    with pytest.raises(ServiceTimeoutError):
        client.v1.slow.get(__timeout__=0.2)
    assert client.v1.echo_it.get.curl("x").startswith("curl ")


def test_many_threads_share_it(client: Client) -> None:
    def call(number: int) -> str:
        return client.v1.echo_it[str(number)].get()["item"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(100))) == [str(n) for n in range(100)]


def test_inside_a_running_loop(client: Client) -> None:
    async def main() -> str:
        return client.v1.echo_it["in"].get()["item"]

    assert asyncio.run(main()) == "in"


def test_pages_streams_and_files(client: Client, data: Path) -> None:
    assert list(client.v1.list.get.pages(limit=3)) == list(range(7))
    pages = client.v1.list.get.pages()
    assert next(pages) == 0
    pages.close()
    with client.v1.events.get.stream() as stream:
        assert stream.status == 200
        assert list(stream.events()) == [Event("0"), Event("1"), Event("2")]
    with client.v1.events.get.stream() as stream:
        assert next(iter(stream)).startswith(b"data: 0")
    with client.v1.events.get.stream() as stream:
        assert next(stream.lines()) == "data: 0"
    with client.v1.events.get.stream() as stream:
        assert stream.read().count(b"data") == 3
    with pytest.raises(ServiceNotFoundError), client.v1.nothing.get.stream():
        pass
    (data / "f").write_bytes(b"x" * 1000)
    assert client.v1.raw.put.upload(data / "f") == 1000
    assert client.v1.events.get.download(data / "g") == 27


def test_sockets(client: Client) -> None:
    with client.v1.echo.ws() as socket:
        socket.send("a")
        assert socket.receive() == "a"
        answers: list[Any] = []
        listener = threading.Thread(target=lambda: answers.extend(socket))
        listener.start()
        for number in range(5):
            socket.send_json(number)
        socket.send("end")
        listener.join(10)
        assert answers == ["0", "1", "2", "3", "4"]
        with pytest.raises(SocketClosed):
            socket.receive()


def test_the_callers_context_goes_along(client: Client) -> None:
    with handling(request_id="r-9"):
        assert client.v1.request_id.get() == "r-9"
    assert client.v1.request_id.get() != "r-9"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C counts, also where this was started in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_call(client: Client) -> None:
    began = time.monotonic()
    main = threading.main_thread()
    assert threading.current_thread() is main

    def interrupt() -> None:
        signal.pthread_kill(main.ident or 0, signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        client.v1.slow.get()
    timer.join()
    assert time.monotonic() - began < 20  # the handler would take thirty
    assert client.v1.echo_it["on"].get()["item"] == "on"


def test_it_describes_itself_when_asked(client: Client) -> None:
    assert "echo_it" not in dir(client.v1)
    assert describe(client) is not None
    assert "echo_it" in dir(client.v1)


def test_stopping_ends_the_thread_and_a_later_call_starts_it_again() -> None:
    first, second = Client("local://", build()), Client("local://", build())
    assert first.v1.echo_it["a"].get()["item"] == "a"
    assert second.v1.echo_it["a"].get()["item"] == "a"
    thread = portal._portal._thread  # type: ignore[union-attr]
    first.stop()
    first.stop()
    assert thread.is_alive()
    assert first.v1.echo_it["b"].get()["item"] == "b"
    first.stop()
    second.stop()
    assert not thread.is_alive()
    assert second.v1.echo_it["c"].get()["item"] == "c"
    second.stop()


def test_a_forgotten_client_lets_go() -> None:
    client = Client("local://", build())
    assert client.v1.echo_it["a"].get()["item"] == "a"
    thread = portal._portal._thread  # type: ignore[union-attr]
    del client
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


def test_a_stream_outlives_the_name_of_its_client(data: Path) -> None:
    del data
    stream = Client("local://", build()).v1.events.get.stream()
    socket = Client("local://", build()).v1.echo.ws()
    gc.collect()
    with stream:
        gc.collect()
        assert [event.data for event in stream.events()] == ["0", "1", "2"]
    with socket:
        socket.send("a")
        assert socket.receive() == "a"
    thread = portal._portal._thread  # type: ignore[union-attr]
    del stream, socket
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


def test_a_call_that_comes_while_the_thread_ends_does_not_wait_for_ever() -> None:
    house = portal.Portal()
    is_running, is_ending = threading.Event(), threading.Event()

    async def slow_to_end() -> None:
        try:
            is_running.set()
            await anyio.sleep_forever()
        finally:
            is_ending.set()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.3)

    def swallow(function: Any) -> Any:
        try:
            return house.run(function)
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(swallow, slow_to_end)
        assert is_running.wait(20)
        threads.submit(house.stop)
        assert is_ending.wait(20)
        second = threads.submit(swallow, anyio.sleep_forever)
        for call in (first, second):
            assert call.result(20) == "the client was stopped meanwhile"


def test_what_was_interrupted_says_so_and_does_not_wait_for_ever() -> None:
    house = portal.Portal()

    @asynccontextmanager
    async def nothing() -> AsyncIterator[None]:
        yield

    session = portal.Session(house, nothing())

    async def interrupted() -> None:
        with anyio.move_on_after(0.05):
            await session._hand_over(anyio.sleep_forever)

    async def at_once() -> int:
        return 1

    session.enter()
    assert session.run(at_once) == 1
    house.run(interrupted)
    with ThreadPoolExecutor(2) as threads:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"broken off|stopped"):
                threads.submit(session.run, at_once).result(20)
    session.leave()
    house.stop()


FORKED = """
import os, signal, sys
from fastapi import FastAPI
from downstage.services import Client

app = FastAPI()


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


client = Client("local://", app)
assert client.pid.get() == os.getpid()
child = os.fork()
if child == 0:
    signal.alarm(10)
    assert client.pid.get() == os.getpid()
    assert Client("local://", app).pid.get() == os.getpid()
    client.stop()
    sys.exit(0)
status = os.waitpid(child, 0)[1]
assert client.pid.get() == os.getpid()
client.stop()
sys.exit(status != 0)
"""


def test_a_fork_has_a_thread_of_its_own(data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], cwd=data, capture_output=True, timeout=25, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_its_own_loop_cannot_wait_for_itself() -> None:
    app = create_app("Inner")

    @app.get("/outer")
    async def outer() -> str:
        try:
            return client.inner.get()
        except RuntimeError as error:
            return str(error)

    with Client("local://", app) as client:
        assert "in its own loop" in client.outer.get()


def test_it_is_made_without_a_thread_and_shows_no_secret() -> None:
    client = Client("http://u:s3cret@h", token="s3cret")
    assert repr(client.a) == "<Client(http://h) /a>"
    assert "s3cret" not in repr(client)
    assert portal._portal is None
