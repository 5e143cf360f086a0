"""The two signalling sockets: offers and answers find each other, and nothing else gets through."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import aiohttp
import anyio
import pytest

from downstage.gateway import link

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


async def closing(socket: Any) -> tuple[int | None, str | None]:
    with anyio.fail_after(10):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return socket.close_code, None


async def connect(viewer: Any, streamer: Any) -> str:
    """Offer and answer go through; the peer's id."""
    await viewer.say(type="want", transport="webrtc", width=800, height=600)
    peer = (await streamer.hear("peer.open"))["peer"]
    await streamer.say(type="peer.signal", peer=peer, payload={"type": "offer", "sdp": SDP})
    assert (await viewer.hear("offer"))["sdp"] == SDP
    await viewer.say(type="answer", sdp=SDP)
    answer = await streamer.hear("peer.signal")
    assert answer["peer"] == peer
    assert answer["payload"] == {"type": "answer", "sdp": SDP}
    return peer


async def test_a_viewer_comes_and_goes(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer), house.viewer(session_id) as viewer:
        await viewer.say(type="want", transport="webrtc", width=800, height=600)
        opened = await streamer.hear("peer.open")
        assert (opened["role"], opened["width"], opened["height"]) == ("controller", 800, 600)
        peer = opened["peer"]
        await streamer.say(type="peer.signal", peer=peer, payload={"type": "offer", "sdp": SDP})
        await streamer.say(
            type="peer.signal",
            peer=peer,
            payload={"type": "candidate", "candidate": CANDIDATE, "sdp_mid": "0"},
        )
        assert (await viewer.hear("offer"))["peer"] == peer
        assert (await viewer.hear("candidate"))["candidate"] == CANDIDATE
        await viewer.say(type="answer", sdp=SDP)
        await viewer.say(type="candidate", candidate=None)
        assert (await streamer.hear("peer.signal"))["payload"]["type"] == "answer"
        assert (await streamer.hear("peer.signal"))["payload"]["candidate"] is None
        await streamer.say(type="peer.connected", peer=peer)
        await house.wait(session_id, "active")
        assert (await viewer.hear("session"))["session"]["state"] == "active"
        await viewer.say(type="restart")
        assert (await streamer.hear("peer.restart"))["peer"] == peer
        await streamer.say(type="peer.disconnected", peer=peer, reason="ice")
        await house.wait(session_id, "disconnected")
        await streamer.say(type="peer.connected", peer=peer)
        await house.wait(session_id, "active")
        await viewer.say(type="bye", reason="closed")
        assert (await streamer.hear("peer.close"))["peer"] == peer
        await house.wait(session_id, "disconnected")


async def test_who_wants_before_the_streamer_dialled_is_served_then(house: Any) -> None:
    created = await house.create()
    async with house.viewer(created["id"]) as viewer:
        await viewer.say(type="want", transport="webrtc")
        async with house.dial(created["id"]) as streamer:
            assert (await streamer.hear("peer.open"))["transport"] == "webrtc"


