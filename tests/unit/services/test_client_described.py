"""Calls that are understood by a description: paths, places of keywords, help at the keyboard."""

from __future__ import annotations

import copy
import inspect
import json
import time
from collections.abc import Awaitable
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, cast
from uuid import UUID

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from downstage.services import AsyncClient, BaseServiceError, describe, register
from downstage.services.client import catalog
from downstage.services.description import AmbiguousPath, Description
from downstage.services.transports import Answer, Call

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

JSON = {"content-type": "application/json"}


class House:
    """A service that describes itself, and answers what it was asked."""

    document: Any = None
    calls: list[Call]
    missing: set[str]

    def __init__(self, uri: str, app: Any = None) -> None:
        del uri, app

    async def request(self, call: Call) -> Answer:
        if call.path == "/openapi.json":
            type(self).calls.append(call)
            await anyio.sleep(0)
            if self.document is None:
                return Answer(404, JSON, b"{}")
            return Answer(200, JSON, json.dumps(self.document).encode())
        type(self).calls.append(call)
        if call.path in self.missing:
            return Answer(404, JSON, b"{}")
        return Answer(200, JSON, json.dumps([call.method, call.path]).encode())


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    House.document, House.calls, House.missing = None, [], set()
    register("house", House)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    catalog._shared.clear()


def operation(**more: Any) -> dict[str, Any]:
    return {"responses": {"200": {"description": "good"}}, **more}


def parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


def document(paths: dict[str, Any]) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "House", "version": "1"}, "paths": paths,
            "servers": [{"url": "http://169.254.169.254/"}]}  # fmt: skip


PATHS = {
    "/v1/a_b": {"get": operation(summary="Exact")},
    "/v1/a-b": {"get": operation(), "post": operation()},
    "/v1/c-d": {"delete": operation()},
    "/v1/things": {
        "get": operation(
            summary="List the things",
            description="All of them.",
            parameters=[
                parameter("limit", "query"),
                parameter("X-Mark", "header"),
                parameter("crumb", "cookie"),
            ],
        ),
        "post": operation(parameters=[parameter("dry", "query")]),
    },
    "/v1/things/{thing_id}": {
        "get": operation(parameters=[parameter("thing_id", "path")]),
        "put": operation(parameters=[parameter("thing_id", "path")]),
    },
    "/v1/form": {
        "post": operation(
            requestBody={"content": {"application/x-www-form-urlencoded": {"schema": {}}}}
        )
    },
    "/v1/files": {
        "post": operation(requestBody={"content": {"multipart/form-data": {"schema": {}}}})
    },
    "/v1/only/put": {"put": operation()},
    "/get/pages": {"post": operation()},
    "/ws": {"get": operation()},
}


@pytest.fixture
def house() -> AsyncClient:
    return AsyncClient("house://h", description=document(PATHS))


def last() -> Call:
    return House.calls[-1]


async def test_exact_names_come_before_dashes(house: AsyncClient) -> None:
    assert await house.v1.a_b.get() == ["GET", "/v1/a_b"]
    assert await house.v1.c_d.delete() == ["DELETE", "/v1/c-d"]
    assert await house.v1["a-b"].get() == ["GET", "/v1/a-b"]
    assert await house.v1["c_d"].delete() == ["DELETE", "/v1/c_d"]
    assert await house.unknown_path.get() == ["GET", "/unknown-path"]


async def test_two_names_that_fit_alike_are_an_error_that_names_both() -> None:
    paths = {"/a-b_c": {"get": operation()}, "/a_b-c": {"get": operation()}}
    client = AsyncClient("house://h", description=document(paths))
    with pytest.raises(AmbiguousPath, match="a_b-c") as caught:
        await client.a_b_c.get()
    assert "a-b_c" in str(caught.value)
    assert await client["a_b-c"].get() == ["GET", "/a_b-c"]


async def test_parameters_are_taken_verbatim(house: AsyncClient) -> None:
    assert await house.v1.things.a_b.get() == ["GET", "/v1/things/a_b"]
    assert await house.v1.things.get("a_b") == ["GET", "/v1/things/a_b"]
    assert await house.v1.things.get(thing_id="a_b/c") == ["GET", "/v1/things/a_b%2Fc"]
    assert await house.v1.things.get(thing_id="x") == ["GET", "/v1/things/x"]


