"""What commands and errors show of a call: never a secret, nor a piece of one."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

import msgspec
import pytest
from pydantic import BaseModel, Field, SecretStr
from rich.pretty import pretty_repr

from downstage.services import ApiKey, AsyncClient, BaseServiceError, register
from downstage.services.transports import Answer, Call

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

JSON = {"content-type": "application/json"}


class House:
    """Notes every request that comes to it."""

    calls: list[Call]

    def __init__(self, uri: str, app: object = None) -> None:
        del uri, app

    async def request(self, call: Call) -> Answer:
        type(self).calls.append(call)
        return Answer(200, JSON, b"{}")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    House.calls = []
    register("house", House)


class Aliased(BaseModel):
    name: str = Field(alias="theName")
    secret: SecretStr = SecretStr("pw")


async def test_curl_sends_nothing_and_shows_no_secret() -> None:
    client = AsyncClient(
        "house://anna:s3cret@h/base",
        token="s3cret",
        description=None,
        headers={"X-Api-Key": "s3cret"},
    )
    line = client.v1.things.post.curl(
        "it's", note="a'b", password="s3cret", dry=SecretStr("s3cret")
    )
    assert shlex.split(line) == [
        "curl",
        *("-H", "x-api-key: ***"),
        *("-H", "authorization: Bearer ***"),
        *("-H", "content-type: application/json"),
        *("--data-raw", '{"note":"a\'b","password":"***","dry":"***"}'),
        "house://h/base/v1/things/it%27s",
    ]
    query = client.v1.things.get.curl(access_token="s3cret", q="a b")
    assert query.endswith("'house://h/base/v1/things?access_token=***&q=a%20b'")
    assert "s3cret" not in client.a.post.curl(Aliased(theName="n", secret=SecretStr("s3cret")))
    assert "-X DELETE" in client.a.delete.curl()
    assert House.calls == []


async def test_curl_masks_what_models_and_headers_hide() -> None:
    @dataclass
    class Login:
        pin: SecretStr
        friends: list[Aliased]

    class Struct(msgspec.Struct):
        pin: SecretStr

    client = AsyncClient("house://h", auth=ApiKey("s3cret", "X-Mine"), description=None)
    login = Login(SecretStr("s3cret"), [Aliased(theName="n", secret=SecretStr("s3cret"))])
    for body in (login, Struct(SecretStr("s3cret")), [login]):
        assert "s3cret" not in client.a.post.curl(body)
    assert "s3cret" not in client.a.post.curl(of={SecretStr("s3cret")}, then=(login,))
    line = client.a.get.curl(__headers__={"Cookie": "sid=s3cret; theme=dark"})
    assert shlex.split(line)[1:5] == ["-H", "x-mine: ***", "-H", "Cookie: ***"]


class Echo(House):
    """Refuses with what it was sent, after *before*."""

    before = ""

    async def request(self, call: Call) -> Answer:
        detail = self.before + " ".join(call.headers.values())
        return Answer(403, JSON, json.dumps({"detail": detail}).encode())


@pytest.mark.parametrize("length", [0, 100, 150, 195, 199])
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer s3cret-s3cret-s3cret"},
        {"cookie": "sid=s3cret-s3cret; theme=dark"},
        {"x-mine": "s3cret s3cret"},
        {"x-auth-token": "s3cret-s3cret"},
    ],
)
async def test_errors_hold_no_piece_of_a_secret(headers: dict[str, str], length: int) -> None:
    register("echo", Echo)
    Echo.before = "x" * length
    secret = next(iter(headers.values())) if "x-mine" in headers else "key"
    client = AsyncClient("echo://h", auth=ApiKey(secret, "X-Mine"), description=None)
    with pytest.raises(BaseServiceError) as caught:
        await client.a.get(__headers__=headers)
    assert "s3" not in str(caught.value)


async def test_errors_hold_no_secret() -> None:
    class Echo(House):
        async def request(self, call: Call) -> Answer:
            return Answer(403, JSON, json.dumps({"detail": str(call.headers)}).encode())

    register("echo", Echo)
    client = AsyncClient("echo://u:s3cret@h", token="s3cret-token", description=None)
    with pytest.raises(BaseServiceError) as caught:
        await client.a.get(access_token="s3cret-token", q="x")
    assert "s3cret" not in str(caught.value)
    assert caught.value.url == "echo://h/a?access_token=***&q=x"
    assert "Forbidden" in str(caught.value)


def test_a_call_shows_no_more_than_where_it_goes() -> None:
    call = Call("PUT", "/a", (("q", "s3cret"),), {"authorization": "s3cret"}, b"s3cret", 5)
    assert repr(call) == "Call(method='PUT', path='/a', timeout_s=5, read_timeout_s=60.0)"
    assert "s3cret" not in pretty_repr(call)
