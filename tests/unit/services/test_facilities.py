"""Facilities: made when asked for, found by type and name, closed in reverse."""

from __future__ import annotations

import hmac
import json
import subprocess
import sys
from typing import Annotated, Any

import anyio
import pytest
from fastapi import Depends, FastAPI
from structlog.testing import capture_logs

from downstage.kernel.errors import Conflict, InvalidToken, SetupError, Unavailable
from downstage.services import AsyncClient, ServiceAPIRouter, registry
from downstage.services.errors import BaseServiceError
from downstage.services.extension import IExt
from downstage.services.facilities import (
    ApiKeyHeader,
    Facility,
    FacilitySet,
    MetricsFacility,
    Principal,
    ProgressFacility,
    SchedulerFacility,
    facility,
    injection,
    principal_or_none,
)
from downstage.services.facilities.principal import Authenticator
from downstage.services.registry import create_app
from downstage.services.transports import Call, create

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Lamp(Facility):
    facility_name = "lamp"

    def __init__(self, ends: list[str] | None = None, name: str = "lamp") -> None:
        self.ends = [] if ends is None else ends
        self.name = name

    def stop(self) -> None:
        self.ends.append(self.name)


class Slow(Lamp):
    facility_name = "slow"

    async def stop(self) -> None:
        await anyio.sleep_forever()


class Broken(Lamp):
    facility_name = "broken"

    async def stop(self) -> None:
        self.ends.append(self.name)
        raise ValueError("at the end")


class Tool(Facility):
    """Not made by itself."""


def test_it_is_made_once_and_found_by_name_and_type() -> None:
    found = FacilitySet("a-1")
    assert found.names() == []
    lamp = found.find(Lamp)
    assert found.find(Lamp) is lamp is found.get("lamp")
    metrics = found.get("metrics")
    assert isinstance(metrics, MetricsFacility)
    assert found.find(MetricsFacility) is metrics
    assert found.names() == ["lamp", "metrics"]


def test_a_derived_one_stands_for_its_base() -> None:
    found = FacilitySet("a-1")
    found.register("mine", Broken())
    assert isinstance(found.find(Lamp), Broken)


def test_what_is_absent_is_said() -> None:
    found = FacilitySet("a-1")
    with pytest.raises(Unavailable, match="a-1 has no facility of the type Tool"):
        found.find(Tool)
    with pytest.raises(Unavailable, match="named tool"):
        found.get("tool")
    found.register("tool", "hammer")
    assert (found.get("tool"), found.find(str)) == ("hammer", "hammer")
    with pytest.raises(Conflict, match="tool already"):
        found.register("tool", "saw")
    found.register("lamp", "none")
    with pytest.raises(Unavailable, match="is no Lamp"):
        found.find(Lamp)


async def test_all_are_stopped_in_reverse_whatever_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(injection, "STOP_S", 0.05)
    ends = list[str]()
    found = FacilitySet("a-1")
    for name, kind in (("first", Lamp), ("broken", Broken), ("slow", Slow), ("last", Lamp)):
        found.register(name, kind(ends, name))
    found.register("plain", object())
    with capture_logs() as logs:
        await found.close()
        await found.close()
    assert ends == ["last", "broken", "first"]
    assert [(log["event"], log["name"]) for log in logs] == [
        ("facility.stop_timed_out", "slow"),
        ("facility.stop_failed", "broken"),
    ]
    for use in (lambda: found.find(Lamp), lambda: found.get("x"), lambda: found.register("x", 1)):
        with pytest.raises(Unavailable, match="has stopped"):
            use()


async def test_cancellation_does_not_keep_from_stopping() -> None:
    ends = list[str]()

    class Patient(Facility):
        async def stop(self) -> None:
            await anyio.lowlevel.checkpoint()
            ends.append("lamp")

    found = FacilitySet("a-1")
    found.register("lamp", Patient())
    with anyio.CancelScope() as scope:
        scope.cancel()
        await found.close()
    assert ends == ["lamp"]


class Wants(IExt):
    metrics: MetricsFacility
    lamp: Lamp
    number: int
    given: Lamp = Lamp()


