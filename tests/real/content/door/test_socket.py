"""The socket: who may open it, calls and pushes, locks that follow a client, and what ends it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest

from downstage.contracts.content import MAX_FRAME, MAX_INLINE, Row, Welcome
from downstage.testing.content import ContentServer, content_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]


def metrics(server: ContentServer) -> list[str]:
    extension: Any = server.host.extension("content")
    return extension.metrics()


async def refused(server: ContentServer, headers: dict[str, str], *protocols: str) -> int:
    """Status of a handshake that must fail."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as told:
            await session.ws_connect(
                f"{server.url}/v1/files-socket", headers=headers, protocols=protocols
            )
    return told.value.status


@pytest.mark.parametrize(
    "origin", ["https://evil", "null", "{own}.evil.example", "{scheme}://{host}"]
)
async def test_A01_pages_of_other_origins_open_no_socket(
    server: ContentServer, origin: str
) -> None:
    parts = urlsplit(server.url)
    text = origin.format(own=server.url, scheme="https", host=parts.netloc)
    headers = {"origin": text, "cookie": "downstage-seat=x", **server.headers("alice")}
    assert await refused(server, headers) == 403
    lines = metrics(server)
    assert any('door="socket",cause="origin"' in item for item in lines)


async def test_A02_programs_need_a_token_and_a_cookie_is_none(
    server: ContentServer, line: Any
) -> None:
    assert await refused(server, {"cookie": f"token={server.token('alice')}"}) == 403
    assert await refused(server, {}) == 401
    assert await refused(server, {"authorization": "Bearer nonsense"}) == 401
    async with line("alice") as alice:
        assert await alice.ask("ping") > 0


async def test_A09_a_page_opens_one_socket_by_a_ticket(server: ContentServer, line: Any) -> None:
    async with (
        aiohttp.ClientSession(server.url, headers=server.headers("alice")) as session,
        session.post("/v1/files-tickets") as answer,
    ):
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
        ticket = await answer.json()
    protocols = (ticket["protocol"], f"downstage.ticket.{ticket['ticket']}")
    page = {"origin": server.url}
    async with line("alice", headers=page, protocols=protocols) as alice:
        assert alice.socket.protocol == "downstage.files.v1"
        welcome = msgspec.convert(await alice.ask("hello"), Welcome)
        assert (welcome.subject, welcome.access) == ("alice", 3)
    assert await refused(server, page, *protocols) == 401  # it was spent
    assert await refused(server, page) == 401
    query = f"{server.url}/v1/files-socket?accessToken={server.token('alice')}"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as told:
            await session.ws_connect(query)
    assert told.value.status == 401


async def test_every_file_operation_answers(line: Any, home: str) -> None:
    async with line("alice") as alice:
        a, b, c = f"{home}/a", f"{home}/b", f"{home}/c"
        made = msgspec.convert(await alice.ask("write", a, b"one", None, "first"), Row)
        assert (made.path, made.size, made.kind) == (a, 3, "file")
        assert await alice.outcome("write", a, b"x", [["other"], None]) == (
            412,
            ["version-mismatch", "It changed meanwhile; nothing was written.", {"etag": made.etag}],
        )
        await alice.ask("write", a, b"two", [[made.etag], None])
        entry, data = await alice.ask("read", a)
        assert (entry[1], data) == (a, b"two")
        assert (await alice.ask("read", a, 1))[1] == b"one"
        assert (await alice.ask("read", a, 0, 1, 1))[1] == b"w"
        assert (await alice.ask("copy", a, b))[1] == b
        assert (await alice.ask("move", b, c))[1] == c
        assert (await alice.outcome("copy", a, c))[0] == 409
        assert [v[1:2] + v[6:7] for v in await alice.ask("checkpoints", a)] == [[1, "first"]]
        assert len(await alice.ask("versions", a)) == 2
        assert (await alice.ask("restore", a, 1, "back"))[0] == entry[0]
        assert (await alice.ask("checkpoint", a, "again", True))[6] == "again"
        await alice.ask("patch_properties", a, {"x": "1", "y": "2"}, [])
        await alice.ask("patch_properties", a, {}, ["y"])
        assert await alice.ask("properties", a) == {"x": "1"}
        rows, after, seq = await alice.ask("list", home)
        assert ([r[1] for r in rows], after, seq > 0) == ([a, c], "", True)
        await alice.ask("create_folder", f"{home}/d/e", True)
        assert (await alice.ask("usage", home))[1] >= 4
        await alice.ask("delete", c)
        assert (await alice.outcome("stat", c))[0] == 404
        assert (await alice.ask("stat", c, 0, True))[18] > 0
        assert (await alice.ask("undelete", c))[1] == c
        found = await alice.ask("stat_many", [[a, 0], [f"{home}/none", 0], [a, 1]])
        assert [status for status, _ in found] == [200, 404, 200]
        users, groups = await alice.ask("people")
        assert (["alice", ["artists"]] in users, "reviewers" in groups) == (True, True)
        url, expires = await alice.ask("link", a)
        assert url.startswith("http://127.0.0.1")
        assert expires > 0


