"""Limits and ids that only a hostile client reaches: spoken to in ASGI."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog
from fastapi import APIRouter, FastAPI, Request, WebSocket
from structlog.testing import capture_logs

from downstage.kernel.errors import Forbidden, SetupError
from downstage.kernel.limits import MAX_BODY
from downstage.services.book import book_of
from downstage.services.registry import create_app

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
def app() -> FastAPI:
    app = create_app("Test")

    @app.post("/json")
    async def as_json(body: dict[str, Any]) -> int:
        return len(body)

    @app.post("/stream")
    async def stream(request: Request) -> int:
        return sum([len(part) async for part in request.stream()])

    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError("a defect")

    @app.get("/setup")
    async def setup() -> None:
        raise SetupError("The disk is full.")

    @app.websocket("/closed")
    async def closed(socket: WebSocket) -> None:
        raise Forbidden("Not you.")

    @app.websocket("/open")
    async def opened(socket: WebSocket) -> None:
        await socket.accept()
        raise Forbidden("Not any more.")

    return app


async def speak(
    app: FastAPI, method: str, path: str, parts: list[bytes], headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    """One HTTP exchange whose body comes in *parts*."""
    sent: list[dict[str, Any]] = []
    waiting = list(parts) or [b""]

    async def receive() -> dict[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "server": ("h", 80), "client": ("c", 1),
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
    }  # fmt: skip
    try:
        await app(scope, receive, send)
    except RuntimeError:
        assert path == "/crash"
    assert [m["type"] for m in sent].count("http.response.start") == 1
    start = sent[0]
    body = b"".join(m.get("body", b"") for m in sent[1:])
    fields = {k.decode(): v.decode() for k, v in start["headers"]}
    return start["status"], fields, json.loads(body)


@pytest.mark.parametrize("path", ["/json", "/stream"])
async def test_a_body_without_a_length_is_counted(app: FastAPI, path: str) -> None:
    headers = {"content-type": "application/json", "x-request-id": "r1"}
    part = b" " * (MAX_BODY // 2)
    status, fields, body = await speak(app, "POST", path, [part, part, b"{}"], headers)
    assert (status, body["code"], body["request_id"]) == (413, "too-large", "r1")
    assert fields["x-request-id"] == "r1"
    status, _, _ = await speak(app, "POST", path, [part, part[2:], b"{}"], headers)
    assert status == 200


async def test_a_false_length_is_refused_unread(app: FastAPI) -> None:
    headers = {"content-length": str(MAX_BODY + 1)}
    status, _, body = await speak(app, "POST", "/stream", [b"x"], headers)
    assert (status, body["code"]) == (413, "too-large")


async def test_a_crash_is_logged_with_the_id_that_the_caller_gets(app: FastAPI) -> None:
    with capture_logs() as logs:
        status, fields, body = await speak(app, "GET", "/crash", [], {"x-request-id": "r9"})
    assert (status, body["request_id"], fields["x-request-id"]) == (500, "r9", "r9")
    assert "a defect" not in json.dumps(body)
    assert [(log["event"], log["request_id"]) for log in logs] == [("request.crashed", "r9")]
    assert structlog.contextvars.get_contextvars() == {}


async def test_an_error_of_ours_is_logged_and_one_of_theirs_not(app: FastAPI) -> None:
    with capture_logs() as logs:
        assert (await speak(app, "GET", "/setup", []))[0] == 500
        assert (await speak(app, "GET", "/nowhere", []))[0] == 404
    assert [log["event"] for log in logs] == ["request.failed"]


async def test_an_id_with_a_line_break_is_replaced(app: FastAPI) -> None:
    _, fields, _ = await speak(app, "GET", "/nowhere", [], {"x-request-id": "abc\n"})
    assert len(fields["x-request-id"]) == 36


async def converse(app: FastAPI, path: str) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket", "asgi": {"version": "3.0"}, "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "ws", "headers": [], "subprotocols": [],
        "extensions": {"websocket.http.response": {}}, "server": ("h", 80), "client": ("c", 1),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent


async def test_a_socket_refused_before_it_opened_gets_an_http_answer(app: FastAPI) -> None:
    start, body = await converse(app, "/closed")
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
    assert json.loads(body["body"])["code"] == "forbidden"


async def test_an_open_socket_is_closed_with_the_reason(app: FastAPI) -> None:
    _, close = await converse(app, "/open")
    assert (close["type"], close["code"], close["reason"]) == ("websocket.close", 1008, "forbidden")


async def test_a_router_may_take_larger_bodies_at_its_own_paths_alone(app: FastAPI) -> None:
    router = APIRouter()

    @router.post("/large/{name}")
    async def large(name: str, request: Request) -> int:
        return len(await request.body())

    app.include_router(router)
    book_of(app).allow(router, 2 * MAX_BODY)
    parts = [b"x" * MAX_BODY, b"x"]
    status, _, body = await speak(app, "POST", "/large/a", parts)
    assert (status, body) == (200, MAX_BODY + 1)
    for path, sent in (("/large/a", [*parts, b"x" * MAX_BODY]), ("/large/a/b", parts)):
        status, _, body = await speak(app, "POST", path, sent)
        assert status in (413, 404), path
    status, _, body = await speak(app, "POST", "/stream", parts)
    assert (status, body["code"], body["limit"]) == (413, "too-large", MAX_BODY)
