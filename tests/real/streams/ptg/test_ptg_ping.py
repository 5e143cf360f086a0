"""Pings, pages of other origins, and the path that is not served."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_ping_is_open_and_true(demo: Any, stock: Any) -> None:
    assert await stock.get("ping") is True
    async with httpx.AsyncClient(base_url=demo.url) as nobody:
        assert (await nobody.get("/ping")).json() is True
        assert (await nobody.get("/ping/")).json() is True
        for path in ("/ping/error", "/ping/auth", "/streams", "/recipes", "/sess", "/sessions"):
            assert (await nobody.get(path)).status_code == 401
            assert (await nobody.get(f"{path}/")).status_code == 401
        assert (await nobody.get("/mjpeg/cam")).status_code == 401
        assert (await nobody.get("/data/cam")).status_code == 401


async def test_the_error_on_purpose_keeps_the_connection(demo: Any) -> None:
    async with httpx.AsyncClient(base_url=demo.url, headers=demo.headers("alice")) as client:
        peers = set[Any]()
        for path in ("/ping/error", "/ping", "/ping/error", "/ping"):
            async with client.stream("GET", path) as answer:
                body = await answer.aread()
                peers.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            if path == "/ping/error":
                assert answer.status_code == 500
                (said,) = answer.json()["detail"]
                assert set(said) == {"msg", "type"}
            else:
                assert body == b"true"
        assert len(peers) == 1


async def test_A16_ping_auth_shows_where_a_token_was_and_never_the_token(
    demo: Any, stock: Any
) -> None:
    said = await stock.get("ping/auth")
    assert set(said) == {"query", "headers", "cookies"}
    assert said["query"] is None
    assert said["headers"] is None
    assert said["cookies"].startswith("Bearer ")
    assert stock.token not in str(said)
    headers = demo.headers("alice")
    async with httpx.AsyncClient(base_url=demo.url, headers=headers) as client:
        answer = await client.get("/ping/auth", params={"token": demo.token("alice")})
    assert answer.json()["query"]
    assert demo.token("alice") not in answer.text


async def test_A03_a_cookie_changes_nothing_from_elsewhere(stock: Any) -> None:
    """The cookie counts for requests: what a page of somebody else sends is refused."""
    await stock.put("streams", "kept", json={"desc": "mine"})
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"},
    ):
        for method, path in (
            ("DELETE", "streams/kept"),
            ("PUT", "streams/kept?override=true"),
            ("POST", "recipes"),
            ("PUT", "sessions/recipe/x"),
            ("DELETE", "sessions/recipe/"),
            ("POST", "data/kept"),
        ):
            answer = await stock.call(method, path, json={}, headers=headers)
            assert answer.status_code == 403, (method, path, headers, answer.text)
    answer = await stock.call("GET", "streams", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403  # nor is anything read by it
    assert "mine" in (await stock.get("streams", "kept"))["meta"]


async def test_A04_listed_pages_alone_are_let_in(demo: Any) -> None:
    ours, theirs = demo.url.replace("127.0.0.1", "localhost"), "https://evil.example"
    asks = {"access-control-request-method": "PUT"}
    async with httpx.AsyncClient(base_url=demo.url) as client:
        for path in ("/streams/x", "/streams/", "/data/x", "/recipes", "/sessions/recipe/step/1"):
            yes = await client.options(path, headers={"origin": ours, **asks})
            assert yes.status_code == 204
            assert yes.headers["access-control-allow-origin"] == ours
            assert yes.headers["access-control-allow-credentials"] == "true"
            no = await client.options(path, headers={"origin": theirs, **asks})
            assert "access-control-allow-origin" not in no.headers
            assert "access-control-allow-credentials" not in no.headers
        bearer = demo.headers("alice")
        got = await client.get("/streams", headers={"origin": ours, **bearer})
        assert got.headers["access-control-allow-origin"] == ours
        refused = await client.get("/streams", headers={"origin": ours})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ours)
        other = await client.get("/streams", headers={"origin": theirs, **bearer})
        assert "access-control-allow-origin" not in other.headers


async def test_files_of_the_machine_are_not_read(demo: Any, stock: Any) -> None:
    for path in ("mjpeg/chunked//etc/passwd", "mjpeg/chunked/../../etc/passwd", "mjpeg/chunked/x"):
        answer = await stock.call("GET", path, headers={"Range": "bytes=0-9"})
        assert answer.status_code in (404, 410)
        assert "root:" not in answer.text
    async with httpx.AsyncClient(base_url=demo.url) as nobody:
        assert (await nobody.get("/mjpeg/chunked//etc/passwd")).status_code == 401
