"""What clients of the dialect and the streamer say to each other, through a real gateway.

The instances are doubles, so that they can be told to be late, to fail, and to go.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from downstage.gateway.dialects.anbox.talk import PATIENCE
from downstage.kernel.errors import NoCapacity
from downstage.testing.anbox import AnboxClient, encoded

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
B64 = encoded(SDP)
CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


async def client_of(house: Any, who: str = "anna") -> AnboxClient:
    return AnboxClient(house.http, house.url, await house.token(who))


@asynccontextmanager
async def on_stage(
    house: Any, client: AnboxClient, **body: Any
) -> AsyncIterator[tuple[dict[str, Any], Any]]:
    """A session of the dialect that is ready, and its streamer."""
    made = await client.create("test-card", **body)
    async with house.dial(made["id"]) as streamer:
        await streamer.say(type="ready", width=1280, height=720, encoder="x264", audio=True)
        await house.wait(made["id"], "ready")
        yield made, streamer


async def connect(socket: Any, streamer: Any) -> str:
    """Message for message until media would flow; the peer's id."""
    await socket.say(type="discover")
    await socket.hear("resp:discover")
    await socket.say(type="settings", api_version=2, data_channels=["news"])
    peer = (await streamer.hear("peer.open"))["peer"]
    await streamer.say(type="peer.signal", peer=peer, payload={"type": "offer", "sdp": SDP})
    assert (await socket.hear("offer"))["sdp"] == B64
    await socket.say(type="answer", sdp=B64)
    assert (await streamer.hear("peer.signal"))["payload"] == {"type": "answer", "sdp": SDP}
    return peer


async def test_lines_14_15_25_a_whole_visit(house: Any) -> None:
    client = await client_of(house)
    async with on_stage(house, client, joinable=False) as (made, streamer):
        assert made["stun_servers"] == [], "line 6: a list, also where there is none"
        async with client.socket(made["url"]) as socket:
            peer = await connect(socket, streamer)
            await socket.say(
                type="candidate", candidate=encoded(CANDIDATE), sdpMid="0", sdpMLineIndex=0
            )
            told = (await streamer.hear("peer.signal"))["payload"]
            assert (told["candidate"], told["sdp_mid"]) == (CANDIDATE, "0")
            payload = {"type": "candidate", "candidate": CANDIDATE, "sdp_mid": "0"}
            await streamer.say(type="peer.signal", peer=peer, payload=payload)
            assert (await socket.hear("candidate"))["candidate"] == encoded(CANDIDATE)
        # Line 15: the client has hung up, and only then does the streamer tell.
        await streamer.say(type="peer.connected", peer=peer)
        await house.wait(made["id"], "active")
        assert (await client.call("GET", f"/sessions/{made['id']}")).metadata["status"] == "active"
        refused = await client.call("POST", f"/sessions/{made['id']}/join", {})
        assert refused.status == 400
        assert "joinable" in refused.error
        # Line 25: farewell comes over the control channel, and the session was for one viewer.
        await streamer.say(type="peer.session_end", peer=peer)
        assert (await streamer.hear("peer.close"))["peer"] == peer
        ended = await house.wait(made["id"], "ended")
        assert (ended["outcome"], ended["reason"]) == ("stopped", "viewer-left")
    gone = await client.call("GET", f"/sessions/{made['id']}")
    assert gone.status == 404
    assert "viewer-left" in gone.error


async def test_a_joinable_session_waits_for_who_comes_back(start: Any) -> None:
    async with start(gateway__resume_lease=1) as house:
        client = await client_of(house)
        async with on_stage(house, client, idle_time_min=5) as (made, streamer):
            async with client.socket(made["url"]) as socket:
                peer = await connect(socket, streamer)
            await streamer.say(type="peer.connected", peer=peer)
            await house.wait(made["id"], "active")
            await streamer.say(type="peer.session_end", peer=peer)
            left = await house.wait(made["id"], "disconnected")
            seconds = _left(left)
            assert 240 < seconds <= 300
            place = await client.join(made["id"], 641, 361)
            async with client.socket(place["url"]) as socket:
                await socket.say(type="settings", api_version=2)
                opened = await streamer.hear("peer.open")
                # Pain 8: the size of who joins, made even.
                assert opened["anbox"]["screen"]["width"] == opened["width"] == 640
                assert opened["anbox"]["screen"]["height"] == opened["height"] == 360
                assert opened["anbox"]["screen"]["fps"] == 60


async def test_version_1_offers_through_the_gateway(house: Any) -> None:
    client = await client_of(house)
    async with (
        on_stage(house, client) as (made, streamer),
        client.socket(made["url"]) as socket,
    ):
        await socket.say(type="settings", api_version=1)
        await socket.say(type="offer", sdp=B64, dataChannels=["control", "news"])
        opened = await streamer.hear("peer.open")
        assert opened["anbox"]["offers"] == "viewer"
        assert opened["anbox"]["data_channels"] == ["news"]
        offer = await streamer.hear("peer.signal")
        assert offer["payload"] == {"type": "offer", "sdp": SDP}
        payload = {"type": "answer", "sdp": SDP}
        await streamer.say(type="peer.signal", peer=opened["peer"], payload=payload)
        assert (await socket.hear("answer"))["sdp"] == B64