async def test_without_a_verb_the_description_says_it(house: AsyncClient) -> None:
    assert await house.v1.c_d() == ["DELETE", "/v1/c-d"]
    assert await house.v1.only.put() == ["PUT", "/v1/only"]
    assert await house.v1.only["put"]() == ["PUT", "/v1/only/put"]
    assert await house.v1.things() == ["POST", "/v1/things"]


async def test_keywords_go_where_the_operation_wants_them(house: AsyncClient) -> None:
    await house.v1.things.get(limit=3, x_mark="m", crumb="c;1", other=["a", "b"], none=None)
    assert last().query == (("limit", "3"), ("other", "a"), ("other", "b"))
    assert {k.lower(): v for k, v in last().headers.items()}["x-mark"] == "m"
    assert last().headers["cookie"] == "crumb=c%3B1"
    await house.v1.things.post(dry=True, name="n")
    assert (last().query, json.loads(cast("bytes", last().body))) == (
        (("dry", "true"),), {"name": "n"}
    )  # fmt: skip
    await house.v1.things.post({"name": "n"}, dry=True)
    assert (last().query, last().body) == ((("dry", "true"),), b'{"name":"n"}')


async def test_a_header_by_keyword_cannot_smuggle(house: AsyncClient) -> None:
    with pytest.raises(ValueError, match="header"):
        await house.v1.things.get(x_mark="a\r\nb: c")
    assert House.calls == []


async def test_forms_are_sent_as_the_operation_wants_them(house: AsyncClient) -> None:
    await house.v1.form.post(a="ä&", b=[1, 2])
    assert last().body == b"a=%C3%A4%26&b=1&b=2"
    assert last().headers["content-type"] == "application/x-www-form-urlencoded"
    await house.v1.files.post(a="x", file=b"\0", marks={"b"})
    kind = last().headers["content-type"]
    body = b"".join([piece async for piece in cast("Any", last().body)])
    assert kind.startswith("multipart/form-data; boundary=")
    assert int(last().headers["content-length"]) == len(body)
    assert body.startswith(b"--" + kind.partition("=")[2].encode())
    assert b'name="marks"\r\n\r\nb\r\n' in body


async def test_suffixes_hide_no_path(house: AsyncClient) -> None:
    """What may follow a verb is a path again as soon as the path names its own verb."""
    assert await house.get.pages.post() == ["POST", "/get/pages"]
    assert await house.get["pages"]() == ["POST", "/get/pages"]
    assert await house.ws.get() == ["GET", "/ws"]
    for name in ("curl", "download", "pages", "stream", "upload"):
        assert await getattr(house, name)() == ["POST", f"/{name}"]
        assert await getattr(house.x, name)() == ["POST", f"/x/{name}"]
        assert await getattr(house.x.get, name).get() == ["GET", f"/x/get/{name}"]
    for name in ("stop", "stop_async", "call", "register", "unregister", "mro"):
        assert await house[name].get() == ["GET", f"/{name}"]
    for name in ("call", "register", "get_available_transports", "mro", "describe", "request"):
        assert (await getattr(house, name).get())[1] == f"/{name.replace('_', '-')}"


async def test_it_is_fetched_when_a_call_could_need_it_and_once() -> None:
    House.document = document(PATHS)
    client = AsyncClient("house://once", token="t0ken")
    await client.v1.things.get()
    assert len(House.calls) == 1
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(client.v1.a_b.get)
    fetched = [call for call in House.calls if call.path == "/openapi.json"]
    assert len(fetched) == 1
    assert fetched[0].headers["authorization"] == "Bearer t0ken"
    assert all(call.path == "/v1/a_b" for call in House.calls[2:])
    # Another client of the same address and the same caller does without.
    await AsyncClient("house://once", token="t0ken").v1.a_b.get()
    assert last().path == "/v1/a_b"
    assert len([call for call in House.calls if call.path == "/openapi.json"]) == 1
    await AsyncClient("house://once", token="other").v1.a_b.get()
    assert len([call for call in House.calls if call.path == "/openapi.json"]) == 2


async def test_at_a_keyboard_the_first_call_fetches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    House.document = document(PATHS)
    client = AsyncClient("house://keyboard")
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    await client.v1.things.get()
    assert [call.path for call in House.calls] == ["/openapi.json", "/v1/things"]
    assert "things" in dir(client.v1)


