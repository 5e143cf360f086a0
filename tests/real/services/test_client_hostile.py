"""A service that would have us call another, and one that changes under our hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse

from downstage.services import (
    AsyncClient,
    BaseServiceError,
    Client,
    ServiceNotFoundError,
    deregister_router,
    register_router,
)
from downstage.services.registry import create_app
from downstage.services.server import Server, open_port
from downstage.services.transports.http import close_pool

pytestmark = [pytest.mark.real, pytest.mark.anyio]


class Two:
    """A hostile service, and one that it tries to make us call."""

    def __init__(self) -> None:
        self.hostile = ""
        self.other = ""
        self.reached: list[str] = []

    def other_app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE", "HEAD"])
        async def any_path(path: str, request: Request) -> str:
            self.reached.append(f"{path} {request.headers.get('authorization')}")
            return "stolen"

        return app

    def hostile_app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.get("/openapi.json")
        async def document() -> JSONResponse:
            operation: dict[str, Any] = {"responses": {}, "servers": [{"url": self.other}]}
            paths = {
                "/v1/a_b": {"get": operation, "servers": [{"url": self.other}]},
                "/v1/../steal_it": {"get": operation},
                "//127.0.0.1/steal_it": {"get": operation},
                "/v1/__class__": {"get": operation},
            }
            return JSONResponse(
                {"openapi": "3.1.0", "servers": [{"url": self.other}], "paths": paths,
                 "components": {"schemas": {"x": {"$ref": f"{self.other}/schema.json"}}}}
            )  # fmt: skip

        @app.get("/v1/a_b")
        async def described() -> str:
            return "own"

        @app.api_route("/away/{status}", methods=["GET", "POST", "PUT", "DELETE", "HEAD"])
        async def away(status: int) -> RedirectResponse:
            return RedirectResponse(f"{self.other}/steal", status)

        @app.get("/pages")
        async def pages() -> JSONResponse:
            return JSONResponse([1], headers={"link": f'<{self.other}/more>; rel="next"'})

        @app.get("/events")
        async def events() -> StreamingResponse:
            return StreamingResponse(iter(["id: a\ndata: 1\n\n"]), media_type="text/event-stream")

        return app


@pytest.fixture
async def two(
    anyio_backend: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Two]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(data))
    two = Two()
    sockets = [open_port("127.0.0.1", 0) for _ in range(2)]
    two.hostile, two.other = (f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in sockets)
    servers = [Server(two.hostile_app(), [sockets[0]]), Server(two.other_app(), [sockets[1]])]
    async with anyio.create_task_group() as tasks:
        for server in servers:
            tasks.start_soon(server.run)
            await server.wait_started()
        try:
            yield two
        finally:
            await close_pool()
            for server in servers:
                server.stop()


async def test_A17_a_service_leads_nobody_to_another(two: Two) -> None:
    client = AsyncClient(two.hostile, token="t0ken", retries=0)
    assert await client.v1.a_b.get(x=1) == "own"
    for status in (301, 302, 303, 307, 308):
        for verb in ("get", "post", "put", "delete"):
            with pytest.raises(BaseServiceError, match="it points to") as caught:
                await getattr(client.away, verb)(status)
            assert "t0ken" not in str(caught.value)
    with pytest.raises(BaseServiceError):
        async with client.away.get.stream(302):
            pass
    with pytest.raises(BaseServiceError, match="elsewhere"):
        _ = [item async for item in client.pages.get.pages()]
    for name in ("steal_it", "__class__x"):
        with pytest.raises((BaseServiceError, AttributeError)):
            await getattr(client.v1, name).get()
    assert two.reached == []
    assert client.v1.__class__ is type(client.v1)


async def test_routes_that_come_and_go_are_followed(data: Path) -> None:
    """Names with underscores are known from the description: it must not be yesterday's."""
    app = create_app("Moving")
    client = AsyncClient("local://", app, retries=0)
    router = APIRouter()

    @router.get("/my_name")
    async def named(mark: str = "") -> str:
        return f"here {mark}"

    for turn in range(3):
        with pytest.raises(ServiceNotFoundError):
            await client.my_name.get(mark="x")
        register_router(router, app=app)
        assert await client.my_name.get(mark=turn) == f"here {turn}"
        assert await client.my_name.get() == "here "
        deregister_router(router, app=app)


async def test_one_client_serves_several_loops(two: Two) -> None:
    client = AsyncClient(two.hostile)

    def elsewhere() -> Any:
        async def call() -> Any:
            return await client.v1.a_b.get(x=2)

        return asyncio.run(call())

    assert await client.v1.a_b.get(x=1) == "own"
    assert await anyio.to_thread.run_sync(elsewhere) == "own"
    assert await client.v1.a_b.get(x=3) == "own"


def test_the_classes_know_the_transports() -> None:
    for kind in (AsyncClient, Client):
        assert {"local", "http", "https", "unix", "nats"} <= set(kind.get_available_transports())
        kind.register("mine", lambda uri, app: None)
        assert "mine" in kind.get_available_transports(is_async=True)
        kind.unregister("mine")
        assert "mine" not in kind.get_available_transports()
