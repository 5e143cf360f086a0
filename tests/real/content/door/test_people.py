"""People who change while they are there: groups, tokens, and what a token's bounds allow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from downstage.content.model import Access, AclEntry
from downstage.contracts.identity import FileBound, InstanceTokenRequest
from downstage.identity.service import ALL
from downstage.kernel.errors import Forbidden, PlatformError
from downstage.testing.content import ContentServer, content_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def ask(socket: aiohttp.ClientWebSocketResponse, op: str, *args: Any) -> tuple[int, Any]:
    await socket.send_bytes(msgspec.msgpack.encode([[1, op, list(args)]]))
    [[_, status, body]] = msgspec.msgpack.decode(await socket.receive_bytes(timeout=10))
    return status, body


async def test_a_group_that_somebody_joins_counts_at_once(data: Path) -> None:
    async with content_server(data) as server, aiohttp.ClientSession(server.url) as session:
        admin = await server.caller("admin")
        await server.content.write(admin, "/secret/a", b"1")
        async with (
            session.ws_connect("/v1/files-socket", headers=server.headers("admin")) as boss,
            session.ws_connect("/v1/files-socket", headers=server.headers("carol")) as carol,
        ):
            rights = [["everyone", 0], ["group:guests", 1]]
            assert (await ask(boss, "set_acl", "/secret", rights))[0] == 200
            assert (await ask(carol, "stat", "/secret"))[0] == 404
            await server.set_groups("carol", "guests")
            assert await until(carol, 200)
            await server.set_groups("carol")
            assert await until(carol, 404)


async def until(socket: aiohttp.ClientWebSocketResponse, status: int) -> bool:
    """Whether `stat` comes to answer *status*: the hint takes a moment."""
    for _ in range(1000):
        if (await ask(socket, "stat", "/secret"))[0] == status:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_token_that_was_revoked_ends_its_socket(data: Path) -> None:
    async with content_server(data) as server, aiohttp.ClientSession(server.url) as session:
        headers = server.headers("bob")
        async with session.ws_connect("/v1/files-socket", headers=headers) as socket:
            assert (await ask(socket, "ping"))[0] == 200
            await server.set_groups("bob", "admins")  # other scopes: what he held is revoked
            extension: Any = server.host.extension("content")
            extension.socket.check()
            closed = await socket.receive(10)
            assert (closed.data, closed.extra) == (1008, "invalid-token")
        async with session.get("/v1/files/", headers=headers) as answer:
            assert answer.status == 401


async def instance_token(server: ContentServer, *reach: FileBound, owner: str = "alice") -> str:
    request = InstanceTokenRequest(
        instance_id="i-1",
        session_id="s-1",
        tenant="main",
        ttl_s=600,
        owner=owner,
        reach=list(reach),
    )
    return (await server.identity.issue.for_instance(request)).token


async def test_an_instance_touches_what_its_token_names_and_no_more(data: Path) -> None:
    async with content_server(data) as server, aiohttp.ClientSession(server.url) as session:
        admin = await server.caller("admin")
        for path in ("/house/stage.usd", "/house/props/a.usd", "/other/b.usd"):
            await server.content.write(admin, path, b"#usda 1.0")
        token = await instance_token(
            server, FileBound(path="/house"), FileBound(path="/house/props", writes=True)
        )
        headers = {"authorization": f"Bearer {token}"}

        async def status(method: str, path: str) -> int:
            url = f"/v1/files{path}"
            async with session.request(method, url, data=b"x", headers=headers) as answer:
                return answer.status

        assert await status("GET", "/house/stage.usd") == 200
        assert await status("PUT", "/house/stage.usd") == 403
        assert await status("PUT", "/house/props/a.usd") == 200
        assert await status("GET", "/other/b.usd") == 404
        assert await status("PUT", "/other/c.usd") in (403, 404)
        assert await status("GET", "/house/../other/b.usd") in (400, 404)
        async with session.get("/v1/files-people", headers=headers) as answer:
            assert answer.status == 403
        async with session.get("/v1/users", headers=headers) as answer:
            assert answer.status == 403
        await server.identity.issue.revoke_instance("i-1")
        assert await status("GET", "/house/stage.usd") == 401


async def test_an_instance_holds_no_more_than_its_owner(data: Path) -> None:
    async with content_server(data) as server:
        admins = await instance_token(server, FileBound(path="/", writes=True), owner="admin")
        principal = await server.host.authenticator.principal(admins)
        caller = await server.callers.of(principal)
        assert (caller.subject, int(caller.may)) == ("admin", 3)  # no administrator by a token
        with pytest.raises(Forbidden):
            await instance_token(server, FileBound(path="/"), owner="nobody")
        with pytest.raises(PlatformError):
            await server.content.set_acl(caller, "/", [])


async def test_what_stays_open_ends_when_its_rights_are_others(data: Path) -> None:
    """A subscription judges by the groups with which it began."""
    async with content_server(data) as server, aiohttp.ClientSession(server.url) as session:
        admin = await server.caller("admin")
        await server.content.write(admin, "/secret/a", b"1")
        rights = [AclEntry("everyone", Access.NONE), AclEntry("group:guests", Access.READ)]
        await server.content.set_acl(admin, "/secret", rights)
        await server.set_groups("carol", "guests")
        extension: Any = server.host.extension("content")
        headers = server.headers("carol")
        async with (
            session.ws_connect("/v1/files-socket", headers=headers) as idle,
            session.ws_connect("/v1/files-socket", headers=headers) as socket,
            session.get("/v1/files-events?path=/secret", headers=headers) as stream,
        ):
            assert await until(socket, 200)
            assert (await ask(socket, "subscribe", "/secret", "tree"))[0] == 200
            await stream.content.readuntil(b"\r\n\r\n")
            extension.socket.check()
            extension._native.events.check()
            await server.set_groups("carol")
            assert await until(idle, 404)
            extension.socket.check()
            extension._native.events.check()
            await server.content.write(admin, "/secret/b", b"1")
            closed = await socket.receive(10)
            assert (closed.data, closed.extra) == (1012, "rights-changed")
            rest = await asyncio.wait_for(stream.content.read(), 10)
            assert b"/secret/b" not in rest
            assert (await ask(idle, "ping"))[0] == 200  # nothing was open on it


async def test_a_revoked_token_ends_its_stream_of_events(data: Path) -> None:
    async with content_server(data) as server, aiohttp.ClientSession(server.url) as session:
        extension: Any = server.host.extension("content")
        async with session.get("/v1/files-events?path=/", headers=server.headers("bob")) as stream:
            await stream.content.readuntil(b"\r\n\r\n")
            await server.set_groups("bob", "admins")
            extension._native.events.check()
            await asyncio.wait_for(stream.content.read(), 10)


async def test_A13_somebody_disabled_keeps_nobody_else_out(data: Path) -> None:
    async with (
        content_server(data) as server,
        aiohttp.ClientSession(server.url) as session,
        session.ws_connect("/v1/files-socket", headers=server.headers("carol")),
    ):
        await server.identity.users.change("carol", held=ALL, disabled=True)
        await until_disabled(server, "carol")
        headers = server.headers("bob")
        async with session.ws_connect("/v1/files-socket", headers=headers) as socket:
            assert (await ask(socket, "ping"))[0] == 200


async def until_disabled(server: ContentServer, name: str) -> None:
    """Content hears of it a moment later."""
    for _ in range(1000):
        people = server.callers.directory.people
        if people and any(one.name == name and one.disabled for one in people.by_subject.values()):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("never heard")
