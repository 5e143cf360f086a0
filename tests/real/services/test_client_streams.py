"""The client against real servers: streams, sockets, files and pages, near and far."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Annotated, Any

import anyio
import pytest
from fastapi import FastAPI, Header, Request, WebSocket
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.websockets import WebSocketDisconnect

from downstage.kernel.errors import Forbidden
from downstage.services import (
    AsyncClient,
    BaseServiceError,
    ServiceNotFoundError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    SocketClosed,
    describe,
)
from downstage.services.registry import create_app
from downstage.services.server import Server, open_port
from downstage.services.transports.http import close_pool

pytestmark = [pytest.mark.real, pytest.mark.anyio]


FORM = {"requestBody": {"content": {"multipart/form-data": {"schema": {"type": "object"}}}}}


class Seen:
    """What the service noticed."""

    def __init__(self) -> None:
        self.left = anyio.Event()
        self.headers: dict[str, str] = {}
        self.never = anyio.Event()


def build(seen: Seen) -> FastAPI:
    app = create_app("Streams")
    app.state.seen = seen

    @app.get("/v1/count/{most}")
    async def count(most: int, last_event_id: Annotated[str, Header()] = "") -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            first = int(last_event_id or 0)
            try:
                for number in range(first, most):
                    yield f"retry: 1\nid: {number + 1}\ndata: {number}\n\n"
                    if number == first + 1:
                        break
                if first >= most:
                    await seen.never.wait()
            finally:
                seen.left.set()

        if int(last_event_id or 0) >= most:
            return StreamingResponse(iter(()), status_code=204)
        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/v1/endless")
    async def endless() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 1000
                    await anyio.sleep(0.001)
            finally:
                seen.left.set()

        return StreamingResponse(pieces())

    @app.get("/v1/bytes/{size}")
    async def some_bytes(size: int) -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, size, 65536):
                yield b"y" * min(65536, size - start)

        headers = {"content-length": str(size)}
        return StreamingResponse(pieces(), headers=headers, media_type="application/octet-stream")

    @app.get("/v1/broken")
    async def broken() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"z" * 10
            raise OSError("gone")

        return StreamingResponse(pieces())

    @app.put("/v1/raw/{name}")
    async def raw(name: str, request: Request) -> dict[str, Any]:
        digest, size = hashlib.sha256(), 0
        async for piece in request.stream():
            digest.update(piece)
            size += len(piece)
        kind = request.headers.get("content-type")
        return {"name": name, "size": size, "sha256": digest.hexdigest(), "kind": kind}

    @app.post("/v1/form", openapi_extra=FORM)
    async def form(request: Request, dry_run: bool = False) -> dict[str, Any]:
        head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + await request.body())
        parts = {part.get_param("name", header="content-disposition"): part
                 for part in message.iter_parts()}  # fmt: skip
        file = parts["file"]
        return {
            "note": parts["note"].get_payload(decode=True).decode(),
            "name": file.get_filename(),
            "size": len(file.get_payload(decode=True)),
            "kind": file.get_content_type(),
            "dry": dry_run,
        }

    @app.get("/v1/list")
    async def listed(limit: int = 2, after: int = 0) -> dict[str, Any]:
        items = list(range(9))[after : after + limit]
        more = after + limit < 9
        return {"items": items, "next": str(after + limit) if more else None}

    @app.get("/v1/moved")
    async def moved() -> RedirectResponse:
        return RedirectResponse("/v1/list?limit=1")

    @app.get("/v1/slashed/")
    async def slashed() -> str:
        return "slashed"

    @app.get("/v1/away")
    async def away() -> RedirectResponse:
        return RedirectResponse("http://127.0.0.1:9/steal")

    @app.get("/v1/slow")
    async def slow(request: Request) -> None:
        seen.headers = dict(request.headers)
        await seen.never.wait()

    @app.websocket("/v1/echo")
    async def echo(socket: WebSocket, greeting: str = "") -> None:
        await socket.accept(subprotocol="a" if "a" in socket.scope["subprotocols"] else None)
        if greeting:
            await socket.send_text(greeting + socket.headers.get("x-mark", ""))
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("text") == "end":
                    await socket.close(1000)
                    return
                if message.get("text") == "fail":
                    await socket.close(1008, "no")
                    return
                if message.get("text") is not None:
                    await socket.send_text(message["text"])
                else:
                    await socket.send_bytes(message["bytes"])
        except WebSocketDisconnect:
            return

    @app.websocket("/v1/closed")
    async def closed(socket: WebSocket) -> None:
        raise Forbidden("Not from there.")

    return app


@asynccontextmanager
async def over_local(app: FastAPI) -> AsyncGenerator[tuple[str, Any]]:
    yield "local://", app


@asynccontextmanager
async def over_http(app: FastAPI) -> AsyncGenerator[tuple[str, Any]]:
    sock = open_port("127.0.0.1", 0)
    port = sock.getsockname()[1]
    server = Server(app, [sock])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        try:
            yield f"http://127.0.0.1:{port}", None
        finally:
            app.state.seen.never.set()
            await close_pool()
            server.stop()


@pytest.fixture
def seen(anyio_backend: str) -> Seen:
    return Seen()


@pytest.fixture(params=[over_local, over_http], ids=["local", "http"])
async def client(request: pytest.FixtureRequest, seen: Seen, data: Path,
                 monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncClient]:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(data))
    async with request.param(build(seen)) as (uri, app):
        yield AsyncClient(uri, app, timeout_s=10)


async def test_events_come_one_by_one_and_come_back(client: AsyncClient, seen: Seen) -> None:
    with anyio.fail_after(10):
        async with client.v1.count.get.stream(5) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            got = [(e.id, e.data) async for e in stream.events(reconnect=True)]
    assert got == [(str(n + 1), str(n)) for n in range(5)]


async def test_leaving_early_ends_the_call_at_the_service(client: AsyncClient, seen: Seen) -> None:
    async with client.v1.endless.get.stream() as stream:
        async for piece in stream:
            assert piece
            break
    with anyio.fail_after(10):
        await seen.left.wait()


async def test_what_breaks_off_is_an_error(client: AsyncClient, data: Path) -> None:
    async with client.v1.broken.get.stream() as stream:
        with pytest.raises(ServiceUnavailableError):
            await stream.read()
    with pytest.raises(ServiceUnavailableError):
        await client.v1.broken.get.download(data / "broken")
    assert [path.name for path in data.iterdir() if path.is_file()] == []


async def test_a_stream_of_an_error_raises_it(client: AsyncClient) -> None:
    with pytest.raises(ServiceNotFoundError) as caught:
        async with client.v1.nothing.get.stream():
            pass
    assert caught.value.code == "not-found"


async def test_files_go_there_and_back(client: AsyncClient, data: Path) -> None:
    source = data / "a file.usda"
    source.write_bytes(b"usd" * 100_000)
    steps: list[tuple[int, int | None]] = []

    def progress(gone: int, total: int | None) -> None:
        steps.append((gone, total))

    stored = await client.v1.raw.put.upload("7", source, progress=progress)
    assert stored["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert steps[0] == (0, 300_000)
    assert steps[-1] == (300_000, 300_000)
    assert len(steps) > 2
    with source.open("rb") as file:
        file.seek(299_990)
        assert (await client.v1.raw.put.upload("7", file))["size"] == 10
    assert (await client.v1.raw.put.upload("7", b"abc"))["size"] == 3

    steps.clear()
    place = data / "back"
    assert await client.v1.bytes.get.download("200000", place, progress=progress) == 200_000
    assert place.read_bytes() == b"y" * 200_000
    assert steps[-1] == (200_000, 200_000)
    assert sorted(path.name for path in data.iterdir() if path.is_file()) == ["a file.usda", "back"]


async def test_a_form_with_a_file(client: AsyncClient, data: Path) -> None:
    source = data / 'odd"name.txt'
    source.write_bytes(b"hello")
    got = await client.v1.form.post.upload(files={"file": source}, note="ä note", dry_run=True)
    assert got == {"note": "ä note", "name": "odd%22name.txt", "size": 5, "dry": True,
                   "kind": "text/plain"}  # fmt: skip
    named = ("b.usd", b"xy", "model/usd")
    got = await client.v1.form.post.upload(files={"file": named}, note="n")
    assert (got["name"], got["kind"], got["size"]) == ("b.usd", "model/usd", 2)
    with pytest.raises(TypeError, match="one source"):
        await client.v1.form.post.upload(note="n")


async def test_a_body_may_come_in_pieces(client: AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"p" * 1000

    assert (await client.v1.raw["x"].put(pieces()))["size"] == 10_000


async def test_pages(client: AsyncClient) -> None:
    assert [item async for item in client.v1.list.get.pages(limit=2)] == list(range(9))


async def test_redirects_stay_at_home(client: AsyncClient) -> None:
    assert (await client.v1.moved.get())["items"] == [0]
    assert await client.v1.slashed.get() == "slashed"
    with pytest.raises(BaseServiceError, match=r"points to http://127.0.0.1:9/steal"):
        await client.v1.away.get(__headers__={"authorization": "Bearer s"})


async def test_a_time_out_is_an_error_of_its_own(client: AsyncClient, seen: Seen) -> None:
    for limit_s in (0.2, 1, 5):  # a busy machine may use up the first before the call arrives
        with pytest.raises(ServiceTimeoutError), anyio.fail_after(20):
            await client.v1.slow.get(__timeout__=limit_s)
        if seen.headers:
            break
    assert 0 < int(seen.headers["x-request-timeout-ms"]) <= limit_s * 1000


async def test_a_socket_on_a_path(client: AsyncClient) -> None:
    opening = client.v1.echo.ws(
        greeting="hi", __headers__={"X-Mark": "!"}, __subprotocols__=["b", "a"]
    )
    with anyio.fail_after(10):
        async with opening as socket:
            assert await socket.receive() == "hi!"
            assert socket.subprotocol == "a"
            await socket.send("text")
            await socket.send(b"\0bytes")
            await socket.send_json({"a": 1})
            assert [await socket.receive() for _ in range(2)] == ["text", b"\0bytes"]
            assert await socket.receive_json() == {"a": 1}
            await socket.send("last")
            await socket.send("end")
            assert [message async for message in socket] == ["last"]


async def test_a_socket_that_is_closed_says_why(client: AsyncClient) -> None:
    with anyio.fail_after(10):
        async with client.v1.echo.ws() as socket:
            await socket.send("fail")
            with pytest.raises(SocketClosed) as closed:
                _ = [message async for message in socket]
            assert (closed.value.code, closed.value.reason) == (1008, "no")
        with pytest.raises(BaseServiceError) as refused:
            async with client.v1.closed.ws():
                pass
    assert refused.value.status == 403
    assert refused.value.code == "forbidden"


async def test_the_service_describes_itself(client: AsyncClient) -> None:
    assert await describe(client) is not None
    assert {"count", "echo", "list"} - {"echo"} <= set(dir(client.v1))
    assert "limit" in (client.v1.list.get.__doc__ or "")
