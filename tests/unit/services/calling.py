"""Applications called by ASGI alone, and routes that say one word: for tests of what is served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.types import ASGIApp, Scope

from downstage.services import ServiceAPIRouter

Sent = list[dict[str, Any]]


def scope_of(path: str, method: str = "GET", kind: str = "http") -> Scope:
    return {
        "type": kind, "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "server": ("h", 80), "client": ("c", 1), "headers": [],
        "subprotocols": [], "state": {},
    }  # fmt: skip


async def ask(
    app: ASGIApp, path: str, method: str = "GET", body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """One HTTP exchange by ASGI alone: nothing of a client stands between."""
    sent: Sent = []

    waiting = [body]

    async def receive() -> dict[str, Any]:
        if not waiting:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": waiting.pop(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope_of(path, method), receive, send)
    headers = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(m.get("body", b"") for m in sent[1:])


async def text(app: ASGIApp, path: str, method: str = "GET") -> str | int:
    """The answer's text, or the status of a refusal."""
    status, _, body = await ask(app, path, method)
    return body.decode().strip('"') if status < 300 else status


def says(word: str) -> Callable[[], Awaitable[str]]:
    async def handler() -> str:
        return word

    return handler


def router_of(**paths: str) -> ServiceAPIRouter:
    """Routes by word: ``router_of(list="/list")`` answers ``list`` there."""
    router = ServiceAPIRouter()
    for word, path in paths.items():
        router.add_api_route(path, says(word))
    return router