async def test_where_there_is_none_it_is_not_asked_for_again() -> None:
    client = AsyncClient("house://none")
    assert await client.a_b.get(x=1) == ["GET", "/a-b"]
    assert await client.a_b.get(x=1) == ["GET", "/a-b"]
    assert [call.path for call in House.calls] == ["/openapi.json", "/a-b", "/a-b"]
    House.calls.clear()
    together = AsyncClient("house://none-too")
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(together.a_b.get)
    assert len([call for call in House.calls if call.path == "/openapi.json"]) == 1


class Dumb(House):
    """Answers calls, and keeps silent on itself."""

    async def request(self, call: Call) -> Answer:
        if call.path == "/openapi.json":
            type(self).calls.append(call)
            await anyio.sleep_forever()
        return await super().request(call)


@pytest.mark.usefixtures("leaping_clock")
async def test_a_description_that_does_not_come_leaves_the_call_its_time() -> None:
    register("dumb", Dumb)
    client = AsyncClient("dumb://h", timeout_s=0.6)
    done: list[Any] = []

    async def call(**given: Any) -> None:
        done.append(await client.v1.things.get(x=1, **given))

    with anyio.fail_after(2):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(partial(call, __timeout__=0.3))
    assert done == [["GET", "/v1/things"]] * 2
    asked = [call for call in Dumb.calls if call.path == "/openapi.json"]
    assert [call.timeout_s for call in asked] == [pytest.approx(0.3)]
    assert await client.v1.things.get(x=1) == ["GET", "/v1/things"]
    assert len(Dumb.calls) == len(asked) + 3
    held = client.v1.__dict__["things"]._performer._engine.catalog._not_before - time.monotonic()
    assert held < 5


@pytest.mark.usefixtures("leaping_clock")
async def test_one_in_a_hurry_spoils_it_for_nobody() -> None:
    class Slow(House):
        async def request(self, call: Call) -> Answer:
            if call.path == "/openapi.json":
                await anyio.sleep(0.25)
            return await super().request(call)

    register("slow", Slow)
    House.document = document({"/v1/a_b": {"get": operation()}})
    client = AsyncClient("slow://h")
    done: list[Any] = []

    async def call(timeout_s: float) -> None:
        done.append(await client.v1.a_b.get(__timeout__=timeout_s))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, 0.3)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(call, 5)
    assert done == [["GET", "/v1/a-b"], ["GET", "/v1/a_b"]]
    later = AsyncClient("slow://later")
    assert await later.v1.a_b.get(__timeout__=0.3) == ["GET", "/v1/a-b"]
    assert await later.v1.a_b.get() == ["GET", "/v1/a_b"]


@pytest.mark.usefixtures("leaping_clock")
async def test_what_is_asked_again_after_a_404_has_the_rest_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(House):
        async def request(self, call: Call) -> Answer:
            if call.path == "/openapi.json":
                await anyio.sleep(0.05)
            return await super().request(call)

    register("slow", Slow)
    monkeypatch.setattr(catalog, "LEAST_AGE_S", 0.0)
    House.document = document({"/v1/a_b": {"get": operation()}})
    client = AsyncClient("slow://h", timeout_s=5)
    await client.v1.a_b.get()
    House.document = document({"/v1/a-b": {"get": operation()}})
    House.missing = {"/v1/a_b"}
    assert await client.v1.a_b.get() == ["GET", "/v1/a-b"]
    before, after = [call.timeout_s or 0 for call in House.calls if "/v1/" in call.path][-2:]
    assert before - after == pytest.approx(0.05)


async def test_it_can_be_done_without() -> None:
    House.document = document(PATHS)
    client = AsyncClient("house://h", description=None)
    assert await client.v1.a_b.get(x=1) == ["GET", "/v1/a-b"]
    assert len(House.calls) == 1
    assert await describe(client) is None