async def test_a_signalling_socket_may_break_without_the_picture(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        seat = await house.seat(session_id)
        async with house.viewer(session_id, seat) as viewer:
            peer = await connect(viewer, streamer)
            await streamer.say(type="peer.connected", peer=peer)
            await house.wait(session_id, "active")
        assert (await house.get(session_id))["state"] == "active"
        again = {**seat, **await ticket(house, session_id, seat)}
        async with house.viewer(session_id, again) as viewer:
            await viewer.say(type="restart")
            assert (await streamer.hear("peer.restart"))["peer"] == peer


async def ticket(house: Any, session_id: str, seat: dict[str, Any]) -> dict[str, str]:
    """A fresh signalling ticket of the same seat, by its row."""
    from downstage.gateway.models import Seat

    gateway = house.gateway
    row = await gateway.sessions.store.seat(session_id, seat["seat"])
    assert isinstance(row, Seat)
    return {"signalling_ticket": (await gateway.seats.ticket("signalling", row)).ticket}


async def test_the_second_socket_of_a_seat_replaces_the_first(house: Any) -> None:
    async with house.on_stage() as (session_id, _):
        seat = await house.seat(session_id)
        async with house.viewer(session_id, seat) as first:
            again = {**seat, **await ticket(house, session_id, seat)}
            async with house.viewer(session_id, again):
                assert await closing(first.socket) == (4000, "replaced")


async def test_a_streamer_started_anew_opens_peers_anew(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer), house.viewer(session_id) as viewer:
        peer = await connect(viewer, streamer)
        await streamer.say(type="peer.connected", peer=peer)
        await house.wait(session_id, "active")
        async with house.dial(session_id) as reborn:
            assert await closing(streamer.socket) == (4000, "replaced")
            fresh = (await reborn.hear("peer.open"))["peer"]
            assert fresh != peer
            await reborn.say(type="peer.signal", peer=fresh, payload={"type": "offer", "sdp": SDP})
            assert (await viewer.hear("offer"))["peer"] == fresh
            await house.wait(session_id, "disconnected")


async def test_a_gateway_that_restarts_takes_up_living_peers(start: Any) -> None:
    async with start() as house:
        created = await house.create()
        session_id, peer = created["id"], ""
        async with house.dial(session_id) as streamer:
            await streamer.say(type="ready", width=1280, height=720, encoder="x264", audio=True)
            async with house.viewer(session_id) as viewer:
                peer = await connect(viewer, streamer)
                await streamer.say(type="peer.connected", peer=peer)
                await house.wait(session_id, "active")
    async with start() as house:
        before = await house.get(session_id)
        assert before["state"] == "disconnected"
        assert before["id"] == session_id
        async with house.dial(session_id, (peer,)):
            await house.wait(session_id, "active")
        house.manager.end(house.instance_of(session_id), "stopped")
        await house.wait(session_id, "ended")


async def test_an_instance_that_went_while_the_gateway_was_away(start: Any, manager: Any) -> None:
    async with start() as house:
        created = await house.create()
    manager.end(house.instance_of(created["id"]), "application-exited", exit_code=3)
    async with start() as house:
        ended = await house.wait(created["id"], "ended")
        assert (ended["outcome"], ended["reason"]) == ("failed", "application-exited")
        forgotten = await house.create()
    manager.instances.clear()
    async with start() as house:
        assert (await house.wait(forgotten["id"], "ended"))["reason"] == "instance-lost"


T05 = [
    pytest.param("not json", 1007, "bad-message", id="not JSON"),
    pytest.param("[" * 60_000, 1007, "bad-message", id="nesting bomb"),
    pytest.param('{"type":"nonsense"}', 1007, "bad-message", id="unknown type"),
    pytest.param('{"type":"want","width":-1}', 1007, "bad-message", id="negative size"),
    pytest.param('{"type":"want","width":1e999}', 1007, "bad-message", id="infinite size"),
    pytest.param('{"type":"want","extra":1}', 1007, "bad-message", id="unknown field"),
    pytest.param(json.dumps({"type": "answer", "sdp": "junk" * 9}), 1007, "bad-message", id="SDP"),
    pytest.param(
        json.dumps({"type": "answer", "sdp": SDP}), 1008, "unexpected-answer", id="answer"
    ),
    pytest.param(json.dumps({"type": "offer", "sdp": SDP}), 1007, "bad-message", id="wrong role"),
    pytest.param('{"type":"peer.open"}', 1007, "bad-message", id="the streamer's words"),
    pytest.param(b"\x00\x01", 1007, "bad-message", id="binary"),
]


@pytest.mark.parametrize(("message", "code", "reason"), T05)
async def test_T05_malformed_signalling_closes_its_socket_alone(
    house: Any, message: str | bytes, code: int, reason: str
) -> None:
    async with (
        house.on_stage() as (session_id, streamer),
        house.viewer(session_id) as honest,
        house.viewer(session_id) as hostile,
    ):
        if isinstance(message, bytes):
            await hostile.socket.send_bytes(message)
        else:
            await hostile.socket.send_str(message)
        assert (await hostile.hear("error"))["problem"]["code"]
        assert await closing(hostile.socket) == (code, reason)
        await connect(honest, streamer)


async def test_T05_replayed_and_foreign_answers_are_refused(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        async with house.viewer(session_id) as viewer:
            await connect(viewer, streamer)
            await viewer.say(type="answer", sdp=SDP)
            assert await closing(viewer.socket) == (1008, "unexpected-answer")
        async with house.viewer(session_id) as one, house.viewer(session_id) as other:
            await one.say(type="want", transport="webrtc")
            peer = (await streamer.hear("peer.open"))["peer"]
            offer = {"type": "offer", "sdp": SDP}
            await streamer.say(type="peer.signal", peer=peer, payload=offer)
            await one.hear("offer")
            await other.say(type="answer", sdp=SDP, peer=peer)
            assert await closing(other.socket) == (1008, "unexpected-answer")
            await one.say(type="answer", sdp=SDP, peer="s-foreign.p-1")
            assert await closing(one.socket) == (1008, "foreign-peer")


async def test_T05_10000_candidates_are_cut_at_64(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer), house.viewer(session_id) as viewer:
        await connect(viewer, streamer)
        with suppress(ConnectionError, aiohttp.ClientError):
            for _ in range(10_000):
                await viewer.say(type="candidate", candidate=CANDIDATE)
        code, reason = await closing(viewer.socket)
        assert (code, reason) in ((1008, "too-many-candidates"), (1008, "too-many"))
        passed = [m for m in streamer.heard if m["type"] == "peer.signal"]
        assert len(passed) <= 64


async def test_M05_what_the_viewer_may_not_name_is_not_passed_on(house: Any) -> None:
    named = ["169.254.169.254", "0.0.0.0", "3f0c8a2e.local", "224.0.0.1", "127.0.0.1"]
    async with house.on_stage() as (session_id, streamer), house.viewer(session_id) as viewer:
        await connect(viewer, streamer)
        for address in named:
            line = f"candidate:1 1 udp 2130706431 {address} 5000 typ host"
            await viewer.say(type="candidate", candidate=line)
        passed = (await streamer.hear("peer.signal"))["payload"]["candidate"]
        assert "127.0.0.1" in passed, "of a viewer on this machine"


async def test_T04_a_message_over_the_limit_closes_with_1009(house: Any) -> None:
    async with (
        house.on_stage() as (session_id, streamer),
        house.viewer(session_id) as honest,
        house.viewer(session_id) as hostile,
    ):
        await hostile.socket.send_str(" " * (64 * 1024 + 1))
        assert (await closing(hostile.socket))[0] == 1009
        async with house.viewer(session_id) as fits:
            padded = json.dumps({"type": "want", "transport": "webrtc"}).ljust(64 * 1024)
            await fits.socket.send_str(padded)
            assert (await streamer.hear("peer.open"))["type"] == "peer.open"
        await connect(honest, streamer)


async def test_T06_a_flood_closes_its_socket_and_others_do_not_feel_it(house: Any) -> None:
    async with (
        house.on_stage() as (session_id, streamer),
        house.viewer(session_id) as undisturbed,
        house.viewer(session_id) as honest,
        house.viewer(session_id) as hostile,
    ):
        began = time.monotonic()
        await connect(undisturbed, streamer)
        usual_s = time.monotonic() - began

        async def flood() -> None:
            with suppress(ConnectionError, aiohttp.ClientError):
                for _ in range(5_000):
                    await hostile.say(type="candidate", candidate=None)
                    await anyio.sleep(0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood)
            began = time.monotonic()
            await connect(honest, streamer)
            assert time.monotonic() - began < max(2, 20 * usual_s)
            assert await closing(hostile.socket) == (1008, "too-many")


M07 = [
    pytest.param("not json", 1007, "bad-message", id="not JSON"),
    pytest.param(
        '{"type":"peer.signal","peer":"x","payload":{"type":"answer","sdp":"v=0\\r\\n12"}}',
        1007,
        "bad-message",
        id="answers like a viewer",
    ),
    pytest.param(
        '{"type":"peer.signal","peer":"x","payload":{"type":"offer","sdp":"junkjunk"}}',
        1007,
        "bad-message",
        id="malformed SDP",
    ),
    pytest.param('{"type":"status","last_input_s":NaN}', 1007, "bad-message", id="NaN"),
    pytest.param(
        json.dumps({"type": "hello", "instance_id": "x", "session_id": "y"}),
        1007,
        "bad-message",
        id="hello again",
    ),
]


@pytest.mark.parametrize(("message", "code", "reason"), M07)
async def test_M07_a_hostile_streamer_is_cut_off(
    house: Any, message: str, code: int, reason: str
) -> None:
    async with house.on_stage() as (session_id, streamer), house.viewer(session_id):
        await streamer.socket.send_str(message)
        assert await closing(streamer.socket) == (code, reason)
        async with house.dial(session_id):
            assert (await house.get(session_id))["state"] == "ready"


async def test_M07_giant_messages_of_a_streamer_are_cut_off(house: Any) -> None:
    async with house.on_stage() as (_, streamer):
        await streamer.socket.send_str(" " * 200_000)
        assert (await closing(streamer.socket))[0] == 1009


async def test_M07_an_instance_that_lies_about_its_id(house: Any) -> None:
    one, other = await house.create(), await house.create()
    async with house.dial(one["id"], hello=False) as streamer:
        await streamer.say(
            type="hello",
            instance_id=house.instance_of(other["id"]),
            session_id=other["id"],
            peers=[],
        )
        assert await closing(streamer.socket) == (1008, "foreign")
    own = house.instance_token(one["id"])
    for instance, token, status in (
        (house.instance_of(other["id"]), own, 401),
        (house.instance_of(one["id"]), await house.token(), 401),
        (house.instance_of(one["id"]), None, 401),
        ("i-nonsense", own, 401),
    ):
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.unix.ws_connect(
                f"http://gateway/v1/instances/{instance}/link", headers=headers
            )
        assert refused.value.status == status


async def test_M07_a_streamer_that_never_says_hello(house: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("downstage.gateway.link.HELLO_S", 0.1)
    created = await house.create()
    async with house.dial(created["id"], hello=False) as streamer:
        assert await closing(streamer.socket) == (1008, "no-hello")


async def test_M07_a_streamer_that_outlives_its_session_is_ended(house: Any) -> None:
    created = await house.create()
    instance, token = house.instance_of(created["id"]), house.instance_token(created["id"])
    await house.call("DELETE", f"/v1/sessions/{created['id']}", await house.token())
    await house.wait(created["id"], "ended")
    house.manager.change(instance, hint=False, state="running")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await house.unix.ws_connect(
            f"http://gateway/v1/instances/{instance}/link",
            headers={"authorization": f"Bearer {token}"},
        )
    assert refused.value.status == 404
    assert house.manager.running() == 0


async def test_the_link_is_not_on_the_public_port(house: Any) -> None:
    created = await house.create()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await house.http.ws_connect(
            f"{house.url}/v1/instances/{house.instance_of(created['id'])}/link",
            headers={"authorization": f"Bearer {house.instance_token(created['id'])}"},
        )
    assert refused.value.status in (403, 404)


async def test_both_sockets_beat_and_say_so(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        seat = await house.seat(session_id)
        async with house.socket(session_id, "signalling", seat["signalling_ticket"]) as socket:
            welcome = await socket.receive_json()
            assert welcome["heartbeat_ms"] == 1000
            for _ in range(2):
                while (await socket.receive_json(timeout=20)) != {"type": "beat"}:
                    pass
        for _ in range(3):
            assert await streamer.hear("beat") == {"type": "beat"}


async def test_a_streamer_that_answered_beats_and_falls_silent_is_off_the_line(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SILENT_S", 0.3)
    async with house.on_stage() as (session_id, streamer):
        await anyio.sleep(1)  # one of an earlier version answers none, and stays
        await streamer.say(type="status", width=1280, height=720)
        await streamer.hear("beat")
        await streamer.say(type="beat")
        await closing(streamer.socket)
        # It comes back, and nobody lost anything.
        async with house.dial(session_id) as again:
            await again.hear("beat")
            assert (await house.get(session_id))["state"] == "ready"
