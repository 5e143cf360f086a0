"""The data server's door where people are real: no demo, accounts of the platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from downstage.identity.service import ALL
from downstage.testing.streams import streams_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]

PASSWORD = "correct horse battery"
SAMPLE = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJwdGciLCJleHAiOjE2NTI1NDU3MTl9."
    "8S6dal-Q97TfJZG7rYLQWe5n3IovU9qCmtPYo7voNN4"
)


async def test_A11_A13_a_real_door_lets_in_people_and_counts_guesses(data: Path) -> None:
    """One server for all of it: it takes a second to start."""
    overrides = {"identity.login_attempts": 3}
    async with streams_server(data, overrides=overrides) as server:
        await server.identity.users.add("carol", PASSWORD, (), held=ALL)
        async with httpx.AsyncClient(base_url=server.url) as client:
            await _check_people(client)
            await _check_the_printed_token(client)
            await _check_guesses(client)


async def _sign_in(client: httpx.AsyncClient, name: str, password: str) -> httpx.Response:
    return await client.post("/token", data={"username": name, "password": password})


async def _check_people(client: httpx.AsyncClient) -> None:
    answer = await _sign_in(client, "carol", PASSWORD)
    assert answer.status_code == 200
    assert (await client.get("/streams/")).json() == []  # the cookie alone
    client.cookies.clear()
    answer = await _sign_in(client, "visitor", "visitor")
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Incorrect username or password"}
    assert "set-cookie" not in answer.headers


async def _check_the_printed_token(client: httpx.AsyncClient) -> None:
    answer: Any = None
    for headers in (
        {"authorization": f"Bearer {SAMPLE}"},
        {"cookie": f'authorization="Bearer {SAMPLE}"'},
    ):
        answer = await client.get("/streams", headers=headers)
        assert answer.status_code == 401
    answer = await client.get("/streams", params={"token": SAMPLE})
    assert answer.status_code == 401


async def _check_guesses(client: httpx.AsyncClient) -> None:
    answers = [await _sign_in(client, "mallory", "no") for _ in range(4)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0
    assert isinstance(answers[-1].json()["detail"], str)
