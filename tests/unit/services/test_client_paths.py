"""What request an attribute path, positional arguments and keywords become."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from downstage.services import AsyncClient, register
from downstage.services.client.propagation import handling
from downstage.services.errors import (
    BaseServiceError,
    ServiceNotFoundError,
    ServiceUnavailableError,
    TransportNotFoundError,
)
from downstage.services.transports import Answer, Call

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

JSON = {"content-type": "application/json"}


class Recorder:
    """A transport that keeps what it is asked and answers as told."""

    calls: list[Call]
    answer: Answer

    def __init__(self, uri: str, app: Any = None) -> None:
        del uri, app

    async def request(self, call: Call) -> Answer:
        type(self).calls.append(call)
        return self.answer


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Recorder.calls = []
    Recorder.answer = Answer(200, JSON, b'"OK"')
    register("recorder", Recorder)


@pytest.fixture
def client() -> AsyncClient:
    return AsyncClient("recorder://host/base")


def last() -> Call:
    return Recorder.calls[-1]


class Colour(Enum):
    RED = "red"


class Sign(BaseModel):
    user: str
    password: SecretStr
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Point:
    x: int
    where: Path


async def test_attributes_are_segments_and_the_last_verb_is_the_method(client: AsyncClient) -> None:
    assert await client.session_service.session.get(limit=10) == "OK"
    assert (last().method, last().path) == ("GET", "/session-service/session")
    assert last().query == (("limit", "10"),)
    await client.post.ping.delete()
    assert (last().method, last().path) == ("DELETE", "/post/ping")


@pytest.mark.parametrize("verb", ["get", "post", "put", "delete", "patch"])
async def test_verbs(client: AsyncClient, verb: str) -> None:
    await getattr(client.a, verb)()
    assert (last().method, last().path, last().body) == (verb.upper(), "/a", b"")


async def test_without_a_verb_it_is_post(client: AsyncClient) -> None:
    await client.a.b(x=1)
    assert (last().method, last().path, last().body) == ("POST", "/a/b", b'{"x":1}')


async def test_a_verb_on_the_client_itself_asks_for_the_address(client: AsyncClient) -> None:
    await client.get()
    assert (last().method, last().path) == ("GET", "")


async def test_items_are_literal(client: AsyncClient) -> None:
    await client.v1["a_b"]["get"]["x y/z?#%"].get()
    assert last().path == "/v1/a_b/get/x%20y%2Fz%3F%23%25"
    await client["top"].get()
    assert last().path == "/top"


async def test_ids_by_getattr_and_by_position(client: AsyncClient) -> None:
    await getattr(client.session, "0f5a-11").delete()
    assert last().path == "/session/0f5a-11"
    await client.send.get("a_b", 7, UUID(int=1))
    assert last().path == f"/send/a_b/7/{UUID(int=1)}"


@given(st.text(min_size=1, max_size=40))
def test_any_text_is_one_segment_or_refused(text: str) -> None:
    node = AsyncClient("recorder://h")
    try:
        text.encode()
        path = repr(node[text])
    except (ValueError, UnicodeEncodeError):
        assert text in (".", "..") or any(0xD800 <= ord(c) < 0xE000 for c in text)
    else:
        assert path.endswith(f"/{text}>")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
async def test_segments_survive_the_encoding(text: str) -> None:
    if text in (".", ".."):
        return
    await AsyncClient("recorder://h").a[text].get()
    assert last().path.count("/") == 2
    assert unquote(last().path.removeprefix("/a/")) == text


@pytest.mark.parametrize("segment", ["", ".", ".."])
async def test_segments_that_climb_are_refused(client: AsyncClient, segment: str) -> None:
    with pytest.raises(ValueError, match="segment"):
        _ = client.a[segment]
    with pytest.raises(ValueError, match="segment"):
        await client.a.get(segment)
    assert Recorder.calls == []


async def test_a_model_by_position_is_the_body(client: AsyncClient) -> None:
    await client.v1.users.post(Sign(user="anna", password=SecretStr("pw")), dry=True)
    assert json.loads(last().body) == {"user": "anna", "password": "pw", "colour": "red"}
    assert last().query == (("dry", "true"),)
    assert last().headers["content-type"] == "application/json"
    await client.v1.users.post("anna", Point(1, Path("/x")))
    assert (last().path, json.loads(last().body)) == ("/v1/users/anna", {"x": 1, "where": "/x"})
    with pytest.raises(TypeError, match="one body"):
        await client.v1.users.post({"a": 1}, {"b": 2})


async def test_models_and_secrets_inside_keywords_reach_the_wire(client: AsyncClient) -> None:
    sign = Sign(user="anna", password=SecretStr("pw"))
    await client.a.post(
        one=sign, many=[sign], plain=SecretStr("pw"), when=datetime(2026, 1, 2, tzinfo=UTC)
    )
    body = json.loads(last().body)
    assert body["one"]["password"] == body["many"][0]["password"] == body["plain"] == "pw"
    assert body["when"] == "2026-01-02T00:00:00Z"


async def test_query_values(client: AsyncClient) -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    await client.a.get(
        none=None, yes=True, colour=Colour.RED, tags=["x", "y"], when=when, id=UUID(int=1)
    )
    assert last().query == (
        ("yes", "true"), ("colour", "red"), ("tags", "x"), ("tags", "y"),
        ("when", "2026-01-02T00:00:00+00:00"), ("id", str(UUID(int=1))),
    )  # fmt: skip
    assert last().body == b""


async def test_special_keywords(client: AsyncClient) -> None:
    await client.a.b(__method__="PUT", __headers__={"X-A": 1}, x=1)
    assert (last().method, last().headers["X-A"], last().body) == ("PUT", "1", b'{"x":1}')


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0b", "☃"])
async def test_headers_cannot_smuggle(client: AsyncClient, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        await client.a.get(__headers__={"x-a": value})
    with pytest.raises(ValueError, match="header"):
        await client.a.get(__headers__={value: "x"})
    assert Recorder.calls == []


async def test_probing_makes_no_request(client: AsyncClient) -> None:
    for thing in (client, client.a.b):
        for name in ("__deepcopy__", "_repr_html_", "_ipython_display_", "__len__", "_x", "getdoc"):
            assert not hasattr(thing, name)
        assert "recorder://host/base" in repr(thing)
    copy.copy(client.a)
    copy.deepcopy(client.a.b)
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
        pickle.dumps(lambda: client)
    assert Recorder.calls == []
    await client.a["getdoc"].get()
    assert Recorder.calls[0].path == "/a/getdoc"


def test_a_representation_shows_no_password() -> None:
    assert "pw" not in repr(AsyncClient("recorder://anna:pw@host/base").a)


def test_nodes_are_cached_but_not_for_ever(client: AsyncClient) -> None:
    assert client.v1.sessions is client.v1.sessions
    for number in range(1000):
        getattr(client.v1, f"id{number}")
    assert len(vars(client.v1)) <= 128


async def test_a_token_is_sent_unless_the_call_has_its_own() -> None:
    async def present() -> str:
        return "fresh"

    await AsyncClient("recorder://h", token="fixed").a.get()
    assert last().headers["authorization"] == "Bearer fixed"
    await AsyncClient("recorder://h", token=present).a.get()
    assert last().headers["authorization"] == "Bearer fresh"
    await AsyncClient("recorder://h", token="fixed").a.get(__headers__={"Authorization": "Own x"})
    assert "authorization" not in last().headers
    await AsyncClient("recorder://h").a.get()
    assert "authorization" not in last().headers


async def test_the_request_id_of_the_present_request_goes_along(client: AsyncClient) -> None:
    with handling(request_id="r-1"):
        await client.a.get()
        assert last().headers["x-request-id"] == "r-1"
        await client.a.get(__headers__={"X-Request-Id": "mine"})
        assert "x-request-id" not in last().headers
    await client.a.get()
    assert "x-request-id" not in last().headers


@pytest.mark.parametrize(
    ("kind", "body", "value"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/problem+json; charset=utf-8", b'{"a": 1}', {"a": 1}),
        ("application/json", b"", None),
        ("", b"", None),
        ("application/json", b"{broken", "{broken"),
        ("application/json", b"[" * 100_000, "[" * 100_000),
        ("application/octet-stream", b"\0\1", b"\0\1"),
        ("text/plain", "ä".encode(), "ä"),
        ("text/plain", b"\xff", "\ufffd"),
    ],
)
async def test_answers_become_values(
    client: AsyncClient, kind: str, body: bytes, value: object
) -> None:
    Recorder.answer = Answer(200, {"content-type": kind}, body)
    assert await client.a.get() == value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, ServiceNotFoundError),
        (503, ServiceUnavailableError),
        (401, BaseServiceError),
        (500, BaseServiceError),
        (307, BaseServiceError),
    ],
)
async def test_error_answers_are_raised(
    client: AsyncClient, status: int, kind: type[BaseServiceError]
) -> None:
    body = b'{"title": "T", "code": "c", "detail": "why", "status": 1}'
    headers = {"content-type": "application/problem+json", "retry-after": "7", "x-request-id": "r"}
    Recorder.answer = Answer(status, headers, body)
    with pytest.raises(BaseServiceError, match=f"GET /a answered {status}: why") as caught:
        await AsyncClient("recorder://h", token="t0ken").a.get(secret="x")
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail, error.retry_after) == (status, "c", "why", 7)
    assert (error.method, error.request_id) == ("GET", "r")
    assert "t0ken" not in str(error)


async def test_an_error_without_problem_has_its_body(client: AsyncClient) -> None:
    Recorder.answer = Answer(500, {"content-type": "text/plain", "retry-after": "soon"}, b"oops")
    with pytest.raises(BaseServiceError, match="oops") as caught:
        await client.a.get()
    error = caught.value
    assert (error.problem, error.body, error.code, error.retry_after) == (None, "oops", None, None)


@pytest.mark.parametrize(
    "value",
    ["", "x", "-5", "Mon, 01 Jan 2024 00:00:00 +99999999999999999",
     f"Mon, 01 Jan {9 * 10**19} 00:00:00 GMT", "Mon, 99 Jan 2024 00:00:00 GMT"],
)  # fmt: skip
async def test_a_time_that_is_none_is_not_waited_for(client: AsyncClient, value: str) -> None:
    Recorder.answer = Answer(503, {"retry-after": value}, b"oops")
    with pytest.raises(ServiceUnavailableError) as caught:
        await client.a.post()
    assert caught.value.retry_after is None


async def test_errors_may_be_returned() -> None:
    client = AsyncClient("recorder://h", raise_for_status=False)
    Recorder.answer = Answer(404, JSON, b'{"detail": "gone"}')
    assert await client.a.get() == {"detail": "gone", "__http_status__": 404}
    Recorder.answer = Answer(404, JSON, b'"gone"')
    assert await client.a.get() == "gone"


@pytest.mark.parametrize("uri", ["", "host", "host:80", "/path", "//host", "local:x"])
def test_an_address_needs_a_scheme(uri: str) -> None:
    with pytest.raises(ValueError, match="no scheme"):
        AsyncClient(uri)


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(TransportNotFoundError, match=r"http, https, .*local"):
        AsyncClient("gopher://host")


async def test_a_client_may_be_entered_and_closed_again_and_again(client: AsyncClient) -> None:
    async with client as same:
        assert same is client
    await client.stop_async()
    client.stop()
    assert await client.a.get() == "OK"
