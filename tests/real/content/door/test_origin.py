"""The content origin: signed links alone, downloads but for pixels and sound, no cookies."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import aiohttp
import pytest

from downstage.identity.service import ALL
from downstage.kernel.clock import ManualClock
from downstage.testing.content import ContentServer, content_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SCRIPT = b"<html><script>alert(document.cookie)</script></html>"
POLYGLOT = b"GIF89a/*<svg onload=alert(1)>*/=1;" + SCRIPT


@pytest.fixture
def link(raw: Any, home: str) -> Any:
    """Stores a file, and gives a link that opens it: path and query."""

    async def made(name: str, body: bytes = SCRIPT, **more: object) -> str:
        path = f"{home}/{name}"
        await raw(f"/v1/files{quote(path)}", method="PUT", body=body)
        answer = await raw(
            "/v1/files-links",
            method="POST",
            more="Content-Type: application/json\r\n",
            body=json.dumps({"path": path, **more}).encode(),
        )
        assert answer.status == 200, answer
        url = urlsplit(str(json.loads(answer.body)["url"]))
        return f"{url.path}?{url.query}"

    return made


@pytest.fixture
def shown(raw: Any, server: ContentServer) -> Any:
    """Asks the content origin."""

    async def ask(target: str, **options: Any) -> Any:
        return await raw(target, who=None, url=server.origin_url, **options)

    return ask


@pytest.mark.parametrize(
    "name", ["x.html", "x.svg", "x.xhtml", "x.xml", "x.pdf", "x.js", "x", "x.png.html", "ü x.HTM"]
)
async def test_C04_what_could_run_is_a_download(link: Any, shown: Any, name: str) -> None:
    answer = await shown(await link(name, POLYGLOT))
    assert (answer.status, answer.body) == (200, POLYGLOT)
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", ["x.png", "x.gif", "x.JPG", "x.mp4"])
async def test_C04_what_is_shown_is_of_its_kind_alone(link: Any, shown: Any, name: str) -> None:
    """A polyglot is a broken picture, and no page."""
    answer = await shown(await link(name, POLYGLOT))
    assert answer.headers["content-disposition"].startswith("inline")
    assert answer.headers["content-type"].split("/")[0] in ("image", "video")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")


async def test_C04_it_is_another_origin_that_knows_no_cookie_and_no_token(
    server: ContentServer, link: Any, shown: Any
) -> None:
    assert server.origin_url != server.url
    target = await link("x.png")
    path = target.partition("?")[0]
    token = f"Authorization: Bearer {server.token('alice')}\r\nCookie: downstage-seat=1\r\n"
    answer = await shown(path, more=token)
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "forbidden")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    for place in ("/", "/v1/files/a", "/openapi.json", "/health", "/v1/auth/me"):
        assert (await shown(place, more=token)).status == 403


async def test_C06_a_link_opens_what_it_was_made_for_and_nothing_else(
    link: Any, shown: Any, home: str
) -> None:
    target = await link("a.png", checkpoint=0)
    other = await link("b.png")
    path, _, query = target.partition("?")
    fields = dict(parse_qsl(query))
    assert (await shown(target)).status == 200
    assert (await shown(target, method="HEAD")).status == 200
    changed = {
        "path": f"{other.partition('?')[0]}?{query}",
        "parent": f"{home}?{query}",
        "checkpoint": f"{path}?{urlencode({**fields, 'c': '1'})}",
        "expiry": f"{path}?{urlencode({**fields, 'e': str(int(fields['e']) + 1)})}",
        "person": f"{path}?{urlencode({**fields, 'w': 'admin'})}",
        "rights": f"{path}?{urlencode({**fields, 'm': '7'})}",
        "tenant": f"{path}?{urlencode({**fields, 't': 'other'})}",
        "signature": f"{path}?{urlencode({**fields, 's': fields['s'][:-2] + 'AA'})}",
        "none": path,
        "no number": f"{path}?{urlencode({**fields, 'e': 'x'})}",
        "digits that are none": f"{path}?{urlencode({**fields, 'e': '²'})}",
    }
    for what, text in changed.items():
        answer = await shown(text)
        assert answer.status == 403, what
        assert json.loads(answer.body)["detail"] == "This link does not count. Ask for a new one."
    for method in ("PUT", "POST", "DELETE", "OPTIONS"):
        assert (await shown(target, method=method)).status == 403, method


async def test_C06_a_link_ends_with_its_time_or_its_persons_right(data: Any) -> None:
    clock = ManualClock()
    async with content_server(data, clock=clock) as server:
        alice = await server.caller("alice")
        await server.content.write(alice, "/a.png", b"1")
        links: Any = server.host.extension("content")
        links = links.links
        url, expires = await links.open(server.content, alice, "/a.png", 0, 60.0)
        parts = urlsplit(str(url))
        assert links.read("GET", "/a.png", parts.query.encode()).expires == expires
        clock.advance(62)
        with pytest.raises(Exception, match="does not count"):
            links.read("GET", "/a.png", parts.query.encode())


async def test_C06_a_link_ends_with_its_person(data: Any) -> None:
    async with content_server(data) as server, aiohttp.ClientSession() as session:
        carol = await server.caller("carol")
        await server.content.write(carol, "/a.png", b"1")
        extension: Any = server.host.extension("content")
        url, _ = await extension.links.open(server.content, carol, "/a.png", 0, 60.0)
        async with session.get(url) as answer:
            assert answer.status == 200
        await server.identity.users.remove("carol", held=ALL)
        for _ in range(1000):
            async with session.get(url) as answer:
                if answer.status == 403:
                    break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("it opens still")


async def test_ranges_conditions_and_our_own_pages(
    server: ContentServer, link: Any, shown: Any
) -> None:
    target = await link("a.mp4", bytes(range(256)) * 1000)
    answer = await shown(target, more="Range: bytes=1-3\r\n")
    assert (answer.status, answer.body) == (206, b"\x01\x02\x03")
    assert answer.headers["content-range"] == "bytes 1-3/256000"
    etag = answer.headers["etag"]
    for known, status in ((etag, 206), ('"older"', 200), ("W/" + etag, 200)):
        more = f"Range: bytes=1-3\r\nIf-Range: {known}\r\n"
        assert (await shown(target, more=more)).status == status
    assert (await shown(target, more=f"If-None-Match: {etag}\r\n")).status == 304
    assert (await shown(target, more="Range: bytes=999999-\r\n")).status == 416
    answer = await shown(target, more=f"Origin: {server.url}\r\n")
    assert answer.headers["access-control-allow-origin"] == server.url
    answer = await shown(target, more="Origin: https://evil.example\r\n")
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_link_is_of_a_file_that_one_may_read(raw: Any, home: str) -> None:
    for path, status in ((f"{home}/none", 404), ("/", 409)):
        body = json.dumps({"path": path}).encode()
        json_type = "Content-Type: application/json\r\n"
        answer = await raw("/v1/files-links", method="POST", body=body, more=json_type)
        assert answer.status == status
