"""Shares of a session, and tickets of its sockets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import aiohttp
import pytest

from downstage.testing.anbox import AnboxClient
from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.anyio]

Somebody = Callable[[str | None], AnboxClient]
DAY_S = 86_400


@pytest.fixture(autouse=True)
async def _none_left(client: AnboxClient) -> AsyncIterator[None]:
    yield
    for share in (await client.call("GET", "/shares")).metadata:
        await client.call("DELETE", f"/shares/{share}?sync=true")


def below(url: str) -> str:
    """The part of a share's address that a client asks by."""
    parts = urlsplit(url)
    return f"{parts.path.removeprefix('/1.0')}?{parts.query}"


async def test_a_share_lets_in_again_and_again_until_it_is_revoked(
    client: AnboxClient, somebody: Somebody, session_id: str
) -> None:
    made = await client.call(
        "POST", f"/sessions/{session_id}/share", {"type": "spectator", "description": "for Ben"}
    )
    assert made.status == 200
    share = made.metadata
    assert set(share) == {"id", "type", "url", "expiry_at", "expiry_min"}
    assert share["expiry_at"] == pytest.approx(time.time() + 12 * 3600, abs=60)
    stranger = somebody(None)
    first = await stranger.call("GET", below(share["url"]))
    assert first.status == 200
    assert set(first.metadata) == {"id", "url", "stun_servers"}
    again = await stranger.call("GET", below(share["url"]))
    async with (
        stranger.socket(first.metadata["url"]) as one,
        stranger.socket(again.metadata["url"]) as other,
    ):
        for socket in (one, other):
            await socket.say(type="discover")
            await socket.hear("resp:discover")
        late = await stranger.call("GET", below(share["url"]))
        revoked = await client.call("DELETE", f"/shares/{share['id']}")
        assert (revoked.status, revoked.body["type"]) == (202, "async")
        for socket in (one, other):
            told, _ = await socket.ending()
            assert told is not None
            assert "revoked" in told
    assert (await stranger.call("GET", below(share["url"]))).status == 401
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with stranger.socket(late.metadata["url"]):
            pass
    assert refused.value.status == 401, "nor does a ticket that it gave before"


async def test_shares_are_listed_changed_and_deleted(client: AnboxClient, session_id: str) -> None:
    ends = int(time.time()) + DAY_S
    made = await client.call(
        "POST",
        f"/sessions/{session_id}/share",
        {"type": "controller", "expiry_at": ends, "expiry_min": 5},
    )
    share = made.metadata
    assert share["expiry_at"] == ends, "the moment counts before the minutes"
    listed = await client.call("GET", f"/shares?recursion=1&session_id={session_id}")
    (found,) = listed.metadata
    assert (found["id"], found["type"], found["session_id"]) == (
        share["id"], "controller", session_id,
    )  # fmt: skip
    assert "url" not in found
    assert listed.body["total_size"] == 1
    assert (await client.call("GET", "/shares?session_id=none")).metadata == []
    path = f"/shares/{share['id']}"
    changed = await client.call("PATCH", path, {"description": "new", "expiry_at": ends + 60})
    assert changed.metadata["description"] == "new"
    seen = (await client.call("GET", path)).metadata
    assert (seen["expiry_at"], seen["url"]) == (ends + 60, share["url"])
    assert (await client.call("DELETE", f"{path}?sync=true")).status == 200
    assert (await client.call("GET", path)).status == 404


async def test_limits_of_shares(client: AnboxClient, session_id: str) -> None:
    path = f"/sessions/{session_id}/share"
    for wrong in (
        {"expiry_at": int(time.time()) - 1},
        {"expiry_at": int(time.time()) + 31 * DAY_S},
        {"expiry_min": 31 * 24 * 60},
        {"type": "root"},
    ):
        assert (await client.call("POST", path, wrong)).status == 400
    for _ in range(5):
        assert (await client.call("POST", path, {"expiry_min": 1})).status == 200
    sixth = await client.call("POST", path, {})
    assert sixth.status == 403
    assert "5" in sixth.error


async def test_a_debugging_tunnel_is_refused_with_its_reason(
    client: AnboxClient, session_id: str
) -> None:
    made = await client.call("POST", f"/sessions/{session_id}/share", {"type": "adb"})
    asked = await client.call("GET", f"/sessions/{session_id}/connect?type=adb&token=x")
    for answer in (made, asked):
        assert answer.status == 400
        assert "Android" in answer.error
    place = await client.join(session_id)
    async with client.socket(place["url"].replace("/slave?", "/adb?")) as socket:
        told, closed = await socket.ending()
        assert told is not None
        assert "Android" in told
        assert closed == 1008


async def test_pain_27_a_ticket_opens_one_socket_once(
    client: AnboxClient, somebody: Somebody, session_id: str
) -> None:
    place = await client.join(session_id)
    address = place["url"].partition("?")[0]
    stranger = somebody(None)
    async with stranger.socket(place["url"]) as socket:
        await socket.say(type="discover")
        await socket.hear("resp:discover")
    fresh = (await client.join(session_id))["url"]
    wrong = [
        (place["url"], None, 401),
        (address, None, 401),
        (f"{address}?token=nonsense", None, 401),
        (fresh.replace(session_id, "none"), None, 401),
        (fresh.replace("/slave?", "/root?"), None, 401),
        (fresh, "https://evil.example", 403),
    ]
    for url, origin, status in wrong:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with stranger.socket(url, origin=origin):
                pass
        assert refused.value.status == status, url
    async with stranger.socket(fresh) as socket:  # none of that has spent it
        await socket.say(type="discover")
        await socket.hear("resp:discover")


async def test_a_stranger_sees_nothing(
    platform: PlatformProcess, somebody: Somebody, session_id: str
) -> None:
    password = "correct horse battery"
    platform.call("POST", "/v1/users", {"name": "mallory", "password": password})
    words = {"username": "mallory", "password": password}
    signed = platform.call("POST", "/v1/auth/login", words, token=None)
    mallory = somebody(signed.body["token"])
    assert (await mallory.call("GET", "/sessions")).metadata == []
    for method, path, sent in (
        ("GET", f"/sessions/{session_id}", None),
        ("POST", f"/sessions/{session_id}/join", {}),
        ("POST", f"/sessions/{session_id}/share", {}),
        ("DELETE", f"/sessions/{session_id}", None),
        ("PATCH", "/config", {"name": "share.limit", "value": 1}),
    ):
        answer = await mallory.call(method, path, sent)
        assert answer.status == (403 if path == "/config" else 404), path
