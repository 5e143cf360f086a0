"""The compatibility checklist where it needs a browser, line by line."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.browser.anbox.conftest import Client, Opener, a_card
from tests.browser.witness import Witness

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(120)]

SMALL = {"width": 640, "height": 360}


def sections(sdp: str) -> dict[str, str]:
    """An SDP's sections by kind."""
    return {part.split(" ", 1)[0]: part for part in sdp.split("m=")[1:]}


def direction(section: str) -> str:
    """Which way media goes, as the section says."""
    found = re.search(r"^a=(sendrecv|sendonly|recvonly|inactive)", section, re.MULTILINE)
    assert found is not None
    return found[1]


class Watchers:
    """A client with all it may have, on a card of its own; another one once it is dead."""

    def __init__(self, opened: Opener, session: str, stack: AsyncExitStack) -> None:
        self._opened, self._session, self._stack = opened, session, stack
        self._client: Client | None = None

    async def get(self) -> Client:
        """The one that lives; what became of the one before is said in the test's output."""
        if self._client is not None and not await self._client.lives():
            print(f"the shared client is dead: {await self._client.condition()}")
            self._client = None
        if self._client is None:
            made = await self._stack.enter_async_context(self._opened())
            await made.join(self._session, channels=["chat", "bulk"])
            await made.playing()
            self._client = made
        return self._client


@pytest.fixture(scope="module")
async def watchers(opened: Opener, platform: PlatformProcess) -> AsyncIterator[Watchers]:
    """One for all tests that change nothing."""
    with a_card(platform) as session:
        async with AsyncExitStack() as stack:
            yield Watchers(opened, session, stack)


@pytest.fixture
async def watching(watchers: Watchers) -> Client:
    """Shared, and alive when the test begins: nobody fails for what befell the one before."""
    return await watchers.get()


async def said(client: Client, way: str) -> list[dict[str, Any]]:
    """Signalling that went *way*."""
    return list(await client.ask(f"client.log.filter(l => l[0] === '{way}').map(l => l[1])"))


async def test_line_08_discover_is_answered_by_version_2_or_newer(watching: Client) -> None:
    first = (await said(watching, "in"))[0]
    assert first["type"] == "resp:discover"
    assert first["max_api_version"] >= 2


async def test_line_09_after_settings_the_server_offers_in_base64(watching: Client) -> None:
    assert [message["type"] for message in await said(watching, "out")][:2] == [
        "discover",
        "settings",
    ]
    offer = next(m for m in await said(watching, "in") if m["type"] == "offer")
    assert base64.b64decode(offer["sdp"], validate=True).startswith(b"v=0")


async def test_line_10_the_offer_has_channels_and_input_arrives(watching: Client) -> None:
    assert "application" in sections(await watching.ask("client.offerSdp"))
    before = await counted(watching)
    await watching.page.mouse.click(640, 400)
    await watching.until(f"client.strip() === {(before + 1) % 256}")
    assert await watching.ask("client.foreign ?? null") is None, "every channel is the client's"


async def counted(client: Client) -> int:
    """Presses that the card in the picture has counted."""
    await client.until("client.strip() !== null")
    return int(await client.ask("client.strip()"))


async def test_line_11_each_section_has_a_stream_of_its_own(watching: Client) -> None:
    offered = sections(await watching.ask("client.offerSdp"))
    streams = list[str]()
    for kind in ("video", "audio"):
        found = re.search(r"^a=msid:(\S+) (\S+)", offered[kind], re.MULTILINE)
        assert found is not None
        assert "-" not in found.groups()
        streams.append(found[1])
    assert len(set(streams)) == 2, "picture and sound are played apart"
    tracks = await watching.ask("client.tracks")
    assert tracks == {"video": streams[0], "audio": streams[1]}


async def test_line_12_picture_and_sound_come_and_are_what_was_sent(watching: Client) -> None:
    await watching.plays_on()
    await watching.until("Math.abs((client.pitch() ?? 0) - 440) <= 6")


@pytest.mark.parametrize("left_out", ["audio", "video"])
async def test_line_12_what_is_not_wanted_is_not_offered(
    opened: Opener, card: str, left_out: str
) -> None:
    async with opened() as client:
        await client.join(card, **{left_out: False})
        await client.ready()
        kept = {"audio", "video"} - {left_out}
        offered = sections(await client.ask("client.offerSdp"))
        assert set(offered) == {*kept, "application"}
        assert set(await client.ask("client.tracks")) == kept
        if left_out == "audio":
            await client.plays_on()
        else:
            await client.until("Math.abs((client.pitch() ?? 0) - 440) <= 6")


async def test_line_13_who_has_a_camera_and_a_microphone_may_send(
    opened: Opener, card: str
) -> None:
    async with opened() as client:
        await client.join(card, microphone=True, camera=True)
        await client.playing()
        offered = sections(await client.ask("client.offerSdp"))
        assert direction(offered["video"]) == direction(offered["audio"]) == "sendrecv"
        assert await client.ask("client.media.getTracks().length") == 2
        sent = """client.pc.getStats().then(all => { let n = 0; all.forEach(e => {
            if (e.type === 'outbound-rtp' && e.packetsSent > 0) n++; }); return n === 2; })"""
        await client.until(sent)
        await client.plays_on()


