"""What FastAPI does in its own way, and what holds here: run with the oldest and the newest."""

from __future__ import annotations

import gc
from typing import Annotated, Any

import anyio
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request, WebSocket
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from downstage.kernel.errors import Conflict, Forbidden, Unavailable
from downstage.services import AsyncClient, BaseServiceError, ServiceAPIRouter, application
from downstage.services.errors import ServiceNotFoundError, ServiceUnavailableError
from downstage.services.openapi import describe
from downstage.services.registry import (
    create_app,
    deregister_endpoint,
    deregister_facility,
    deregister_middleware,
    deregister_mount,
    deregister_router,
    deregister_websocket_endpoint,
    get_app,
    register_endpoint,
    register_facility,
    register_middleware,
    register_mount,
    register_router,
    register_websocket_endpoint,
    remove_owned,
    set_metadata,
)

from .calling import Sent, ask, router_of, says, scope_of, text

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
def app() -> FastAPI:
    return create_app("Test")


async def test_a_removed_router_is_gone_and_may_come_back_after_traffic(app: FastAPI) -> None:
    router = router_of(ping="/ping")
    for _ in range(3):
        register_router(router, "a.b", app=app)
        assert await text(app, "/a/b/ping") == "ping"
        assert "/a/b/ping" in app.openapi()["paths"]
        deregister_router(router, "a.b", app=app)
        assert await text(app, "/a/b/ping") == 404
        assert "/a/b/ping" not in app.openapi()["paths"]


async def test_a_router_within_a_router_is_gone_with_it(app: FastAPI) -> None:
    inner, outer = APIRouter(prefix="/inner"), APIRouter(prefix="/outer")
    inner.add_api_route("/x/{id}", says("x"))
    outer.include_router(inner, prefix="/mid")
    register_router(outer, "top", app=app)
    assert await text(app, "/top/outer/mid/inner/x/7") == "x"
    assert list(app.openapi()["paths"]) == ["/top/outer/mid/inner/x/{id}"]
    deregister_router(outer, "top", app=app)
    assert await text(app, "/top/outer/mid/inner/x/7") == 404


async def test_options_of_routers_within_routers_hold(app: FastAPI) -> None:
    def refuse() -> None:
        raise Forbidden("Not by this way.")

    inner = router_of(deep="/deep")
    outer = APIRouter(dependencies=[Depends(refuse)], tags=["outer"])
    outer.include_router(inner, prefix="/in", tags=["in"])
    register_router(outer, app=app, tags=["here"])
    assert await text(app, "/in/deep") == 403
    assert set(app.openapi()["paths"]["/in/deep"]["get"]["tags"]) >= {"in", "here"}


async def test_one_of_two_prefixes_goes(app: FastAPI) -> None:
    router = router_of(ping="/ping")
    register_router(router, "a", app=app)
    register_router(router, "b", app=app)
    deregister_router(router, "a", app=app)
    assert (await text(app, "/a/ping"), await text(app, "/b/ping")) == (404, "ping")


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


async def test_middleware_comes_and_goes_after_the_first_request(app: FastAPI) -> None:
    register_endpoint("get", "ping", says("pong"), app=app)
    assert "x-mark" not in (await ask(app, "/ping"))[1]
    register_middleware(Tagging, app=app, mark="one")
    assert (await ask(app, "/ping"))[1]["x-mark"] == "one"
    with pytest.raises(Conflict, match=r"Tagging .*test_pitfalls\.py:\d+, and again at .*\d+"):
        register_middleware(Tagging, app=app)
    deregister_middleware(Tagging, app=app)
    assert "x-mark" not in (await ask(app, "/ping"))[1]
    app.add_middleware(Tagging, mark="two")  # type: ignore[arg-type]
    assert (await ask(app, "/ping"))[1]["x-mark"] == "two"


@pytest.mark.parametrize("way", ["ours", "FastAPI's"])
async def test_an_error_of_middleware_is_a_problem_too(app: FastAPI, way: str) -> None:
    error = Unavailable("Not now.", retry_after_s=3)
    if way == "ours":
        register_middleware(Tagging, app=app, inside=error)
    else:
        app.add_middleware(Tagging, inside=error)  # type: ignore[arg-type]
    status, headers, _ = await ask(app, "/status")
    assert (status, headers["retry-after"]) == (503, "3")
    assert headers["content-type"] == "application/problem+json"
    assert "x-request-id" in headers


