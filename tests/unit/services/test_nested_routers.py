"""Routers in routers, tails with something behind them, starts that happen once."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from downstage.services import AsyncClient
from downstage.services.errors import ServiceNotFoundError
from downstage.services.registry import create_app, deregister_router, register_router

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
def app() -> FastAPI:
    return create_app("Test")


@pytest.fixture
def client(app: FastAPI) -> AsyncClient:
    return AsyncClient("local://", app)


async def one() -> str:
    return "one"


async def two() -> str:
    return "two"


async def test_a_route_that_a_router_within_is_given_later_is_served(
    app: FastAPI, client: AsyncClient
) -> None:
    outer, inner, innermost = APIRouter(), APIRouter(), APIRouter()
    inner.add_api_route("/one", one)
    outer.include_router(inner, prefix="/in")
    register_router(outer, "/o", app=app)
    inner.add_api_route("/two", two)
    inner.include_router(innermost, prefix="/deep")
    innermost.add_api_route("/two", two)
    assert await client.o["in"].two.get() == "two"
    assert await client.o["in"].deep.two.get() == "two"
    assert "/o/in/deep/two" in app.openapi()["paths"]
    deregister_router(outer, "/o", app=app)
    inner.add_api_route("/three", two)
    with pytest.raises(ServiceNotFoundError):
        await client.o["in"].three.get()


async def test_a_router_within_one_that_fastapi_included_changes_the_description(
    app: FastAPI, client: AsyncClient
) -> None:
    outer, inner = APIRouter(), APIRouter()
    outer.add_api_route("/one", one)
    app.include_router(outer, prefix="/o")
    assert "/o/in/two" not in app.openapi()["paths"]
    outer.include_router(inner, prefix="/in")
    app.openapi()
    inner.add_api_route("/two", two)
    assert "/o/in/two" in app.openapi()["paths"]
    assert await client.o["in"].two.get() == "two"


@pytest.mark.parametrize("turned", [False, True])
async def test_what_goes_on_behind_a_tail_wins_over_the_tail(
    app: FastAPI, client: AsyncClient, turned: bool
) -> None:
    paths = [("/files/{path:path}/two", two), ("/files/{path:path}", one)]
    for path, handler in reversed(paths) if turned else paths:
        app.add_api_route(path, handler)
    assert await client.files.a.b.two.get() == "two"
    assert await client.files.a.b.get() == "one"


async def test_what_a_router_does_at_its_start_is_done_once(app: FastAPI) -> None:
    done = list[str]()
    router = APIRouter()
    router.on_startup.append(lambda: done.append("up"))
    router.on_shutdown.append(lambda: done.append("down"))
    for number in range(3):
        router.add_api_route(f"/{number}", one)
    register_router(router, "/x", app=app)
    router.add_api_route("/later", one)
    async with app.router.lifespan_context(app):
        assert done == ["up"]
    assert done == ["up", "down"]


async def test_routes_added_to_the_list_in_place_are_served(
    app: FastAPI, client: AsyncClient
) -> None:
    with pytest.raises(ServiceNotFoundError):
        await client.k.get()

    async def letter(request: Request) -> PlainTextResponse:
        del request
        return PlainTextResponse("k")

    app.router.routes += [Route("/k", letter)]
    assert await client.k.get() == "k"