class WantsMore(Wants):
    tool: Tool


def test_annotated_attributes_are_set() -> None:
    found = FacilitySet("a-1")
    extension = Wants()
    found.inject(extension)
    assert extension.metrics is found.get("metrics")
    assert extension.lamp is found.find(Lamp)
    assert extension.given is Wants.given
    assert not hasattr(extension, "number")
    with pytest.raises(Unavailable, match="Tool"):
        found.inject(WantsMore())


def test_without_tasks_there_is_no_scheduler() -> None:
    with pytest.raises(SetupError, match="in the background"):
        FacilitySet("a-1").find(SchedulerFacility)


@pytest.fixture
def app() -> FastAPI:
    app = create_app("Test")

    @app.get("/by-type")
    async def by_type(lamp: Annotated[Lamp, Depends(facility(Lamp))]) -> str:
        return lamp.name

    @app.get("/by-name")
    async def by_name(tool: Annotated[Any, Depends(facility("tool"))]) -> Any:
        return tool

    @app.get("/caller")
    async def caller(who: Annotated[Principal, Depends(facility(Principal))]) -> str:
        return who.name

    @app.get("/maybe")
    async def maybe(who: Annotated[Principal | None, Depends(principal_or_none)]) -> str:
        return who.name if who else "nobody"

    return app


@pytest.fixture
def client(app: FastAPI) -> AsyncClient:
    return AsyncClient("local://", app)


async def ask(app: FastAPI, path: str) -> tuple[int, Any]:
    """Status, and the answer or the error's sentence; nothing is tried again."""
    answer = await create("local://", app).request(Call("GET", path))
    body = json.loads(answer.body)
    return answer.status, body["detail"] if isinstance(body, dict) else body


async def test_handlers_are_answered_when_the_request_comes(app: FastAPI) -> None:
    assert await ask(app, "/by-type") == (503, "This application has no facilities.")
    app.state.facilities = FacilitySet("a-1")
    assert await ask(app, "/by-type") == (200, "lamp")
    assert await ask(app, "/by-name") == (503, "a-1 has no facility named tool.")
    app.state.facilities.register("tool", "hammer")
    assert await ask(app, "/by-name") == (200, "hammer")
    await app.state.facilities.close()
    assert await ask(app, "/by-type") == (503, "a-1 has stopped.")


async def test_what_all_share_is_found_last(app: FastAPI) -> None:
    registry.register_facility("tool", "everybody's", app=app)
    registry.register_facility("light", Lamp(name="shared"), app=app)
    assert await ask(app, "/by-name") == (200, "everybody's")
    assert await ask(app, "/by-type") == (200, "shared")
    app.state.facilities = FacilitySet("a-1")
    app.state.facilities.register("tool", "own")
    assert await ask(app, "/by-name") == (200, "own")
    assert await ask(app, "/by-type") == (200, "lamp")


async def test_two_extensions_on_one_application_have_their_own(app: FastAPI) -> None:
    routers = list[ServiceAPIRouter]()
    for owner in ("a-1", "b-1"):
        FacilitySet(owner).register("tool", f"tool of {owner}")
        router = ServiceAPIRouter(prefix=owner)

        @router.get("/use")
        async def use(tool: Annotated[Any, Depends(facility("tool"))]) -> Any:
            return tool

        with registry.owner(owner):
            registry.register_router(router, app=app)
        routers.append(router)
    assert await ask(app, "/a-1/use") == (200, "tool of a-1")
    assert await ask(app, "/b-1/use") == (200, "tool of b-1")
    assert (await ask(app, "/by-name"))[0] == 503


class OneToken(Authenticator):
    """Knows one token."""

    def __init__(self) -> None:
        """Without keys: nothing is verified here."""

    async def principal(self, token: str) -> Principal:
        if token != "t":
            raise InvalidToken
        return Principal(subject="u-1", name="anna", kind="user")


