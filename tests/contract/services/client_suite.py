"""`AsyncClient` over every transport: the same application gives the same answers and errors."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any

import anyio
import pytest
from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, SecretStr

from downstage.auth.principal import Principal
from downstage.auth.tokens import Signer, new_key
from downstage.bus import MemoryBus
from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import Forbidden, InvalidField, NoCapacity, NotFound
from downstage.kernel.limits import MAX_BODY
from downstage.services import AsyncClient
from downstage.services.errors import (
    BaseServiceError,
    ServiceNotFoundError,
    ServiceUnavailableError,
)
from downstage.services.facilities.principal import Authenticator, require
from downstage.services.registry import create_app
from downstage.services.transports import Call, create

from .transport_suite import LIMITS_S, Backend


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    what: str
    count: int = 1
    secret: SecretStr = SecretStr("")


class Seen:
    """What handlers noticed."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.cancelled = anyio.Event()
        self.never = anyio.Event()


KEY = new_key()
ANNA = Principal(subject="anna", name="Anna", kind="user", scopes=frozenset({"sessions:read"}))
TOKEN = Signer(KEY, SystemClock()).sign(ANNA, timedelta(minutes=5)).token


async def key_set() -> dict[str, Any]:
    return {"keys": [KEY.as_dict(private=False)]}


async def no_revocations() -> dict[str, Any]:
    return {"revision": 1, "ids": []}


def build(seen: Seen) -> FastAPI:
    app = create_app("Test")
    app.state.authenticator = Authenticator(
        jwks=key_set, revocations=no_revocations, bus=MemoryBus()
    )

    @app.get("/v1/echo/{item}")
    async def echo(item: str, request: Request, x_mark: Annotated[str, Header()] = "") -> Any:
        return {"item": item, "query": request.query_params.multi_items(), "mark": x_mark}

    @app.post("/v1/orders", status_code=201)
    async def order(order: Order, dry: bool = False) -> Any:
        return {"what": order.what, "secret": order.secret.get_secret_value(), "dry": dry}

    @app.delete("/v1/orders/{item}")
    async def delete(item: str, request: Request) -> Any:
        return {"item": item, "body": (await request.body()).decode()}

    @app.get("/v1/nothing", status_code=204)
    async def nothing() -> None:
        return None

    @app.get("/v1/number")
    async def number(least: Annotated[int, Query(ge=0)]) -> Any:
        return least

    @app.get("/v1/bytes")
    async def raw() -> Response:
        return Response(b"\0\1", media_type="application/octet-stream")

    @app.get("/v1/pieces")
    async def pieces() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for part in (b"one ", b"two ", b"three"):
                yield part

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/v1/broken")
    async def broken() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one "
            raise OSError("the disk is gone")

        return StreamingResponse(parts(), media_type="text/plain")

    @app.get("/v1/fails/{how}")
    async def fails(how: str) -> Any:
        match how:
            case "absent":
                raise NotFound("There is no such thing.", thing="x")
            case "forbidden":
                raise Forbidden("Not you.")
            case "field":
                raise InvalidField("spec.x", "No.")
            case "full":
                raise NoCapacity("Full.", retry_after_s=9)
            case "timeout":
                raise TimeoutError
            case _:
                raise RuntimeError("a defect with a s3cret")

    @app.get("/v1/private")
    async def private(caller: Annotated[Principal, Depends(require("sessions:read"))]) -> Any:
        return caller.subject

    @app.get("/v1/moved")
    async def moved() -> RedirectResponse:
        return RedirectResponse("/v1/number?least=1")

    @app.get("/v1/away")
    async def away() -> RedirectResponse:
        return RedirectResponse("http://elsewhere.invalid/")

    @app.get("/v1/request-id")
    async def request_id(request: Request) -> Any:
        return request.scope["request_id"]

    @app.get("/v1/slow")
    async def slow(request: Request) -> Any:
        seen.started.set()
        try:
            await asyncio.wait_for(seen.never.wait(), 30)
        except asyncio.CancelledError:
            seen.cancelled.set()
            raise

    @app.get("/v1/late/{item}")
    async def late(item: str) -> Any:
        await anyio.sleep(0)
        return item

    @app.post("/v1/raw")
    async def raw_body(request: Request) -> Any:
        return len(await request.body())

    @app.get("/v1/whoami")
    async def whoami(request: Request) -> Any:
        return request.headers.get("authorization", "")

    return app