async def test_a_request_in_flight_ends_in_the_stack_that_it_began_in(app: FastAPI) -> None:
    reached, go = anyio.Event(), anyio.Event()

    async def slow() -> str:
        reached.set()
        await go.wait()
        return "done"

    register_endpoint("get", "/slow", slow, app=app)
    async with anyio.create_task_group() as tasks:

        async def call() -> None:
            status, headers, _ = await ask(app, "/slow")
            assert (status, "x-mark" in headers) == (200, False)

        tasks.start_soon(call)
        await reached.wait()
        register_middleware(Tagging, app=app)
        assert "x-mark" in (await ask(app, "/status"))[1]
        go.set()


async def test_a_return_annotation_is_what_is_returned(app: FastAPI) -> None:
    async def right() -> dict[str, Any]:
        return {"a": 1}

    register_endpoint("get", "/right", right, app=app)
    assert (await ask(app, "/right"))[2] == b'{"a":1}'


class Window(BaseModel):
    """How much is listed."""

    limit: int = 10


async def test_a_model_of_a_get_is_read_from_the_query(app: FastAPI) -> None:
    async def listed(window: Annotated[Window, Query()]) -> int:
        return window.limit

    register_endpoint("get", "/listed", listed, app=app)
    client = AsyncClient("local://", app)
    assert await client.listed.get(limit=3) == 3
    assert await client.listed.get() == 10


@pytest.mark.parametrize("first", ["literal", "parameter"])
async def test_a_literal_wins_over_a_parameter_whatever_the_order(app: FastAPI, first: str) -> None:
    literal, parameter = router_of(list="/list"), router_of(any="/{id}", int="/{id:int}")
    for router in (literal, parameter) if first == "literal" else (parameter, literal):
        register_router(router, "v1", app=app)
    assert [await text(app, f"/v1/{name}") for name in ("list", "7", "x")] == ["list", "int", "any"]


async def test_the_order_within_a_router_and_over_several_counts_as_little(app: FastAPI) -> None:
    register_router(
        router_of(rest="/{rest:path}", ab="/{a}/b", xb="/x/{b}", xfile="/x/f-{name}.txt"), app=app
    )
    register_router(router_of(xy="/x/y"), app=app)
    found = [await text(app, path) for path in ("/x/y", "/x/f-1.txt", "/x/b", "/q/b", "/q/w/e")]
    assert found == ["xy", "xfile", "xb", "ab", "rest"]
    assert await text(app, "/status") == "OK"  # ours is literal too


async def test_routes_of_the_application_itself_obey_the_same_rule(app: FastAPI) -> None:
    app.add_api_route("/{id}", says("any"))
    app.add_api_route("/list", says("list"))
    app.include_router(router_of(made="/list/made"))
    assert [await text(app, path) for path in ("/list", "/x", "/list/made")] == [
        "list", "any", "made",
    ]  # fmt: skip


async def test_another_method_of_the_literal_leaves_the_parameter_its_own(app: FastAPI) -> None:
    register_endpoint("get", "/u/me", says("me"), app=app)
    register_endpoint("delete", "/u/{name}", says("gone"), app=app)
    register_endpoint("put", "/u/{name}", says("put"), app=app)
    assert await text(app, "/u/me", "DELETE") == "gone"
    status, headers, _ = await ask(app, "/u/me", "PATCH")
    assert (status, headers["allow"]) == (405, "DELETE, GET, PUT")


async def test_the_document_follows_every_change(app: FastAPI) -> None:
    def paths() -> set[str]:
        return set(app.openapi()["paths"])

    register_endpoint("post", "things", says("x"), app=app)
    assert paths() == {"/things"}
    deregister_endpoint("POST", "/things", app=app)
    assert paths() == set()
    set_metadata("New", "About it", "7.1", [{"name": "t"}], app=app)
    info = app.openapi()["info"]
    assert (info["title"], info["description"], info["version"]) == ("New", "About it", "7.1")
    set_metadata(title="Newer", app=app)
    assert (app.openapi()["info"]["title"], app.openapi()["info"]["version"]) == ("Newer", "7.1")


@pytest.mark.parametrize("kind", [APIRouter, ServiceAPIRouter])
async def test_a_route_added_after_its_router_is_served_and_described(
    app: FastAPI, kind: type[APIRouter]
) -> None:
    router, inner = kind(), kind()
    router.include_router(inner, prefix="/inner")
    register_router(router, "a", app=app)
    register_router(router, "b", app=app)
    router.add_api_route("/late", says("late"))
    assert [await text(app, path) for path in ("/a/late", "/b/late")] == ["late", "late"]
    assert {"/a/late", "/b/late"} <= set(app.openapi()["paths"])
    router.routes.pop()
    assert await text(app, "/a/late") == 404
    deregister_router(router, "a", app=app)
    router.add_api_route("/later", says("later"))
    assert [await text(app, path) for path in ("/a/later", "/b/later")] == [404, "later"]