async def test_line_13_a_client_without_a_camera_is_served_all_the_same(
    opened: Opener, card: str
) -> None:
    async with opened() as client:
        await client.ask("navigator.mediaDevices.getUserMedia = async () => { throw 'none'; }")
        await client.join(card, microphone=True, camera=True)
        await client.playing()
        assert [code for code, _ in await client.ask("client.errors")] == [12]
        await client.plays_on()


async def test_line_15_the_session_survives_the_client_closing_its_socket(
    watching: Client, platform: PlatformProcess
) -> None:
    await watching.until("client.socket.readyState === WebSocket.CLOSED")
    await watching.plays_on()
    path = watching.page.url.split("/page")[0]
    assert path == platform.url
    (session,) = [
        s
        for s in platform.call("GET", "/1.0/sessions?recursion=true").body["metadata"]
        if s["id"] in (await watching.ask("client.requests[0][1]"))
    ]
    assert session["status"] == "active"


async def test_line_17_the_end_of_the_session_is_error_14_and_then_done(
    opened: Opener, platform: PlatformProcess
) -> None:
    async with opened() as client:
        session = await client.create("witness")
        await client.playing()
        assert platform.call("DELETE", f"/1.0/sessions/{session}").status == 200
        await client.until("client.isDone")
        assert [code for code, _ in await client.ask("client.errors")] == [14]


@pytest.mark.parametrize("api", [0, 1])
async def test_line_19_in_early_versions_the_client_offers(
    opened: Opener, card: str, api: int
) -> None:
    async with opened() as client:
        await client.join(card, api=api, channels=["early"])
        await client.playing()
        told = [message["type"] for message in await said(client, "in")]
        assert ("offer" in told, told.count("answer")) == (False, 1)
        answered = sections(await client.ask("client.answerSdp"))
        assert direction(answered["video"]) == direction(answered["audio"]) == "sendonly"
        await client.plays_on()
        await client.until("Math.abs((client.pitch() ?? 0) - 440) <= 6")
        await client.ask("client.channels.early.send('v' + client.options.api)")
        await client.until(f"client.messages.early[0] === 'v{api}'")
        before = await counted(client)
        await client.page.mouse.click(640, 400)
        await client.until(f"client.strip() === {(before + 1) % 256}")


async def test_line_20_channels_carry_messages_both_ways(watching: Client) -> None:
    await watching.ask("client.channels.chat.send('hello, ünïcode')")
    await watching.ask("client.channels.chat.send(new Uint8Array([0, 255, 7]))")
    await watching.until("client.messages.chat.length >= 2")
    assert await watching.ask("client.messages.chat") == ["hello, ünïcode", [0, 255, 7]]


async def test_line_20_a_channel_keeps_order_and_loses_nothing(watching: Client) -> None:
    fill = "[...Array(150).keys()].forEach(n => client.channels.bulk.send(n + 'y'.repeat(1000)))"
    await watching.ask(fill)
    await watching.until("client.messages.bulk.length >= 150")
    numbers = await watching.ask("client.messages.bulk.map(m => parseInt(m))")
    assert numbers == list(range(150))


async def test_line_20_a_message_that_is_too_long_is_refused_where_it_is_sent(
    watching: Client,
) -> None:
    with pytest.raises(Exception, match="send"):
        await watching.ask("client.channels.chat.send('x'.repeat(70_000))")


async def test_line_20_an_unknown_control_type_reaches_the_clients_own_code(
    watching: Client,
) -> None:
    pad = {"id": 0, "index": 12, "pressed": True}
    await watching.send("input::gamepad-button", pad)
    await watching.until("client.received.length >= 1")
    heard = (await watching.ask("client.received"))[0]
    assert heard == ["test-card::heard", {"type": "input::gamepad-button", "data": pad}]


async def test_line_21_a_smaller_client_gets_its_size_and_acts_where_it_points(
    opened: Opener, witness: Witness
) -> None:
    async with opened() as client:
        await client.join(witness.session, screen=SMALL)
        await client.playing()
        assert await client.ask("client.layout") == SMALL
        witness.forget()
        await client.page.mouse.click(640, 360)
        await witness.until("button", [1, True, 320, 180], [1, False, 320, 180])


async def test_line_21_nobody_else_changes_the_size_of_the_picture(
    opened: Opener, witness: Witness, platform: PlatformProcess
) -> None:
    async with opened() as client:
        await client.join(witness.session)
        await client.playing()
        other = await client.page.context.new_page()
        await other.goto(platform.link(witness.session, resolution="800x600"))
        await other.wait_for_function(
            "document.querySelector('downstage-viewer')?.state.phase === 'playing'", timeout=20_000
        )
        await client.page.bring_to_front()
        await client.plays_on()
        size = "[client.videoElement.videoWidth, client.videoElement.videoHeight]"
        assert await client.ask(size) == [1280, 720]
        witness.forget()
        await client.page.mouse.click(1000, 600)
        await witness.until("button", [1, True, 1000, 600], [1, False, 1000, 600])