class ClientSuite(Backend):
    """Everything that a caller may rely on, however it reaches the service."""

    @pytest.fixture
    def seen(self, anyio_backend: str) -> Seen:
        return Seen()

    @pytest.fixture
    async def address(self, seen: Seen) -> AsyncIterator[str]:
        app = build(seen)
        async with self.serve(app) as address:
            yield address

    @pytest.fixture
    def client(self, address: str) -> AsyncClient:
        return AsyncClient(address, timeout_s=20)

    async def test_values_go_there_and_back(self, client: AsyncClient) -> None:
        got = await client.v1.echo["a bä%?#"].get(x=["1", "ä&="], __headers__={"X-Mark": "m"})
        assert (got["item"], got["mark"]) == ("a bä%?#", "m")
        assert got["query"] == [["x", "1"], ["x", "ä&="]]

    async def test_bodies(self, client: AsyncClient) -> None:
        order = Order(what="stage", secret=SecretStr("pw"))
        expected = {"what": "stage", "secret": "pw", "dry": True}
        assert await client.v1.orders.post(order, dry=True) == expected
        assert (await client.v1.orders.post(what="stage"))["what"] == "stage"
        assert await client.v1.orders["7"].delete() == {"item": "7", "body": ""}
        assert await client.v1.orders["7"].delete(a=1) == {"item": "7", "body": '{"a":1}'}

    async def test_kinds_of_answers(self, client: AsyncClient) -> None:
        assert await client.v1.nothing.get() is None
        assert await client.v1.bytes.get() == b"\0\1"
        assert await client.v1.pieces.get() == "one two three"
        assert await client.status.get() == "OK"

    @pytest.mark.parametrize(
        ("how", "status", "code", "kind"),
        [
            ("absent", 404, "not-found", ServiceNotFoundError),
            ("forbidden", 403, "forbidden", BaseServiceError),
            ("field", 422, "invalid-field", BaseServiceError),
            ("full", 503, "capacity", ServiceUnavailableError),
            ("timeout", 500, "internal", BaseServiceError),
            ("defect", 500, "internal", BaseServiceError),
        ],
    )
    async def test_errors_of_handlers(
        self, client: AsyncClient, how: str, status: int, code: str, kind: type[BaseServiceError]
    ) -> None:
        with pytest.raises(BaseServiceError) as caught:
            await client.v1.fails[how].get(__headers__={"x-request-id": "r-7"})
        error = caught.value
        assert type(error) is kind
        assert (error.status, error.code, error.request_id) == (status, code, "r-7")
        assert error.headers["content-type"] == "application/problem+json"
        assert error.problem is not None
        assert error.problem["request_id"] == "r-7"
        assert error.retry_after == (9 if how == "full" else None)
        assert "s3cret" not in json.dumps(error.problem)

    async def test_unknown_paths_and_methods(self, client: AsyncClient) -> None:
        with pytest.raises(ServiceNotFoundError) as absent:
            await client.v1.nowhere.get()
        assert absent.value.code == "not-found"
        with pytest.raises(BaseServiceError) as method:
            await client.v1.number.put()
        assert (method.value.status, method.value.headers["allow"]) == (405, "GET")
        with pytest.raises(ServiceNotFoundError):
            await client.v1.echo["one/two"].get()

    @pytest.mark.parametrize(
        ("keywords", "field"),
        [
            ({}, "body"),
            ({"what": 5}, "what"),
            ({"what": "x", "colour": "red"}, "colour"),
            ({"what": "x", "k" * 5000: "red"}, "k" * 256),
        ],
    )
    async def test_validation_names_the_field(
        self, client: AsyncClient, keywords: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(BaseServiceError) as caught:
            await client.v1.orders.post(**keywords)
        assert caught.value.problem is not None
        assert (caught.value.status, caught.value.problem["field"]) == (422, field)
        with pytest.raises(BaseServiceError) as query:
            await client.v1.number.get(least=-1)
        assert query.value.problem is not None
        assert query.value.problem["field"] == "least"

    async def test_a_body_that_is_no_json_is_400(self, address: str) -> None:
        answer = await raw(address, "/v1/orders", b"{")
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "invalid-input")

    async def test_a_large_body_is_413(self, client: AsyncClient, address: str) -> None:
        with pytest.raises(BaseServiceError) as caught:
            await client.v1.orders.post(what="x" * MAX_BODY)
        assert (caught.value.status, caught.value.code) == (413, "too-large")
        exact = await raw(address, "/v1/raw", b"x" * MAX_BODY)
        assert (exact.status, exact.body) == (200, str(MAX_BODY).encode())

    async def test_a_protected_route_asks_for_a_token(
        self, client: AsyncClient, address: str
    ) -> None:
        """Being in the same process is no reason to be let in."""
        assert await AsyncClient(address, token=TOKEN).v1.private.get() == "anna"
        with pytest.raises(BaseServiceError) as caught:
            await client.v1.private.get()
        assert (caught.value.status, caught.value.code) == (401, "unauthenticated")
        assert caught.value.headers["www-authenticate"] == "Bearer"

    async def test_the_callers_token_is_sent_and_no_other(self, address: str) -> None:
        assert await AsyncClient(address, token="t").v1.whoami.get() == "Bearer t"
        assert await AsyncClient(address).v1.whoami.get() == ""

    async def test_a_redirect_is_followed_at_home_alone(self, client: AsyncClient) -> None:
        assert await client.v1.moved.get() == 1
        with pytest.raises(BaseServiceError) as caught:
            await client.v1.away.get()
        assert caught.value.status == 307

    async def test_an_answer_that_breaks_off_is_an_error(self, client: AsyncClient) -> None:
        with pytest.raises(ServiceUnavailableError):
            await client.v1.broken.get()

    @pytest.mark.parametrize("given", ["bad id!", "x" * 65, "", None])
    async def test_ill_formed_request_ids_are_replaced(
        self, client: AsyncClient, given: str | None
    ) -> None:
        headers = {} if given is None else {"x-request-id": given}
        assert uuid.UUID(await client.v1.request_id.get(__headers__=headers)).version == 4

    async def test_a_deadline_is_kept(self, address: str, seen: Seen) -> None:
        for limit_s in LIMITS_S:
            client = AsyncClient(address, timeout_s=limit_s)
            with (
                pytest.raises(ServiceUnavailableError, match="no answer within"),
                anyio.fail_after(limit_s + 3),
            ):
                await client.v1.slow.get()
            if seen.started.is_set():
                break
        assert seen.started.is_set()
        seen.never.set()

    async def test_cancellation_is_no_error_and_ends_the_call(
        self, client: AsyncClient, seen: Seen
    ) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.v1.slow.get)
            with anyio.fail_after(20):
                await seen.started.wait()
            tasks.cancel_scope.cancel()
        assert tasks.cancel_scope.cancelled_caught
        seen.never.set()
        assert await client.v1.late.x.get() == "x"

    @given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=4))
    @settings(
        max_examples=30,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    async def test_any_query_arrives(
        self, client: AsyncClient, pairs: list[tuple[str, str]]
    ) -> None:
        plain = {k: v for k, v in pairs if not k.startswith("__") and k.isprintable()}
        try:
            json.dumps(plain, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return
        assert (await client.v1.echo.x.get(**plain))["query"] == [[k, v] for k, v in plain.items()]

    async def test_nobody_there_is_unavailable(self) -> None:
        with pytest.raises(ServiceUnavailableError) as caught:
            await AsyncClient(self.nobody, timeout_s=2).v1.echo.x.get()
        assert caught.value.status is None
        assert "pw" not in str(caught.value)
        assert "pw" not in caught.value.url


async def raw(address: str, path: str, body: bytes) -> Any:
    """A call with a body of any bytes."""
    headers = {"content-type": "application/json"}
    return await create(address).request(Call("POST", path, (), headers, body, 5))
