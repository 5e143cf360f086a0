"""What Kit applications offer from inside, as the instance offers it for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector
from pydantic import SecretStr

from downstage.streamer.instance_api import SOCKET, InstanceApi, InstanceHooks

pytestmark = [pytest.mark.real, pytest.mark.anyio]

TOKEN = "token of this instance"
OWN = {"Authorization": f"Bearer {TOKEN}"}
GIVEN = {"stunIp": "192.0.2.7", "stunPort": 3478, "username": "1:s", "password": "secret"}


@dataclass
class Inside:
    """A streamer as far as the interface asks it."""

    client: ClientSession
    token: SecretStr | None = field(default_factory=lambda: SecretStr(TOKEN))
    is_ready: bool = False
    relays: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    ended: list[str] = field(default_factory=list[str])

    async def post(self, path: str, **arguments: object) -> int:
        async with self.client.post(f"/v1/streaming/{path}", **arguments) as answer:  # pyright: ignore[reportArgumentType]
            return answer.status

    async def get(self, path: str) -> int:
        async with self.client.get(f"/v1/streaming/{path}") as answer:
            return answer.status


@pytest.fixture
async def inside(anyio_backend: str, data: Path) -> AsyncIterator[Inside]:
    assert anyio_backend == "asyncio"
    connector = UnixConnector(str(data / SOCKET))
    async with ClientSession("http://instance", connector=connector) as client:
        it = Inside(client)
        hooks = InstanceHooks(
            lambda: it.is_ready, lambda: it.token, it.relays.append, it.ended.append
        )
        api = InstanceApi(data, hooks)
        await api.open()
        yield it
        await api.close()


async def test_ready_comes_with_the_first_picture(inside: Inside) -> None:
    assert (await inside.get("startup"), await inside.get("ready")) == (200, 503)
    inside.is_ready = True
    assert await inside.get("ready") == 200


async def test_a_relay_is_taken_from_who_has_the_instances_token(inside: Inside) -> None:
    assert await inside.post("creds", json=GIVEN) == 401
    assert await inside.post("creds", json=GIVEN, headers={"Authorization": "Bearer x"}) == 401
    assert inside.relays == []
    assert await inside.post("creds", json=GIVEN, headers=OWN) == 200
    expected = {"urls": "turn:192.0.2.7:3478", "username": "1:s", "credential": "secret"}
    assert inside.relays == [expected]
    for wrong in ({**GIVEN, "stunPort": 0}, {**GIVEN, "stunIp": "a b"}, {}):
        assert await inside.post("creds", json=wrong, headers=OWN) == 422
    assert await inside.post("creds", data=b"{" * 5000, headers=OWN) == 413
    assert inside.relays == [expected]


async def test_the_session_ends_by_the_instances_token_alone(inside: Inside) -> None:
    assert await inside.post("endsession") == 401
    inside.token = None
    assert await inside.post("endsession", headers={"Authorization": "Bearer "}) == 401
    inside.token = SecretStr(TOKEN)
    assert await inside.post("endsession", headers=OWN) == 200
    assert inside.ended == ["stopped"]