async def test_after_a_404_the_description_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog, "LEAST_AGE_S", 0)
    House.document = document({"/x": {"get": operation()}})
    House.missing = {"/new-one"}
    client = AsyncClient("house://moving")
    with pytest.raises(BaseServiceError):
        await client.new_one.get()
    House.document = document({"/new_one": {"get": operation()}})
    assert await client.new_one.get() == ["GET", "/new_one"]
    # What calls that were made before meant is found out anew, too.
    House.document = document({"/a-b": {"get": operation()}})
    other = AsyncClient("house://moving-too")
    for _ in range(2):
        assert await other.a_b.get() == ["GET", "/a-b"]
    House.document = document({"/a_b": {"get": operation()}})
    with pytest.raises(BaseServiceError):
        await other.new_one.get()
    assert await other.a_b.get() == ["GET", "/a_b"]


async def test_help_at_the_keyboard_makes_no_request() -> None:
    House.document = document(PATHS)
    client = AsyncClient("house://keyboard")
    assert {"get", "post", "ws", "stop"} <= set(dir(client))
    assert "get" in dir(client.v1)
    assert House.calls == []
    found = await describe(client)
    assert isinstance(found, Description)
    House.calls.clear()
    assert {"v1", "get", "ws"} <= set(dir(client))
    assert {"things", "a_b", "c_d"} <= set(dir(client.v1))
    assert {"get", "post"} <= set(dir(client.v1.things))
    assert dir(client.v1.things.get) == ["curl", "download", "pages", "stream", "upload"]
    assert "limit" in inspect.signature(client.v1.things.get).parameters
    assert "List the things" in inspect.getdoc(client.v1.things.get)  # type: ignore[operator]
    assert inspect.signature(client.unknown.get)
    assert inspect.signature(type(client.unknown))
    assert isinstance(type(client.unknown).__doc__, str)
    assert copy.deepcopy(client) is client
    assert copy.copy(client.v1) is client.v1
    assert House.calls == []


async def test_A17_servers_and_climbing_paths_of_a_description_are_ignored(
    house: AsyncClient,
) -> None:
    assert await house.v1.things.get() == ["GET", "/v1/things"]
    hostile = {"/v1/../admin/{x}": {"get": operation()}, "/v1/./b": {"get": operation()}}
    client = AsyncClient("house://h", description=document(hostile))
    with pytest.raises(ValueError, match="no path segment"):
        await client.v1[".."].admin.get("x")
    for name in ("__class__x", "__deepcopy__", "_x"):
        with pytest.raises(AttributeError):
            getattr(client.v1, name)
    for call in House.calls:
        assert ".." not in call.path


class Colour(Enum):
    RED = "red"


class Aliased(BaseModel):
    name: str = Field(alias="theName")
    secret: SecretStr = SecretStr("pw")


class Struct(msgspec.Struct):
    x: int


async def test_values_of_many_types(house: AsyncClient) -> None:
    await house.a.get(date(2026, 1, 2), Decimal("1.5"), Colour.RED, UUID(int=1), 7, True)
    assert last().path == f"/a/2026-01-02/1.5/red/{UUID(int=1)}/7/true"
    await house.a.get(x={"a": 1}, y=timedelta(minutes=5), z={Colour.RED}, d=Decimal("1.5"))
    assert last().query == (("x", '{"a":1}'), ("y", "PT300S"), ("z", "red"), ("d", "1.5"))
    await house.a.post(Aliased(theName="n"))
    assert last().body == b'{"theName":"n","secret":"pw"}'
    await house.a.post(Struct(1))
    assert last().body == b'{"x":1}'
    await house.a.post([1, 2])
    assert last().body == b"[1,2]"
    await house.a.post(b"\0")
    assert (last().body, last().headers["content-type"]) == (b"\0", "application/octet-stream")
    with pytest.raises(TypeError, match="None"):
        await house.a.get(None)
    with pytest.raises(TypeError, match="JSON"):
        await house.a.post(x=object())
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested"):
        await house.a.post(x=deep)
    while deep:  # else collecting it recurses
        deep = deep.pop()


