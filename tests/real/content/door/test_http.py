"""Files over plain HTTP: bytes, conditions, ranges, listings, and what must be refused."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from blake3 import blake3

from downstage.kernel.errors import RangeNotSatisfiable
from downstage.services.ranges import one_range
from downstage.testing.content import ContentServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

Ask = Any


@pytest.fixture
async def alice(server: ContentServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"{server.url}", headers=server.headers("alice")) as session:
        yield session


async def test_what_is_put_comes_back_with_its_hash_as_etag(
    alice: aiohttp.ClientSession, home: str
) -> None:
    body = b"#usda 1.0\n" * 30_000  # larger than what lies in a row
    for size, status in ((len(body), 201), (10, 200)):
        async with alice.put(f"/v1/files{home}/deep/a.usda", data=body[:size]) as answer:
            assert answer.status == status
            etag = f'"{blake3(body[:size]).hexdigest()}"'
            assert answer.headers["etag"] == etag
            assert answer.headers["downstage-content"] == "1"
            entry = await answer.json()
        assert (entry["size"], entry["path"]) == (size, f"{home}/deep/a.usda")
        async with alice.get(f"/v1/files{home}/deep/a.usda") as answer:
            assert await answer.read() == body[:size]
            assert answer.headers["etag"] == etag
        async with alice.head(f"/v1/files{home}/deep/a.usda") as answer:
            assert (answer.status, answer.headers["content-length"]) == (200, str(size))
            assert (answer.headers["etag"], await answer.read()) == (etag, b"")


async def test_a_body_without_a_length_is_stored_whole(
    alice: aiohttp.ClientSession, home: str
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(40):
            yield bytes([number]) * 5000

    async with alice.put(f"/v1/files{home}/a", data=pieces()) as answer:
        assert (answer.status, (await answer.json())["size"]) == (201, 200_000)
    async with alice.get(f"/v1/files{home}/a") as answer:
        assert await answer.read() == b"".join([bytes([n]) * 5000 for n in range(40)])


async def test_conditions_decide_what_is_written_read_and_deleted(
    alice: aiohttp.ClientSession, home: str
) -> None:
    url = f"/v1/files{home}/a"

    async def put(body: bytes, **headers: str) -> tuple[int, str]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with alice.put(url, data=body, headers=fields) as answer:
            return answer.status, answer.headers.get("etag", "")

    assert (await put(b"1", if_match="*"))[0] == 412
    status, first = await put(b"1", if_none_match="*")
    assert status == 201
    assert await put(b"2", if_none_match="*") == (412, first)
    assert (await put(b"2", if_match='"other"'))[0] == 412
    status, second = await put(b"2", if_match=f'"other", {first}')
    assert status == 200
    async with alice.get(url, headers={"if-none-match": second}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with alice.get(url, headers={"if-match": first}) as answer:
        assert answer.status == 412
    async with alice.delete(url, headers={"if-match": first}) as answer:
        assert answer.status == 412
    async with alice.delete(url, headers={"if-match": second}) as answer:
        assert answer.status == 204
    async with alice.get(url) as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "not-found")


async def test_ranges_of_small_and_large_files(alice: aiohttp.ClientSession, home: str) -> None:
    body = bytes(range(256)) * 2000
    for name, size in (("small", 1000), ("large", len(body))):
        url = f"/v1/files{home}/{name}"
        await (await alice.put(url, data=body[:size])).read()

        async def part(asked: str, url: str = url, **more: str) -> tuple[int, bytes, str]:
            fields = {"range": asked} | {k.replace("_", "-"): v for k, v in more.items()}
            async with alice.get(url, headers=fields) as answer:
                return answer.status, await answer.read(), answer.headers.get("content-range", "")

        assert await part("bytes=1-3") == (206, body[1:4], f"bytes 1-3/{size}")
        assert (await part("bytes=-5"))[1] == body[size - 5 : size]
        assert (await part(f"bytes={size - 2}-"))[1] == body[size - 2 : size]
        refused = await part(f"bytes={size}-")
        assert (refused[0], refused[2]) == (416, f"bytes */{size}")
        assert (await part("bytes=5-1"))[:2] == (200, body[:size])
        assert (await part("lines=1-2"))[:2] == (200, body[:size])
        assert (await part("bytes=1-3", if_range='"other"'))[:2] == (200, body[:size])
        etag = f'"{blake3(body[:size]).hexdigest()}"'
        assert (await part("bytes=1-3", if_range=etag))[:2] == (206, body[1:4])


async def test_T01_many_ranges_cost_nothing(raw: Ask, home: str) -> None:
    await raw(f"/v1/files{home}/a", method="PUT", body=bytes(1000))
    many = "bytes=" + ",".join(["0-999"] * 10_000)
    took_s = list[float]()
    for _ in range(20):  # the best of them: a collection of garbage may fall into any
        began = time.thread_time()
        with pytest.raises(RangeNotSatisfiable):
            one_range(many, 1000)
        took_s.append(time.thread_time() - began)
    assert min(took_s) < 0.005
    # A server reads no header of 60 KB; as many as it reads are refused as one would be.
    answer = await raw(f"/v1/files{home}/a", more=f"Range: bytes={','.join(['0-9'] * 2000)}\r\n")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */1000")
    answer = await raw(f"/v1/files{home}/a", more="Range: bytes=-99999\r\n")
    assert (answer.status, len(answer.body)) == (206, 1000)
    answer = await raw(f"/v1/files{home}/a", more=f"Range: bytes=0-{'9' * 5000}\r\n")
    assert answer.status in (200, 206, 416)


BAD = [
    "/%2e%2e/etc/passwd",
    "/../etc/passwd",
    "/a/..%2fb",
    "/a%2Fb",
    "/a%5cb",
    "/a\\b",
    "/..%c0%af",
    "/C:/windows",
    "/a%00b",
    "/%",
    "/%zz",
    "//double",
    "/trailing.",
    "/trailing%20",
    "/%ff",
    "/" + "n" * 4096,
]


@pytest.mark.parametrize("path", BAD, ids=[path[:16] for path in BAD])
async def test_C01_an_address_that_is_none_here_is_refused(raw: Ask, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await raw(f"/v1/files{path}", method=method, body=b"x" if method == "PUT" else b"")
        assert answer.status == 400, (method, answer)
        assert json.loads(answer.body)["code"] == "bad-url"


async def test_C01_twins_are_one_name_or_refused(alice: aiohttp.ClientSession, home: str) -> None:
    composed, apart = "é", "e\u0301"
    async with alice.put(f"/v1/files{home}/{quote(composed)}", data=b"1") as answer:
        assert answer.status == 201
    async with alice.put(f"/v1/files{home}/{quote(apart)}", data=b"2") as answer:
        assert (answer.status, (await answer.json())["path"]) == (200, f"{home}/{composed}")
    async with alice.put(f"/v1/files{home}/{quote('É')}", data=b"3") as answer:
        assert (answer.status, (await answer.json())["code"]) == (409, "already-exists")


@pytest.mark.parametrize(
    "target",
    [
        "/v1/%66iles/a",
        "/v1/files%2fa",
        "/v1//files/a",
        "/v1/./files/a",
        "/V1/files/a",
        "/x/../v1/files/a",
    ],
)
async def test_T07_who_is_asked_is_who_answers(
    raw: Ask, server: ContentServer, target: str
) -> None:
    """Whatever way a path takes to the files, it needs the token, or leads nowhere."""
    await raw("/v1/files/a", method="PUT", body=b"secret")
    answer = await raw(target, who=None)
    assert answer.status in (400, 401, 404)
    answer = await raw(target)
    assert answer.status in (400, 404)
    assert b"secret" not in answer.body


async def test_T07_absolute_form_and_junk_hosts(raw: Ask, server: ContentServer, home: str) -> None:
    await raw(f"/v1/files{home}/a", method="PUT", body=b"1")
    answer = await raw(f"{server.url}/v1/files{home}/a", who=None)
    assert answer.status in (400, 401, 404)
    answer = await raw(
        f"/v1/files{home}/a", more="Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"
    )
    assert answer.status in (200, 400)


async def test_listings_come_in_pages(alice: aiohttp.ClientSession, home: str) -> None:
    for name in ("b", "a", "c/d"):
        await (await alice.put(f"/v1/files{home}/{name}", data=b"x")).read()

    async def page(query: str) -> tuple[list[str], str]:
        async with alice.get(f"/v1/files{home}{query}") as answer:
            assert answer.status == 200
            found = await answer.json()
            return [item["name"] for item in found["entries"]], found["next"]

    names, after = await page("?limit=2")
    assert names == ["a", "b"]
    assert await page(f"?limit=2&after={after}") == (["c"], "")
    assert await page("/") == (["a", "b", "c"], "")
    assert (await page("?recursive"))[0] == ["a", "b", "c", "d"]
    async with alice.get(f"/v1/files{home}?limit=x") as answer:
        assert (answer.status, (await answer.json())["field"]) == (422, "limit")
    async with alice.get(f"/v1/files{home}/b?stat") as answer:
        entry = await answer.json()
    assert (entry["kind"], entry["size"], entry["access"]) == ("file", 1, 3)
    async with alice.delete(f"/v1/files{home}?recursive=0") as answer:
        assert (answer.status, (await answer.json())["code"]) == (409, "folder-not-empty")
    async with alice.delete(f"/v1/files{home}") as answer:
        assert answer.status == 204
    async with alice.get(f"/v1/files{home}?stat&deleted") as answer:
        assert (await answer.json())["deleted_by"] == "alice"


async def test_a_message_makes_a_checkpoint_that_can_be_read(
    alice: aiohttp.ClientSession, home: str
) -> None:
    url = f"/v1/files{home}/a"
    message = {"downstage-message": quote("Erste Fassung – gut")}
    async with alice.put(url, data=b"one", headers=message) as answer:
        assert answer.status == 201
    await (await alice.put(url, data=b"two")).read()
    for query in ("?checkpoint=1", "?&1"):
        async with alice.get(f"{url}{query}") as answer:
            assert await answer.read() == b"one"
    async with alice.get(f"{url}?checkpoint=7") as answer:
        assert answer.status == 404
    async with alice.get("/v1/files-checkpoints", params={"path": f"{home}/a"}) as answer:
        assert [item["comment"] for item in (await answer.json())["items"]] == [
            "Erste Fassung – gut"
        ]


async def test_what_users_stored_is_never_run_by_a_browser(
    alice: aiohttp.ClientSession, home: str
) -> None:
    """On the public port always a download, whatever it says it is."""
    for name in ("x.html", "x.svg", "x.png"):
        await (await alice.put(f"/v1/files{home}/{name}", data=b"<script>1</script>")).read()
        async with alice.get(f"/v1/files{home}/{name}") as answer:
            assert answer.headers["content-disposition"] == "attachment"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"].startswith("sandbox")


async def test_who_may_not_read_sees_what_is_not_there(
    alice: aiohttp.ClientSession, server: ContentServer, home: str, raw: Ask
) -> None:
    await (await alice.put(f"/v1/files{home}/a", data=b"1")).read()
    rights = {"path": home, "items": [
        {"principal": "everyone", "allow": 0, "deny": 7}, {"principal": "user:alice", "allow": 7},
    ]}  # fmt: skip
    async with (
        aiohttp.ClientSession(server.url, headers=server.headers("admin")) as admin,
        admin.put("/v1/files-acl", json=rights) as answer,
    ):
        assert answer.status == 200, await answer.text()
    same = "X-Request-ID: same\r\n"
    hidden = await raw(f"/v1/files{home}/a", who="bob", more=same)
    absent = await raw("/v1/files/absent-thing", who="bob", more=same)
    assert (hidden.status, absent.status) == (404, 404)
    assert hidden.body.replace(f"{home}/a".encode(), b"") == absent.body.replace(
        b"/absent-thing", b""
    )


async def test_scopes_bound_what_a_token_does(server: ContentServer, home: str) -> None:
    reading = await server.program_token("alice", "files:read")
    other = await server.program_token("alice", "sessions:read")
    async with aiohttp.ClientSession(server.url) as session:

        async def put(token: str) -> int:
            fields = {"authorization": f"Bearer {token}"}
            async with session.put(f"/v1/files{home}/a", data=b"1", headers=fields) as answer:
                return answer.status

        assert await put(other) == 403
        assert await put(reading) == 403
        assert await put(server.token("alice")) == 201
        async with session.get(f"/v1/files{home}/a") as answer:
            assert answer.status == 401
            assert answer.headers["downstage-content"] == "1"


async def test_A15_nobody_becomes_another_by_a_header(raw: Ask, home: str) -> None:
    forged = "X-Forwarded-User: admin\r\nX_Forwarded_User: admin\r\nX-Remote-User: admin\r\n"
    answer = await raw(f"/v1/files{home}/a", method="PUT", body=b"1", more=forged)
    assert json.loads(answer.body)["modified_by"] == "alice"
    assert (await raw(f"/v1/files{home}/a", who=None, more=forged)).status == 401


async def test_other_methods_and_codings_are_refused(raw: Ask, home: str) -> None:
    answer = await raw(f"/v1/files{home}/a", method="POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT, DELETE")
    packed = "Content-Encoding: gzip\r\n"
    assert (await raw(f"/v1/files{home}/a", method="PUT", body=b"x", more=packed)).status == 415
    part = "Content-Range: bytes 0-0/2\r\n"
    assert (await raw(f"/v1/files{home}/a", method="PUT", body=b"x", more=part)).status == 400
    wrong = "If-Match: without-quotes\r\n"
    assert (await raw(f"/v1/files{home}/a", method="PUT", body=b"x", more=wrong)).status == 400
