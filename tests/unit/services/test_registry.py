"""Routers come, go and come again."""

from __future__ import annotations

import gc
import weakref

import pytest
from fastapi import Depends, FastAPI

from downstage.kernel.errors import Conflict
from downstage.services import AsyncClient, ServiceAPIRouter
from downstage.services.errors import ServiceNotFoundError, ServiceUnavailableError
from downstage.services.registry import (
    create_app,
    deregister_router,
    find_app,
    get_app,
    put_app,
    register_router,
    remove_app,
)
from downstage.services.routers import clean_prefix

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def make_router() -> ServiceAPIRouter:
    router = ServiceAPIRouter(tags=["ping"])

    @router.get("/ping")
    async def ping() -> str:
        return "pong"

    return router


@pytest.fixture
def app() -> FastAPI:
    return create_app("Test")


@pytest.fixture
def client(app: FastAPI) -> AsyncClient:
    return AsyncClient("local://", app)


async def test_a_router_is_served_until_it_is_deregistered(
    app: FastAPI, client: AsyncClient
) -> None:
    router = make_router()
    for _ in range(2):  # and again, after traffic
        register_router(router, "/a", app=app)
        assert await client.a.ping.get() == "pong"
        assert "/a/ping" in app.openapi()["paths"]
        deregister_router(router, "/a", app=app)
        with pytest.raises(ServiceNotFoundError):
            await client.a.ping.get()
        assert "/a/ping" not in app.openapi()["paths"]
    assert await client.status.get() == "OK"


async def test_one_router_under_two_prefixes(app: FastAPI, client: AsyncClient) -> None:
    router = make_router()
    register_router(router, "a", app=app)
    register_router(router, "b.c", app=app)
    deregister_router(router, "a", app=app)
    assert await client.b.c.ping.get() == "pong"
    with pytest.raises(ServiceNotFoundError):
        await client.a.ping.get()


def test_the_same_place_twice_is_a_conflict(app: FastAPI) -> None:
    router = make_router()
    register_router(router, "a", app=app)
    with pytest.raises(Conflict, match="/a"):
        register_router(router, "/a/", app=app)
    register_router(router, "a", app=create_app("Other"))
    register_router(make_router(), "b", app=app)


async def test_what_was_never_registered_may_be_deregistered(app: FastAPI) -> None:
    deregister_router(make_router(), "a", app=app)


def test_a_router_forgets_with_its_application() -> None:
    app = create_app("Short-lived")
    register_router(make_router(), "a", app=app)
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("prefix", "path"),
    [("", ""), ("a", "/a"), ("/a/", "/a"), ("a.b", "/a/b"), (".", ""), ("/v1/a", "/v1/a")],
)
def test_the_prefix_rule(prefix: str, path: str) -> None:
    assert clean_prefix(prefix) == path


async def test_applications_are_found_by_name(app: FastAPI) -> None:
    put_app("registry-test", app)
    assert find_app("registry-test") is app
    assert await AsyncClient("local://registry-test").status.get() == "OK"
    remove_app("registry-test")
    remove_app("registry-test")
    with pytest.raises(ServiceUnavailableError, match="registry-test"):
        find_app("registry-test")
    assert find_app("") is get_app() is get_app()


@pytest.mark.usefixtures("leaping_clock")
async def test_facilities_are_found_when_the_request_comes(
    app: FastAPI, client: AsyncClient
) -> None:
    router = ServiceAPIRouter(prefix="tool.box")

    async def use(tool: object = Depends(router.get_facility("tool"))) -> object:
        return tool

    router.add_api_route("/use", use)
    register_router(router, app=app)
    with pytest.raises(ServiceUnavailableError, match="tool is not registered"):
        await client.tool.box.use.get()
    router.register_facility("tool", "hammer")
    assert await client.tool.box.use.get() == "hammer"
