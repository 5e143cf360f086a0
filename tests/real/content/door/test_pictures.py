"""Who edits a file live, and small pictures of stages: what a page shows beside files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from downstage.content.model import Access, AclEntry
from downstage.live.messages import Join
from downstage.testing.content import ContentServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_who_is_in_a_live_layer_is_told(
    server: ContentServer, home: str, raw: Callable[..., Any]
) -> None:
    path = f"{home}/scene.usda"
    alice, bob = await server.caller("alice"), await server.caller("bob")
    await server.content.write(alice, path, b"#usda 1.0\n")

    async def present(who: str = "carol") -> list[str]:
        answer = await raw(f"/v1/files-live?path={quote(path)}", who=who)
        assert answer.status == 200
        return [item["name"] for item in json.loads(answer.body)["items"]]

    assert await present() == []
    async with server.content.live.open(bob, path, Join("b1")):
        assert await present() == ["bob"]
        async with (
            server.content.live.open(alice, path, Join("a1")),
            server.content.live.open(bob, path, Join("b2")),
        ):
            assert await present() == ["bob", "alice"]
    assert await present() == []


async def test_who_may_not_read_a_file_does_not_learn_who_edits_it(
    server: ContentServer, home: str, raw: Callable[..., Any]
) -> None:
    alice, admin = await server.caller("alice"), await server.caller("admin")
    await server.content.write(alice, f"{home}/secret.usda", b"#usda 1.0\n")
    everything = Access.READ | Access.WRITE | Access.ADMIN
    hidden = AclEntry("user:carol", Access.NONE, everything)
    await server.content.set_acl(admin, home, [hidden])
    for route in ("files-live", "files-thumbnails"):
        hidden_answer = await raw(f"/v1/{route}?path={home}/secret.usda", who="carol")
        absent_answer = await raw(f"/v1/{route}?path={home}/nothing.usda", who="carol")
        assert (hidden_answer.status, absent_answer.status) == (404, 404)
        problems = [json.loads(answer.body) for answer in (hidden_answer, absent_answer)]
        for problem in problems:
            problem.pop("request_id")
            problem.pop("path", None)
        assert problems[0] == problems[1]


async def test_only_stages_have_pictures(
    server: ContentServer, home: str, raw: Callable[..., Any]
) -> None:
    alice = await server.caller("alice")
    await server.content.write(alice, f"{home}/notes.txt", b"x")
    answer = await raw(f"/v1/files-thumbnails?path={home}/notes.txt")
    assert answer.status == 501
    assert json.loads(answer.body)["code"] == "not-supported"
