"""What services say of themselves: true, complete, cheap to ask for again, and free of clashes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from fastapi import FastAPI
from pydantic import create_model

from downstage import __version__
from downstage.kernel.settings import load
from downstage.services.book import book_of
from downstage.services.context import PlatformUrls
from downstage.services.dispatch import shape_of
from downstage.services.host import ServiceHost
from downstage.services.operator import operator_app
from downstage.services.registry import (
    create_app,
    deregister_endpoint,
    register_endpoint,
    set_metadata,
)
from downstage.services.server import Server, open_port
from downstage.testing.watchdog import Watchdog

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SERVICES = ("identity", "content", "streams", "manager", "agent", "gateway")
PROBLEM = "application/problem+json"
ENVELOPE = {"$ref": "#/components/schemas/ErrorEnvelope"}
HEALTH = "the same on every application, for machines that watch it"
PAGES = "files of a web page"
DOCS = "the page of the description, for who develops"
HIDDEN = {
    **dict.fromkeys(("/status", "/health", "/healthcheck", "/ready", "/startup"), HEALTH),
    "/openapi.json": "the description itself",
    "/1.0/{rest:path}": "what is missing below /1.0, said in that dialect's envelope",
    **dict.fromkeys(("/docs", "/docs/", "/docs/{name}"), DOCS),
    **dict.fromkeys(
        (
            "/",
            "/index.html",
            "/webclient",
            "/webclient/",
            "/webclient/index.html",
            "/assets/{name:path}",
            "/files",
            "/files/{path:path}",
            "/watch",
            "/watch/{path:path}",
            "/admin",
            "/admin/{path:path}",
            "/favicon.svg",
            "/favicon.ico",
        ),
        PAGES,
    ),
    **dict.fromkeys(
        (
            "/backend/api-docs",
            "/backend/api-docs/",
            "/backend/api-docs/openapi.json",
            "/backend/api-docs/{name}",
        ),
        "the public streaming API's own page of its description",
    ),
}
"""Every route that no description names, with the reason."""
READY = {"/ready"}
"""The operator's own, in detail, is described."""


@asynccontextmanager
async def running(data: Path) -> AsyncGenerator[dict[str, FastAPI]]:
    urls = PlatformUrls("http://127.0.0.1:1", f"unix://{data}/link.sock")
    overrides: dict[str, object] = {"platform.data": data, "manager.isolation": "none"}
    host = ServiceHost(load(environment={}, overrides=overrides), urls, services=SERVICES)
    async with host.run():
        apps = {name: host.app(name) for name in SERVICES}
        yield {**apps, "public": host.public_app, "operator": operator_app(host)}


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncGenerator[tuple[aiohttp.ClientSession, str]]:
    sock = open_port("127.0.0.1", 0)
    server = Server(app, [sock])
    async with anyio.create_task_group() as tasks, aiohttp.ClientSession() as session:
        tasks.start_soon(server.run)
        await server.wait_started()
        yield session, f"http://127.0.0.1:{sock.getsockname()[1]}"
        await session.close()
        server.stop()


async def test_what_is_left_out_of_a_description_is_listed_with_its_reason(data: Path) -> None:
    async with running(data) as apps:
        hidden, described = set[str](), set[str]()
        for app in apps.values():
            entries = book_of(app).dispatcher.index()
            paths = set(app.openapi()["paths"])
            described |= paths | set(app.openapi().get("x-websockets", {}))
            told = {e.path for e in entries if e.path.replace(":path}", "}") in paths}
            hidden |= {e.path for e in entries} - told - _sockets(app)
            assert app.openapi()["info"]["version"] == __version__
    twins = {path + "/" for path in described}  # the data server's API takes both
    left = {path for path in hidden if path.replace(":path}", "}") not in twins}
    assert left == set(HIDDEN) - twins, "list it with a reason, or describe it"
    assert described & set(HIDDEN) == READY | {"/healthcheck"}  # on one application each


def _sockets(app: FastAPI) -> set[str]:
    return set(app.openapi().get("x-websockets", {}))


async def test_no_two_handlers_have_one_method_and_path(data: Path) -> None:
    async with running(data) as apps:
        for name, app in apps.items():
            book = book_of(app)
            found = Counter(
                (entry.kind, method, shape_of(entry.path))
                for entry in book.dispatcher.index()
                if not book.is_weak(entry.top)
                for method in entry.methods or ("*",)
            )
            assert [key for key, count in found.items() if count > 1] == [], name