async def test_a_client_that_is_early_is_served_when_the_instance_comes(house: Any) -> None:
    client = await client_of(house)
    made = await client.create("test-card")
    async with client.socket(made["url"]) as socket:
        await socket.say(type="discover")
        await socket.hear("resp:discover")
        await socket.say(type="settings", api_version=2)
        async with house.dial(made["id"]) as streamer:
            peer = (await streamer.hear("peer.open"))["peer"]
            await streamer.say(type="peer.signal", peer=peer, payload={"type": "offer", "sdp": SDP})
            await socket.hear("offer")
            # The instance fails: the client is told which side it was, and why.
            await streamer.say(type="fault", code="encoder", detail="No encoder works here.")
            told, _ = await socket.ending()
            assert told is not None
            assert "No encoder works here." in told
        house.manager.end(house.instance_of(made["id"]), "streamer-died")
    await house.wait(made["id"], "ended")
    kept = (await client.call("GET", f"/sessions/{made['id']}")).metadata
    assert (kept["status"], kept["container_id"]) == ("error", "")
    assert kept["status_message"] == "No encoder works here."
    assert (await client.call("GET", "/sessions?status=error")).metadata == [made["id"]]
    assert (await client.call("DELETE", f"/sessions/{made['id']}")).status == 200
    assert (await client.call("GET", f"/sessions/{made['id']}")).status == 404


async def test_pain_24_one_client_at_a_time_and_our_own_seats_beside(house: Any) -> None:
    anna, root = await client_of(house), await client_of(house, "operator")
    async with on_stage(house, anna) as (made, streamer), house.viewer(made["id"]) as page:
        await page.say(type="want", width=800, height=600)
        await streamer.hear("peer.open")
        async with anna.socket(made["url"]) as first:
            peer = await connect(first, streamer)
            await streamer.say(type="peer.connected", peer=peer)
            place = await root.join(made["id"])
            async with root.socket(place["url"]) as second:
                other = await connect(second, streamer)
                assert other != peer
                told, _ = await first.ending()
                assert told is not None
                assert "joined" in told
        closed = await streamer.hear("peer.close")
        assert (closed["peer"], closed["reason"]) == (peer, "replaced")
        assert not page.socket.closed


async def test_pain_09_whoever_is_silent_is_named(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await client_of(house)
    async with on_stage(house, client) as (made, streamer):
        for silent, words in (
            ("client", "neither settings nor an offer"),
            ("instance", "instance of this session does not answer"),
            ("answer", "did not answer the instance's offer"),
            ("media", "no media path"),
        ):
            place = await client.join(made["id"])
            with monkeypatch.context() as patience:
                patience.setitem(PATIENCE, silent, 0.3)
                async with client.socket(place["url"]) as socket:
                    if silent != "client":
                        await socket.say(type="settings", api_version=2)
                        peer = (await streamer.hear("peer.open"))["peer"]
                    if silent in ("answer", "media"):
                        payload = {"type": "offer", "sdp": SDP}
                        await streamer.say(type="peer.signal", peer=peer, payload=payload)
                        await socket.hear("offer")
                    if silent == "media":
                        await socket.say(type="answer", sdp=B64)
                    told, code = await socket.ending()
            assert told is not None
            assert words in told, told
            assert code == 1008


async def test_nobody_can_host_it(house: Any) -> None:
    client = await client_of(house)
    house.manager.fail_create = NoCapacity("Every place is taken.", retry_after_s=7)
    refused = await client.call("POST", "/sessions/", {"app": "test-card"})
    assert (refused.status, refused.body["metadata"]["code"]) == (404, "no-agent")
    assert refused.headers["retry-after"] == "7"
    assert (await client.call("GET", "/sessions")).metadata == [], "nothing waits in a queue"


async def test_the_status_does_not_wait_for_an_agent(house: Any) -> None:
    client = await client_of(house)
    house.manager.silent = anyio.Event()
    best = 9.0
    for _ in range(5):
        began = time.monotonic()
        assert (await client.call("GET", "/status")).status == 200
        best = min(best, time.monotonic() - began)
    house.manager.silent.set()
    assert best < 0.05


async def test_a_delete_by_force_does_not_wait_for_an_instance(house: Any) -> None:
    client = await client_of(house)
    async with on_stage(house, client) as (made, _):
        house.manager.obeys = False
        path = f"/sessions/{made['id']}"
        assert (await client.call("DELETE", path)).status == 200
        assert (await client.call("GET", path)).metadata["status"] == "terminating"
        assert (await client.call("DELETE", f"{path}?force=true&sync=true")).status == 200
        assert (await client.call("GET", path)).status == 404
        assert (await client.call("GET", "/sessions")).metadata == []
        house.manager.obeys = True
        house.manager.end(house.instance_of(made["id"]), "stopped")
        await house.wait(made["id"], "ended")


async def test_the_same_request_makes_one_session(house: Any) -> None:
    client = await client_of(house)
    answers = list[Any]()

    async def ask() -> None:
        headers = {"idempotency-key": "one"}
        answers.append(
            await client.call("POST", "/sessions", {"app": "test-card"}, headers=headers)
        )

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
    made = [answer for answer in answers if answer.status == 201]
    assert len({answer.metadata["id"] for answer in made}) == 1
    assert len(house.manager.instances) == 1


def _left(session: dict[str, Any]) -> float:
    """Seconds until the session's lease ends, from its last change."""
    from datetime import datetime

    ends = datetime.fromisoformat(session["lease_ends_at"])
    return (ends - datetime.fromisoformat(session["updated_at"])).total_seconds()