async def test_rights_are_set_and_explained(line: Any, home: str) -> None:
    async with line("alice") as alice, line("admin") as admin, line("bob") as bob:
        await alice.ask("write", f"{home}/a", b"1")
        assert (await alice.outcome("set_acl", home, [["everyone", 7]]))[0] == 403
        await admin.ask("set_acl", home, [["everyone", 1], ["group:artists", 3]])
        assert await bob.ask("acl", home) == [["everyone", 1, 0], ["group:artists", 3, 0]]
        assert (await bob.ask("stat", home))[11] == 3
        assert any(grant[1] == "group:artists" for grant in await admin.ask("explain", home, "bob"))
        assert (await alice.outcome("set_acl", home, [["everyone", 9]]))[0] == 400


async def test_what_happens_is_pushed_under_the_id_of_the_subscription(
    line: Any, home: str
) -> None:
    async with line("alice") as alice, line("bob") as bob:
        await alice.ask("create_folder", home)
        first = await bob.tell("subscribe", home, "tree")
        assert (await bob.answered(first))[0] == 200
        await alice.ask("write", f"{home}/a", b"1")
        kind, event = await bob.pushed(first)
        assert (kind, event[1:3], event[4][3]) == ("event", ["created", f"{home}/a"], 1)
        assert await bob.ask("close", first) is None
        await alice.ask("delete", f"{home}/a")
        later = await bob.tell("subscribe", home, "tree", event[0])
        assert (await bob.answered(later))[0] == 200
        assert (await bob.pushed(later))[1][1] == "deleted"
        assert (await bob.outcome("close", 99_999))[0] == 404


async def test_a_channel_carries_what_its_members_say(line: Any, home: str) -> None:
    async with line("alice") as alice, line("bob") as bob:
        first = await alice.tell("join", f"{home}/talk", b"i am alice")
        alice_id = (await alice.answered(first))[1]
        second = await bob.tell("join", f"{home}/talk")
        bob_id = (await bob.answered(second))[1]
        assert await alice.pushed(first) == ("message", ["join", bob_id, b"", "bob"])
        assert await bob.pushed(second) == ("message", ["hello", alice_id, b"i am alice", "alice"])
        await alice.ask("send", first, b"\x00\xff")
        assert (await bob.pushed(second))[1][2] == b"\x00\xff"
        assert (await bob.outcome("send", 4711, b"x"))[0] == 404
        await alice.ask("close", first)
        assert (await bob.pushed(second))[1][0] == "left"


async def test_locks_follow_a_client_over_a_broken_line(line: Any, home: str) -> None:
    path = f"{home}/a"
    async with line("alice") as alice, line("alice") as other:
        await alice.ask("write", path, b"1")
        resume = (await alice.ask("hello"))[2]
        await alice.ask("lock", path)
        assert (await other.outcome("write", path, b"2"))[0] == 423
        await alice.ask("write", path, b"3")
        alice.socket._response.connection.transport.abort()  # no close frame: the line broke
    async with line("bob") as bob:
        status, failure = await bob.outcome("hello", [1], resume)
        assert (status, failure[0]) == (401, "invalid-token")
    async with line("alice") as again:
        assert (await again.outcome("write", path, b"4"))[0] == 423
        await again.ask("hello", [1], resume)
        await again.ask("write", path, b"5")
        async with line("alice") as third:
            await third.ask("hello", [1], resume)
            assert await again.closed() == (1008, "taken-over")
            await third.ask("unlock", path)


@asynccontextmanager
async def short_grace(data: Any) -> AsyncGenerator[ContentServer]:
    overrides = {"content.lock_grace": 0.05, "content.idle_deadline": 0.3}
    async with content_server(data, overrides=overrides) as server:
        yield server