async def test_the_caller_is_a_facility(app: FastAPI, client: AsyncClient) -> None:
    app.state.authenticator = OneToken()
    known = AsyncClient("local://", app, token="t")
    assert (await known.caller.get(), await known.maybe.get()) == ("anna", "anna")
    assert await client.maybe.get() == "nobody"
    wrong = AsyncClient("local://", app, token="wrong")
    for call in (client.caller.get, wrong.caller.get, wrong.maybe.get):
        with pytest.raises(BaseServiceError) as caught:
            await call()
        assert caught.value.status == 401


async def check_later(key: str) -> bool:
    return key == "second"


KEYS = ApiKeyHeader([lambda key: key == "first", check_later])


async def test_an_api_key_lets_in() -> None:
    app = create_app("Keys")

    @app.get("/in")
    async def enter(key: Annotated[str, Depends(KEYS)]) -> str:
        return key

    client = AsyncClient("local://", app)
    for good in ("first", "second"):
        assert await client["in"].get(__headers__={"X-API-KEY": good}) == good
    for bad in ({}, {"x-api-key": "third"}, {"x-api-key": ""}, {"x-api-key": "x" * 2000}):
        with pytest.raises(BaseServiceError) as caught:
            await client["in"].get(__headers__=bad)
        assert caught.value.status == 401
        assert caught.value.problem is not None
    schemes = app.openapi()["components"]["securitySchemes"]
    assert schemes == {"api key": {"type": "apiKey", "in": "header", "name": "X-API-KEY"}}


def test_keys_need_a_check() -> None:
    with pytest.raises(SetupError, match="check_functions"):
        ApiKeyHeader([])


async def test_a_check_that_is_merely_truthy_does_not_let_in() -> None:
    """A check that forgets to compare, and returns the row or an error text, must not open."""
    app = create_app("Keys")

    @app.get("/in", dependencies=[Depends(ApiKeyHeader([lambda key: "no such key"]))])
    async def enter() -> str:
        return "in"

    with pytest.raises(BaseServiceError, match="not valid"):
        await AsyncClient("local://", app)["in"].get(__headers__={"x-api-key": "a"})


def test_importing_facilities_imports_no_engine() -> None:
    code = (
        "import sys; from downstage.services.facilities import FacilitySet, MetricsFacility, "
        "DatabaseFacility, ProgressFacility, SchedulerFacility, facility; "
        "print([m for m in ('prometheus_client', 'sqlalchemy', 'alembic', 'sse_starlette') "
        "if m in sys.modules])"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "[]"


async def test_progress_is_injected_into_the_extension_that_asks() -> None:
    assert isinstance(FacilitySet("a-1").get("progress"), ProgressFacility)


async def test_a_key_beyond_ascii_is_no_crash_of_the_check() -> None:
    app = create_app("Keys")
    key = ApiKeyHeader([lambda key: hmac.compare_digest(key, "first")])

    @app.get("/in", dependencies=[Depends(key)])
    async def enter() -> str:
        return "in"

    with pytest.raises(BaseServiceError, match="not valid") as caught:
        await AsyncClient("local://", app)["in"].get(__headers__={"x-api-key": "é"})
    assert caught.value.status == 401


async def test_one_that_leaves_at_its_end_takes_nobody_along() -> None:
    ends = list[str]()

    class Leaver:
        def stop(self) -> None:
            sys.exit(3)

    found = FacilitySet("a-1")
    found.register("first", Lamp(ends, "first"))
    found.register("leaver", Leaver())
    await found.close()
    assert ends == ["first"]


async def test_keys_are_one_and_of_sensible_size() -> None:
    app = create_app("Keys")
    seen = list[str]()

    def accept(key: str) -> bool:
        seen.append(key)
        return True

    @app.get("/in", dependencies=[Depends(ApiKeyHeader([accept]))])
    async def enter() -> str:
        return "in"

    async def knock(*keys: str) -> int:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/in",
            "raw_path": b"/in",
            "query_string": b"",
            "headers": [(b"x-api-key", key.encode()) for key in keys],
        }
        status = list[int]()

        async def send(message: Any) -> None:
            status.append(message.get("status", 0))

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        await app(scope, receive, send)
        return status[0]

    assert await knock("good") == 200
    for keys in (("good", "good"), ("",), ("x" * 1025,)):
        assert await knock(*keys) == 401
    assert seen == ["good"]