async def test_a_change_while_the_document_is_made_counts(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(described: FastAPI) -> dict[str, Any]:
        found = describe(described)
        monkeypatch.undo()
        register_endpoint("get", "/meanwhile", says("x"), app=app)
        return found

    monkeypatch.setattr(application, "describe", slow)
    assert "/meanwhile" not in app.openapi()["paths"]
    assert "/meanwhile" in app.openapi()["paths"]


async def test_what_fastapi_included_is_described_as_it_is_served(app: FastAPI) -> None:
    router = APIRouter()
    router.add_api_route("/early", says("early"))
    app.include_router(router, prefix="/by")
    assert "/by/early" in app.openapi()["paths"]
    router.add_api_route("/late", says("late"))
    served = await text(app, "/by/late") == "late"  # FastAPI's own affair, by its version
    assert ("/by/late" in app.openapi()["paths"]) is served


async def test_one_path_twice_names_both_places(app: FastAPI) -> None:
    register_router(router_of(ping="/{id}"), "a", app=app)
    place = r"test_pitfalls\.py:\d+"
    with pytest.raises(Conflict, match=f"/a/{{other}} at .*{place}, and .* already at .*{place}"):
        register_endpoint("get", "/a/{other}", says("again"), app=app)
    register_endpoint("post", "/a/{other}", says("posted"), app=app)
    assert await text(app, "/a/1", "POST") == "posted"
    register_endpoint("get", "/a/{other}", says("instead"), app=app, override=True)
    assert await text(app, "/a/1") == "instead"
    deregister_endpoint("get", "/a/{other}", app=app)
    assert await text(app, "/a/1") == "ping"


async def test_a_refused_registration_leaves_nothing(app: FastAPI) -> None:
    register_endpoint("get", "/b", says("b"), app=app)
    clashing = router_of(a="/a", b="/b")
    with pytest.raises(Conflict):
        register_router(clashing, app=app)
    assert await text(app, "/a") == 404
    deregister_endpoint("get", "/b", app=app)
    register_router(clashing, app=app)
    assert await text(app, "/a") == "a"


async def test_mounts_come_and_go(app: FastAPI) -> None:
    register_mount("files.old", PlainTextResponse("mounted"), app=app)
    assert [await text(app, path) for path in ("/files/old/x/y", "/files/old/")] == ["mounted"] * 2
    with pytest.raises(Conflict):
        register_mount("/files/old/", PlainTextResponse("twice"), app=app)
    register_endpoint("get", "/files/old/exact", says("exact"), app=app)
    assert await text(app, "/files/old/exact") == "exact"
    deregister_mount("files/old", app=app)
    assert await text(app, "/files/old/x/y") == 404


async def test_sockets_come_and_go_and_are_described(app: FastAPI) -> None:
    async def echo(socket: WebSocket, room: str) -> None:
        """Says it again."""
        await socket.accept()
        await socket.send_text(room)
        await socket.close()

    register_websocket_endpoint("/rooms/{room}", echo, app=app)
    assert (await talk(app, "/rooms/7"))[1]["text"] == "7"
    assert app.openapi()["x-websockets"] == {
        "/rooms/{room}": {"summary": "Echo", "description": "Says it again."}
    }
    deregister_websocket_endpoint("/rooms/{room}", app=app)
    assert (await talk(app, "/rooms/7"))[0]["type"] == "websocket.close"
    assert "x-websockets" not in app.openapi()


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


async def test_facilities_of_the_application_reach_routers_of_before(app: FastAPI) -> None:
    router = ServiceAPIRouter()

    wanted = Depends(router.get_facility("tool"))

    async def use(tool: Any = wanted) -> str:
        return type(tool).__name__

    router.add_api_route("/use", use)
    register_router(router, app=app)
    assert await text(app, "/use") == 503
    register_facility("tool", Tool(), app=app)
    assert await text(app, "/use") == "Tool"
    with pytest.raises(Conflict, match="tool"):
        register_facility("tool", Tool(), app=app)
    router.register_facility("tool", 7)  # the router's own come first
    assert await text(app, "/use") == "int"
    deregister_facility("tool", app=app)


async def test_a_plain_application_takes_registrations_too() -> None:
    app = FastAPI()
    router = router_of(list="/list")
    app.add_api_route("/{id}", says("any"))
    register_router(router, app=app)
    assert (await text(app, "/list"), await text(app, "/x")) == ("list", "any")
    deregister_router(router, app=app)
    assert await text(app, "/list") == "any"


async def test_the_main_application_is_meant_where_none_is_named() -> None:
    register_endpoint("get", "/pitfall-main", says("main"))
    try:
        assert await text(get_app(), "/pitfall-main") == "main"
    finally:
        deregister_endpoint("get", "/pitfall-main")
    assert await text(get_app(), "/pitfall-main") == 404


async def test_a_router_s_own_start_and_stop_happen_once_whatever_comes_and_goes(
    app: FastAPI,
) -> None:
    happened: list[str] = []

    class Life:
        def __init__(self, _app: object) -> None: ...

        async def __aenter__(self) -> None:
            happened.append("start")

        async def __aexit__(self, *_: object) -> None:
            happened.append("stop")

    router = APIRouter(lifespan=Life)  # type: ignore[arg-type]
    router.add_api_route("/a", says("a"))
    router.add_api_route("/b", says("b"))
    for _ in range(3):
        register_router(router, app=app)
        deregister_router(router, app=app)
    async with app.router.lifespan_context(app):
        assert happened == ["start"]
    assert happened == ["start", "stop"]


async def test_many_comings_and_goings_leave_nothing(app: FastAPI) -> None:
    router = router_of(a="/a", b="/b/{id}")
    register_router(router, app=app)
    deregister_router(router, app=app)
    gc.collect()
    routes, lifespan = len(app.router.routes), app.router.lifespan_context
    for _ in range(50):
        register_router(router, app=app)
        deregister_router(router, app=app)
    assert (len(app.router.routes), app.router.lifespan_context) == (routes, lifespan)


async def test_a_slash_too_many_is_redirected_as_ever(app: FastAPI) -> None:
    register_router(router_of(ping="/ping"), app=app)
    status, headers, _ = await ask(app, "/ping/")
    assert (status, headers["location"]) == (307, "http://h/ping")


async def test_what_nobody_serves_is_looked_for_once(app: FastAPI) -> None:
    """FastAPI tries every route twice for a 404: of 200 routes, for 780 µs."""
    tried: list[str] = []

    class Counted(APIRoute):
        def matches(self, scope: Scope) -> Any:
            tried.append(scope["path"])
            return super().matches(scope)

    router = APIRouter(route_class=Counted)
    router.add_api_route("/a/{b}", says("a"))
    register_router(router, app=app)
    assert await text(app, "/nowhere/b") == 404
    assert (await talk(app, "/nowhere/b"))[0]["type"] == "websocket.close"
    assert tried == []
    assert await text(app, "/a/b") == "a"


async def test_the_root_path_is_taken_off(app: FastAPI) -> None:
    register_router(router_of(ping="/ping/{id}"), app=app)
    set_metadata(root_path="/base", app=app)
    assert (await text(app, "/base/ping/1"), await text(app, "/ping/1")) == ("ping", "ping")
    register_router(router_of(any="/{a}/{b}/{c}", one="/base/{b}"), app=app)
    assert await text(app, "/base/ping/1") == "ping"
    assert await text(app, "/base/base/1") == "one"


async def test_a_delete_takes_an_empty_object_as_its_body(app: FastAPI) -> None:
    async def remove(thing: str) -> str:
        return thing

    register_endpoint("delete", "/things/{thing}", remove, app=app)
    for body in (b"", b"{}"):
        assert (await ask(app, "/things/7", "DELETE", body))[::2] == (200, b'"7"')


async def test_the_request_knows_its_route_and_router(app: FastAPI) -> None:
    async def tell(request: Request, thing: str) -> list[Any]:
        assert request.path_params == {"thing": thing}
        return [thing, str(request.url_for("tell", thing="9")), request.app is app]

    register_endpoint("get", "/tell/{thing}", tell, app=app)
    found = await AsyncClient("local://", app).tell["7"].get()
    assert (found[0], found[1].endswith("/tell/9"), found[2]) == ("7", True, True)


async def test_absent_things_may_be_deregistered(app: FastAPI) -> None:
    deregister_router(APIRouter(), app=app)
    deregister_endpoint("get", "/x", app=app)
    deregister_mount("/x", app=app)
    deregister_middleware(Tagging, app=app)
    deregister_facility("x", app=app)
    assert await remove_owned("nobody-1.0", 0) == 0
    with pytest.raises((ServiceNotFoundError, ServiceUnavailableError, BaseServiceError)):
        await AsyncClient("local://", app).x.get()