async def test_locks_end_after_the_grace_of_their_client(data: Any) -> None:
    async with short_grace(data) as server, aiohttp.ClientSession(server.url) as session:
        headers = server.headers("alice")
        async with session.ws_connect("/v1/files-socket", headers=headers) as socket:
            calls = [[1, "write", ["/a", b"1"]], [2, "lock", ["/a"]]]
            for call in calls:
                await socket.send_bytes(msgspec.msgpack.encode([call]))
                await socket.receive(10)

        async def put() -> int:
            async with session.put("/v1/files/a", data=b"2", headers=headers) as answer:
                return answer.status

        for _ in range(1000):
            if await put() == 200:
                break
            await asyncio.sleep(0.02)
        assert await put() == 200


BROKEN = [
    b"",
    b"\xc1",
    b"\x80",
    b"\x91\x91\x01",
    b"\x91\x93\x01\xa4stat",
    b"\x91" * 5000,
    b"\x91\x93\xa1x\xa4stat\x90",
    b"\xdd\xff\xff\xff\xff",
]


@pytest.mark.parametrize("frame", BROKEN, ids=range(len(BROKEN)))
async def test_T05_what_is_no_message_ends_one_socket(line: Any, frame: bytes) -> None:
    async with line("alice") as alice, line("bob") as bob:
        await alice.socket.send_bytes(frame)
        assert await alice.closed() == (1007, "bad-message")
        assert await bob.ask("ping") > 0


async def test_T05_text_and_used_ids_end_it_too(line: Any) -> None:
    async with line("alice") as alice:
        await alice.socket.send_str("[]")
        assert await alice.closed() == (1003, "bad-message")
    async with line("alice") as alice:
        await alice.socket.send_bytes(msgspec.msgpack.encode([[0, "ping", []]]))
        assert await alice.closed() == (1008, "bad-message")


async def test_wrong_arguments_are_answered(line: Any, home: str) -> None:
    async with line("alice") as alice:
        assert (await alice.outcome("stat"))[1][0] == "bad-message"
        assert (await alice.outcome("stat", 5))[1][0] == "bad-message"
        assert (await alice.outcome("stat", "/a/../b"))[1][0] == "bad-url"
        assert (await alice.outcome("fly", home))[1][0] == "not-supported"
        assert (await alice.outcome("write", f"{home}/a", bytes(MAX_INLINE + 1)))[0] == 413
        assert (await alice.outcome("stat_many", [["/", 0]] * 5000))[0] == 413


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, -2])
async def test_T05_numbers_that_no_database_holds_are_answered(line: Any, number: int) -> None:
    async with line("admin") as admin:
        for op, *args in (
            ("stat", "/", number),
            ("stat_many", [["/", number]]),
            ("read", "/", number),
            ("read", "/", 0, number),
            ("read", "/", 0, 0, number),
            ("restore", "/", number),
            ("set_quota", "/", number),
            ("subscribe", "/", "tree", number),
            ("link", "/", number),
            ("link", "/", 0, math.nan),
        ):
            status, body = await admin.outcome(op, *args)
            assert (status, body[0]) == (400, "bad-message"), (op, args)


async def test_T04_a_message_over_the_limit_ends_the_socket(line: Any) -> None:
    async with line("alice") as alice:
        await alice.socket.send_bytes(bytes(MAX_FRAME))
        assert (await alice.closed())[0] == 1007  # read, and found to be no message
    async with line("alice") as alice:
        # The head of a frame alone: what comes after it is not waited for.
        head = b"\x82\xff" + (MAX_FRAME + 1).to_bytes(8, "big") + bytes(4)
        alice.socket._response.connection.transport.write(head)
        assert (await alice.closed())[0] == 1009


async def test_many_calls_travel_in_one_message(line: Any, home: str) -> None:
    async with line("alice") as alice:
        for number in range(3):
            await alice.ask("write", f"{home}/{number}", b"1")
        calls = [[100 + n, "stat", [f"{home}/{n % 3}"]] for n in range(1000)]
        await alice.socket.send_bytes(msgspec.msgpack.encode(calls))
        frames, answers = 0, list[Any]()
        while len(answers) < 1000:
            frames += 1
            answers += msgspec.msgpack.decode((await alice.socket.receive(10)).data)
        assert [answer[0] for answer in answers] == list(range(100, 1100))
        assert frames < 5
