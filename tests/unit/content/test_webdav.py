"""The application of WebDAV in one process, where what it stands on can be chosen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from downstage.content.dialects.exchange import parts_of
from downstage.content.dialects.webdav import WebDav
from downstage.content.model import Caller
from downstage.content.service import Content
from downstage.kernel.errors import BadUrl, QuotaReached, RangeNotSatisfiable
from downstage.services.ranges import one_range

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Everybody:
    """Lets everybody in as one."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def caller(self, exchange: Any) -> Caller:
        del exchange
        return self._caller


@pytest.fixture
async def client(content: Content, ben: Caller) -> AsyncIterator[httpx.AsyncClient]:
    app: Any = WebDav(content, Everybody(ben))  # pyright: ignore[reportArgumentType]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here/dav") as found:
        yield found


async def test_a_folder_of_thousands_is_told_page_by_page(
    client: httpx.AsyncClient, content: Content, ben: Caller
) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(1003):
            tasks.start_soon(content.write, ben, f"/many/{number:04d}", b"")
    found = await client.request("PROPFIND", "/many", headers={"depth": "1"})
    assert found.status_code == 207
    assert found.text.count("<D:response") == 1004


async def test_a_folder_that_made_way_comes_back_where_the_copy_fails(
    client: httpx.AsyncClient, content: Content, ben: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await content.write(ben, "/a/x", b"1")
    await content.write(ben, "/b/y", b"2")

    async def full(*given: Any, **more: Any) -> None:
        raise QuotaReached("full")

    monkeypatch.setattr(content, "copy", full)
    to = {"destination": "http://here/dav/b"}
    assert (await client.request("COPY", "/a", headers=to)).status_code == 507
    assert (await client.get("/b/y")).content == b"2"


async def test_an_error_within_an_answer_is_no_whole_answer(
    client: httpx.AsyncClient, content: Content, ben: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await content.write(ben, f"/d/{number}", b"")
    whole = content.list

    async def short(*given: Any, **more: Any) -> Any:
        if more.get("after"):
            raise QuotaReached("whatever fails later")
        return await whole(*given, **more, limit=2)

    monkeypatch.setattr(content, "list", short)
    with pytest.raises(QuotaReached):
        await client.request("PROPFIND", "/d", headers={"depth": "1"})


async def test_a_quota_is_507(client: httpx.AsyncClient, content: Content, admin: Caller) -> None:
    await content.create_folder(admin, "/small")
    await content.set_quota(admin, "/small", bytes=10, nodes=None)
    assert (await client.put("/small/f", content=b"x" * 11)).status_code == 507
    assert (await client.put("/small/f", content=b"x" * 10)).status_code == 201
    asked = (
        "<propfind xmlns='DAV:'><prop><quota-available-bytes/><quota-used-bytes/></prop></propfind>"
    )
    told = await client.request("PROPFIND", "/small", content=asked, headers={"depth": "0"})
    assert "<D:quota-available-bytes>0<" in told.text
    assert "<D:quota-used-bytes>10<" in told.text


async def test_T03_a_body_that_stands_still_is_cut_off(content: Content, ben: Caller) -> None:
    app: Any = WebDav(content, Everybody(ben), idle_s=0.05)  # pyright: ignore[reportArgumentType]
    told: list[Any] = []

    async def receive() -> Any:
        if told_once.is_set():
            await anyio.sleep_forever()
        told_once.set()
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    async def send(message: Any) -> None:
        told.append(message)

    told_once = anyio.Event()
    headers = [(b"host", b"here"), (b"content-length", b"500000")]
    scope = {"type": "http", "method": "PUT", "path": "/dav/f", "raw_path": b"/dav/f"}
    with anyio.fail_after(10):
        await app({**scope, "query_string": b"", "headers": headers}, receive, send)
    assert told[0]["status"] == 504
    assert (b"connection", b"close") in told[0]["headers"]
    assert (await content.list(ben, "/")).entries == []


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-0", 1, (0, 1)),
        ("bytes=0-", 5, (0, 5)),
        ("bytes=-2", 5, (3, 5)),
        ("bytes=4-9", 5, (4, 5)),
        ("bytes=2-1", 5, None),
        ("bytes=a-b", 5, None),
        ("bytes=-", 5, None),
        ("", 5, None),
    ],
)
async def test_ranges(header: str, size: int, expected: tuple[int, int] | None) -> None:
    assert one_range(header, size) == expected


@pytest.mark.parametrize("header", ["bytes=5-", "bytes=-0", "bytes=0-1,2-3", "bytes=0-0,"])
async def test_T01_ranges_that_nothing_satisfies(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        one_range(header, 5)
    with pytest.raises(RangeNotSatisfiable):
        one_range("bytes=0-", 0)


@pytest.mark.parametrize("raw", [b"/%", b"/%2", b"/%ff", b"/a%2fb", b"/%C0%AF"])
async def test_C01_paths_out_of_form(raw: bytes) -> None:
    with pytest.raises(BadUrl):
        parts_of(raw)


async def test_a_path_is_decoded_once() -> None:
    assert parts_of(b"/a%2520b/%C3%A9") == ["a%20b", "é"]
    assert parts_of(b"/a%2Fb", slashes=True) == ["a", "b"]