async def test_every_error_is_a_problem_and_every_lock_is_told(data: Path) -> None:
    async with running(data) as apps:
        for name, app in apps.items():
            document = app.openapi()
            assert "HTTPValidationError" not in json.dumps(document)
            for path, item in document["paths"].items():
                for method, operation in item.items():
                    _check_operation(f"{name} {method} {path}", operation)
        sockets = apps["gateway"].openapi()["x-websockets"]
        assert "/v1/sessions/{session_id}/signalling" in sockets
        assert "/v1/instances/{instance_id}/link" not in _sockets(apps["public"])


def _check_operation(label: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for status, answer in responses.items():
        own = "/healthcheck" in label or label == "operator get /ready"
        if int(status) >= 400 and operation.get("tags") == ["anbox"]:
            # Its clients read its envelope; what is wrong with a body may be told before it.
            is_of_body = status in ("413", "415", "422") and list(answer["content"]) == [PROBLEM]
            told = answer["content"].get("application/json", {}).get("schema")
            assert is_of_body or told == ENVELOPE, (label, status)
        elif int(status) >= 400 and operation.get("tags") == ["ams"]:
            told = answer["content"].get("application/json", {}).get("schema")
            assert told == {"$ref": "#/components/schemas/AmsFailure"}, (label, status)
        elif int(status) >= 400 and _is_the_data_server_s(operation):
            assert {"application/json", PROBLEM} >= answer.get("content", {}).keys(), label
        elif int(status) >= 400 and not (own and status == "503"):
            assert list(answer["content"]) == [PROBLEM], label
        if status in ("429", "503") and not (own or _is_the_data_server_s(operation)):
            assert "Retry-After" in answer["headers"], label
    assert "default" not in responses
    if operation.get("security"):
        assert {"401", "403", "503"} <= responses.keys(), label
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= responses.keys(), label


def _is_the_data_server_s(operation: dict[str, Any]) -> bool:
    """Whether its errors have a form of their own, which its clients read."""
    return any(tag.startswith("data server") for tag in operation.get("tags", ()))


async def test_a_description_is_asked_for_again_by_its_tag() -> None:
    app = create_app("Test")

    async def nothing() -> None: ...

    async with serving(app) as (session, url):

        async def ask(tag: str = "") -> tuple[int, str, Any]:
            headers = {"if-none-match": tag} if tag else {}
            async with session.get(f"{url}/openapi.json", headers=headers) as answer:
                body = await answer.read()
                return answer.status, answer.headers["etag"], json.loads(body) if body else None

        status, tag, document = await ask()
        assert (status, document["info"]["title"]) == (200, "Test")
        assert await ask(tag) == (304, tag, None)
        assert (await ask(f'"other", W/{tag}'))[0] == 304
        register_endpoint("get", "/new", nothing, app=app)
        status, newer, document = await ask(tag)
        assert (status, "/new" in document["paths"]) == (200, True)
        assert newer != tag
        deregister_endpoint("get", "/new", app=app)
        assert await ask(newer) == (200, tag, {**document, "paths": {}})
        set_metadata("Renamed", app=app)
        assert (await ask(tag))[2]["info"]["title"] == "Renamed"
        set_metadata(root_path="/base", app=app)
        assert (await ask(tag))[2]["servers"] == [{"url": "/base"}]


async def test_a_large_description_holds_up_nobody(loop_watchdog: Watchdog) -> None:
    """Built in this thread, it would hold the loop for some 100 ms, and the watchdog would bark."""
    del loop_watchdog
    # Not here: the first application of a process makes FastAPI build models of its own.
    app = await anyio.to_thread.run_sync(create_app, "Large")

    def add(number: int) -> None:
        fields: dict[str, Any] = {f"field_{index}": (int, index) for index in range(8)}
        model: Any = create_model(f"Model{number}", **fields)

        async def handler(body: Any) -> Any:
            return body

        handler.__annotations__ = {"body": model, "return": model}
        app.add_api_route(f"/things/{number}", handler, methods=["POST"])

    for number in range(150):
        await anyio.to_thread.run_sync(add, number)
    async with serving(app) as (session, url), anyio.create_task_group() as tasks:
        sizes: list[int] = []

        async def ask() -> None:
            async with session.get(f"{url}/openapi.json") as answer:
                sizes.append(len(await answer.read()))

        for _ in range(4):
            tasks.start_soon(ask)
    assert len(sizes) == 4
    assert len(set(sizes)) == 1
