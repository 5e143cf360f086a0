"""Signing in at the data server's door: its shape, its cookie, and who is let in."""

from __future__ import annotations

import re
from typing import Any

import pytest

from downstage.streams.dialects.ptg.token import cookie_of

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SAMPLE = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJwdGciLCJleHAiOjE2NTI1NDU3MTl9."
    "8S6dal-Q97TfJZG7rYLQWe5n3IovU9qCmtPYo7voNN4"
)


async def test_the_answer_and_its_cookie_are_as_clients_know_them(demo: Any, clients: Any) -> None:
    client = clients(demo.url)
    answer = await client.sign_in("test", "test")
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "token_type"}
    assert answer.json()["token_type"] == "bearer"
    cookie = answer.headers["set-cookie"]
    shape = r'authorization="Bearer ([^"]+)"; HttpOnly; Max-Age=(\d+); Path=/; SameSite=lax'
    found = re.fullmatch(shape, cookie)
    assert found is not None, cookie
    assert found[1] == answer.json()["access_token"] == client.token
    assert int(found[2]) == pytest.approx(2591940, abs=5)
    assert client.said["exp"] - client.said["iat"] == 30 * 86400
    assert answer.headers["cache-control"] == "no-store"


async def test_a_cookie_is_secure_over_tls_alone() -> None:
    assert cookie_of("t", 5, secure=True).endswith("; SameSite=lax; Secure")
    assert "Secure" not in cookie_of("t", 5, secure=False)


@pytest.mark.parametrize("name", ["a>b?c~d", "ünïcödé", "☃ >>>???~~~", "日本語", "x" * 128])
async def test_any_name_makes_a_token_that_plain_base64_reads(
    name: str, demo: Any, clients: Any
) -> None:
    client = clients(demo.url)
    await client.sign_in(name, name)
    assert client.said["name"] == name
    assert client.said["exp"]
    assert await client.get("streams/") is not None


async def test_exp_shortens_token_and_cookie(demo: Any, clients: Any) -> None:
    client = clients(demo.url)
    answer = await client.sign_in("test", "test", exp=90)
    kept = re.search(r"Max-Age=(\d+)", answer.headers["set-cookie"])
    assert kept is not None
    assert int(kept[1]) == pytest.approx(90, abs=2)
    assert client.said["exp"] - client.said["iat"] == 90
    for wrong in ("0", "-1", "x", "9" * 30):
        assert (await client.sign_in("test", "test", exp=wrong)).status_code == 422


async def test_wrong_passwords_and_missing_fields(demo: Any, clients: Any) -> None:
    client = clients(demo.url)
    answer = await client.sign_in("test", "other")
    assert (answer.status_code, answer.json()) == (
        401,
        {"detail": "Incorrect username or password"},
    )
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "set-cookie" not in answer.headers
    for form in ({"username": "test"}, {"password": "test"}, {}, {"username": "", "password": ""}):
        answer = await client.call("POST", "token", data=form)
        assert answer.status_code == 422
        (first, *_) = answer.json()["detail"]
        assert set(first) == {"loc", "msg", "type"}
        assert first["loc"][0] == "body"
    answer = await client.call("POST", "token", data={"username": "x" * 200, "password": "y"})
    assert answer.status_code == 422
    answer = await client.call("POST", "token", data={"username": "x" * (10 << 20)})
    assert answer.status_code == 413
    assert isinstance(answer.json()["detail"], str)


async def test_with_a_slash_and_no_redirect(demo: Any, clients: Any) -> None:
    answer = await clients(demo.url).call(
        "POST", "token/", data={"username": "a", "password": "a"}, allow_redirects=False
    )
    assert answer.status_code == 200


async def test_A11_the_demo_takes_the_printed_token_and_its_guests(demo: Any, clients: Any) -> None:
    sample = {"Authorization": f"Bearer {SAMPLE}"}
    answer = await clients(demo.url).call("GET", "streams", headers=sample)
    assert answer.status_code == 200


async def test_A11_a_page_under_another_name_gets_no_token_of_a_guest(
    demo: Any, clients: Any
) -> None:
    """DNS that leads a name of somebody else here makes their page same-origin with us."""
    form = {"username": "test", "password": "test"}
    answer = await clients(demo.url).call(
        "POST", "token", data=form, headers={"Host": "rebound.example"}
    )
    assert answer.status_code == 401


async def test_A03_no_page_of_somebody_else_signs_a_browser_in(demo: Any, clients: Any) -> None:
    form = {"username": "test", "password": "test"}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        answer = await clients(demo.url).call("POST", "token", data=form, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


async def test_forged_and_foreign_tokens_are_nobody(demo: Any, clients: Any) -> None:
    client = clients(demo.url)
    answer = await client.call("GET", "streams")
    assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})
    assert answer.headers["www-authenticate"] == "Bearer"
    for header in ("Bearer x.y.z", "Basic eDp5", "Bearer ", SAMPLE):
        answer = await client.call("GET", "streams", headers={"Authorization": header})
        assert answer.status_code == 401
        assert isinstance(answer.json()["detail"], str)
    forged = {"Cookie": 'authorization="Bearer x.y.z"'}
    assert (await client.call("GET", "recipes", headers=forged)).status_code == 401
