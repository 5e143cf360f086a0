"""The samples of the client's pages run as they are printed, against a real server."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import threading
import types
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel
from starlette.websockets import WebSocketDisconnect

from downstage.kernel.errors import NotFound
from downstage.services.registry import create_app
from downstage.services.server import Server, open_port

pytestmark = [pytest.mark.real]

DOCS = Path(__file__).parents[3] / "docs"
PAGES = ["reference/client.md", "guides/call-a-service.md"]
BLOCK = re.compile(r"^```python( blocking)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Book(BaseModel):
    title: str
    printed: date


def library() -> FastAPI:
    app = create_app("Library")
    books = [{"title": f"Book {n}"} for n in range(5)]
    texts: dict[str, bytes] = {}

    @app.get("/v1/shelves/{shelf}")
    async def shelf(shelf: str, limit: int = 10) -> dict[str, Any]:
        return {"shelf": shelf, "limit": limit}

    @app.get("/v1/books")
    async def listed(limit: int = 2, after: int = 0) -> dict[str, Any]:
        more = after + limit < len(books)
        return {"items": books[after : after + limit], "next": str(after + limit) if more else None}

    @app.post("/v1/books")
    async def add(book: Book) -> dict[str, Any]:
        return {"title": book.title, "printed": str(book.printed)}

    @app.get("/v1/books/{book}")
    async def one(book: str) -> dict[str, Any]:
        if not book.isdigit():
            raise NotFound("There is no such book.")
        return books[int(book)]

    @app.get("/v1/news")
    async def news() -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            for text in ("one", "two"):
                yield f"data: {text}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.put("/v1/texts/{name}", status_code=204)
    async def put(name: str, request: Request) -> None:
        texts[name] = await request.body()

    @app.get("/v1/texts/{name}")
    async def get(name: str) -> Response:
        return Response(texts[name])

    @app.websocket("/v1/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect:
            return

    return app


@pytest.fixture
def address() -> Iterator[str]:
    sock = open_port("127.0.0.1", 0)
    server = Server(library(), [sock])
    thread = threading.Thread(target=lambda: asyncio.run(server.run()))
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.stop()
    thread.join(10)


@pytest.mark.parametrize("page", PAGES)
def test_every_sample_runs(
    page: str, address: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(data))
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = [(bool(match[1]), match[2]) for match in BLOCK.finditer(text)]
    assert len(blocks) >= 5
    module = types.ModuleType("samples")
    space = vars(module)
    space["address"] = address

    async def run_async() -> None:
        for blocking, source in blocks:
            if not blocking:
                code = compile(source, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                found = eval(code, space)
                if inspect.isawaitable(found):
                    await found

    asyncio.run(run_async())
    for blocking, source in blocks:
        if blocking:
            exec(compile(source, page, "exec"), space)