async def test_line_22_the_end_of_a_touch_that_never_began_is_tolerated(
    opened: Opener, witness: Witness
) -> None:
    async with opened() as client:
        await client.join(witness.session)
        await client.playing()
        witness.forget()
        for finger in (0, 7, 40):
            await client.send("input::touch-end", {"id": finger, "last": True})
        await client.send("input::touch-start", {"id": 3, "x": 100, "y": 200})
        await client.send("input::touch-end", {"id": 3, "last": True})
        await witness.until("button", [1, True, 100, 200], [1, False, 100, 200])


async def test_line_23_the_wheel_turns_as_the_person_turned_it(
    opened: Opener, witness: Witness
) -> None:
    async with opened() as client:
        await client.join(witness.session)
        await client.playing()
        witness.forget()
        await client.page.mouse.move(300, 300)
        await client.page.mouse.wheel(0, 120)
        await witness.until("wheel", [0, -1])
        await client.page.mouse.wheel(0, -120)
        await witness.until("wheel", [0, -1], [0, 1])


async def test_line_24_the_gateways_servers_are_the_only_ones(watching: Client) -> None:
    servers = await watching.ask("client.servers")
    assert isinstance(servers, list)
    for server in servers:
        assert all(re.match(r"(stun|turns?):", url) for url in server["urls"])
    used = await watching.ask("client.pc.getConfiguration().iceServers.length")
    assert used == len(servers)


async def test_line_25_disconnect_ends_the_session_without_any_request(
    opened: Opener, platform: PlatformProcess
) -> None:
    async with opened() as client:
        session = await client.create("witness")
        await client.playing()
        await client.ask("client.disconnect()")
        await client.until("client.isDone")
        async with asyncio.timeout(20):
            while platform.call("GET", f"/v1/sessions/{session}").body["state"] != "ended":
                await asyncio.sleep(0.05)
        assert await client.ask("client.requests") == [["POST", "/1.0/sessions/"]]


async def test_every_key_of_the_table_is_the_key_that_it_was(
    opened: Opener, witness: Witness
) -> None:
    async with opened() as client:
        await client.join(witness.session)
        await client.playing()
        witness.forget()
        # SDL numbers keys as USB does, and so does the table up to 82, but for Quote.
        codes = [code for code in range(4, 83) if code not in (52, 53)]
        for code in [*codes, 57]:  # twice, so that capitals are off again
            for pressed in (True, False):
                await client.send("input::key", {"code": code, "pressed": pressed})
        async with asyncio.timeout(20):
            while len(witness.events("key")) < 2 * len(codes) + 2:
                await asyncio.sleep(0.03)
        pressed_ = [event[0] for event in witness.events("key") if event[1]]
        assert pressed_ == [{50: 52}.get(code, code) for code in [*codes, 57]]


async def test_typed_keys_arrive_with_their_modifiers(opened: Opener, witness: Witness) -> None:
    async with opened() as client:
        await client.join(witness.session)
        await client.playing()
        witness.forget()
        await client.page.keyboard.press("Shift+KeyQ")
        async with asyncio.timeout(20):
            while [20, True, "Q"] not in witness.events("key"):
                await asyncio.sleep(0.03)
        await client.send("input::ime-event", {"type": 1, "data": {"text": "né"}})
        await witness.until("text", ["n"], ["é"])


async def test_figures_of_the_stream_are_to_be_had(watching: Client) -> None:
    flow = "s.video?.framesDecoded > 0 && s.audio?.packetsReceived > 0 && s.network"
    stats = await watching.until(f"client.stats().then(s => {flow} && s)")
    video, audio = stats["video"], stats["audio"]
    assert (video["frameWidth"], video["frameHeight"]) == (1280, 720)
    assert video["codec"] in {"video/H264", "video/VP8"}
    assert video["framesDecoded"] > 0
    assert video["totalBytesReceived"] > 0
    assert video["keyFramesDecoded"] >= 1
    assert audio["packetsReceived"] > 0
    assert stats["network"]["currentRtt"] >= 0


async def test_a_client_takes_the_codec_that_it_prefers(opened: Opener, card: str) -> None:
    async with opened() as client:
        await client.join(card, codecs=["VP8", "H264"])
        await client.playing()
        await client.plays_on()
        assert (await client.ask("client.stats()"))["video"]["codec"] == "video/VP8"


async def test_whoever_joins_throws_out_who_was_there(opened: Opener, card: str) -> None:
    async with opened() as first, opened() as second:
        await first.join(card)
        await first.playing()
        await second.join(card)
        await second.playing()
        await first.until("client.isDone")
        assert [code for code, _ in await first.ask("client.errors")] == [14]
        await second.plays_on()