async def test_raw_calls_are_laid_out_by_the_caller(house: AsyncClient) -> None:
    await house.v1.things.post(
        __raw__=True, data={"a": "1"}, params=[("x", "1"), ("x", "2")], headers={"X-A": "b"}
    )
    assert (last().body, last().query) == (b"a=1", (("x", "1"), ("x", "2")))
    assert last().headers["X-A"] == "b"
    assert last().headers["content-type"] == "application/x-www-form-urlencoded"
    await house.v1.things.post(__raw__=True, json={"limit": 1})
    assert last().body == b'{"limit":1}'
    await house.v1.things.post(__raw__=True, data="ä")
    assert (last().body, last().headers["content-type"][:10]) == ("ä".encode(), "text/plain")
    await house.v1.things.post(__raw__=True, content=b"x", __headers__={"Content-Type": "a/b"})
    assert (last().headers["Content-Type"], last().body) == ("a/b", b"x")
    assert "content-type" not in last().headers
    with pytest.raises(TypeError, match="one body"):
        await house.v1.things.post(__raw__=True, data=b"x", json={})
    with pytest.raises(TypeError, match="raw call"):
        await house.v1.things.post(__raw__=True, timeout=3)


async def test_special_keywords_that_are_none_are_named(house: AsyncClient) -> None:
    with pytest.raises(TypeError, match="__header__"):
        await house.a.get(__header__={})
    with pytest.raises(ValueError, match="method"):
        await house.a(__method__="GET /x HTTP/1.1\r\n")
    assert House.calls == []


async def test_a_path_that_tools_call_is_reached_where_it_is_described() -> None:
    client = AsyncClient("house://h", description=document({"/v1/getdoc": {"get": operation()}}))
    assert not hasattr(client, "getdoc")
    assert await client.v1.getdoc.get() == ["GET", "/v1/getdoc"]


# Words with and without both signs, verbs, suffixes, and any Unicode.
PLAIN = st.sampled_from(["get", "post", "pages", "stream", "ws", "a", "b", "a_b", "a-b", "x"])
NAMES = st.one_of(
    PLAIN,
    st.from_regex(r"[a-z][a-z0-9]{0,4}([_-][a-z0-9]{1,4}){0,3}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
).filter(lambda name: name not in (".", "..") and not set(name) & set("{}/"))
VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda value: value not in (".", "..")
)
TEMPLATES = st.lists(st.tuples(st.booleans(), NAMES), min_size=1, max_size=4)


@settings(max_examples=60)
@given(st.data(), st.lists(TEMPLATES, min_size=1, max_size=6), VALUES)
async def test_any_described_operation_is_reached_literally(
    data: st.DataObject, templates: list[list[tuple[bool, str]]], value: str
) -> None:
    """By items every path of a random description is reached, whatever its names are."""
    paths: dict[str, Any] = {}
    for template in templates:
        path = "".join(f"/{{p{i}}}" if is_parameter else f"/{name}"
                       for i, (is_parameter, name) in enumerate(template))  # fmt: skip
        paths[path] = {"get": operation()}
    chosen = data.draw(st.sampled_from(templates))
    register("house", House)
    House.calls, House.missing = [], set()
    client: Any = AsyncClient("house://h", description=document(paths))
    expected = [value if is_parameter else name for is_parameter, name in chosen]
    node = client
    for segment in expected:
        node = node[segment]
    await cast("Awaitable[Any]", node.get())
    from urllib.parse import unquote

    assert [unquote(part) for part in last().path.split("/")[1:]] == expected
    assert last().method == "GET"


ATTRIBUTES = st.from_regex(r"[a-z][a-z0-9]{0,3}(_[a-z0-9]{1,3}){0,2}", fullmatch=True)


@settings(max_examples=60)
@given(st.lists(ATTRIBUTES, min_size=1, max_size=4), st.sampled_from(["get", "post", "delete"]),
       st.booleans())  # fmt: skip
async def test_any_attribute_path_reaches_the_described_operation(
    names: list[str], verb: str, dashed: bool
) -> None:
    register("house", House)
    House.calls, House.missing = [], set()
    path = "/" + "/".join(name.replace("_", "-") if dashed else name for name in names)
    other = "/" + "/".join(["other", *names])
    paths = {path: {verb: operation()}, other: {"get": operation()}}
    client: Any = AsyncClient("house://h", description=document(paths))
    node = client
    for name in names:
        node = getattr(node, name)
    await cast("Awaitable[Any]", getattr(node, verb)())
    assert (last().method, last().path) == (verb.upper(), path)
    plain: Any = AsyncClient("house://h", description=None)
    for name in names:
        plain = getattr(plain, name)
    await cast("Awaitable[Any]", getattr(plain, verb)())
    assert last().path == "/" + "/".join(name.replace("_", "-") for name in names)
