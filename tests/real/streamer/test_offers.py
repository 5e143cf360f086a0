"""Offers and answers of strangers: taken or refused in words, never a fault."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from downstage.kernel.errors import BadMessage
from downstage.media.transport import TransportEvents
from downstage.media.transport.peer_options import PeerOptions
from downstage.media.transport.webrtc import WebRtcTransport

pytestmark = [pytest.mark.real, pytest.mark.anyio]

THEIRS = PeerOptions(4000, own_channels=False)


@asynccontextmanager
async def transport(options: PeerOptions = THEIRS) -> AsyncIterator[WebRtcTransport]:
    """One side of a connection that nobody ever joins."""
    made = WebRtcTransport(
        options,
        TransportEvents(
            on_message=lambda _: None,
            on_key_wanted=lambda: None,
            on_lost=lambda _: None,
            on_rate=lambda _: None,
            on_open=lambda: None,
            on_closed=lambda _: None,
        ),
    )
    try:
        yield made
    finally:
        # The engine begins to connect in a task of its own, which has to have begun.
        await anyio.sleep(0.02)
        await made.close("over")


async def offer_of(options: PeerOptions) -> str:
    async with transport(options) as made:
        return await made.offer()


def sections(sdp: str) -> dict[str, str]:
    """Which way media goes, by kind of section."""
    parts = {part.split(" ", 1)[0]: part for part in sdp.split("m=")[1:]}
    ways = {kind: re.search(r"sendrecv|sendonly|recvonly", part) for kind, part in parts.items()}
    return {kind: way[0] if way else "" for kind, way in ways.items()}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {"video": "sendonly", "audio": "sendonly"}),
        ({"audio": False}, {"video": "sendonly"}),
        ({"video": False}, {"audio": "sendonly"}),
        ({"video": False, "audio": False}, {}),
        ({"microphone": True, "camera": True}, {"video": "sendrecv", "audio": "sendrecv"}),
        ({"audio": False, "microphone": True}, {"video": "sendonly", "audio": "recvonly"}),
    ],
)
async def test_an_offer_has_what_was_asked_for_and_always_channels(
    options: dict[str, bool], wanted: dict[str, str]
) -> None:
    found = sections(await offer_of(PeerOptions(4000, own_channels=False, **options)))
    assert "application" in found
    assert {kind: way for kind, way in found.items() if kind != "application"} == wanted


async def test_an_offer_is_answered_once() -> None:
    theirs = await offer_of(PeerOptions(4000))
    async with transport() as made:
        answer = await made.accept(theirs)
        assert answer.count("a=setup:active") == 3
        with pytest.raises(BadMessage, match="already"):
            await made.accept(theirs)


async def test_an_offer_without_a_codec_of_ours_is_refused_in_words() -> None:
    theirs = re.sub(r"H264|VP8", "H266", await offer_of(PeerOptions(4000)))
    async with transport() as made:
        with pytest.raises(BadMessage):
            await made.accept(theirs)


async def test_no_offer_however_broken_is_a_fault() -> None:
    theirs = await offer_of(PeerOptions(4000))
    lines, dice = theirs.split("\r\n"), random.Random(7)
    for _ in range(40):
        broken = list(lines)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(1, len(broken))
            match dice.randrange(4):
                case 0:
                    del broken[at]
                case 1:
                    broken[at] = broken[at][: dice.randrange(len(broken[at]) + 1)]
                case 2:
                    broken[at] = broken[at] + " " + "9" * dice.randint(1, 30)
                case _:
                    broken.insert(at, broken[dice.randrange(1, len(broken))])
        async with transport() as made:
            try:
                await made.accept("\r\n".join(broken))
            except BadMessage:
                continue


async def test_M05_names_are_not_asked_for_and_64_are_taken() -> None:
    """The engine would look up ``.local`` names in the streamer's network."""
    theirs = await offer_of(PeerOptions(4000))
    named = "a=candidate:1 1 udp 1 {} 5000 typ host\r\n"
    hidden = "3f0c8a2e-1c1f-4a0b-9d54-0d8a4d2b7a11.local"
    offer = re.sub("a=(candidate:.*|end-of-candidates)\r\n", "", theirs) + named.format(hidden)
    async with transport() as made:
        await made.accept(offer)
        await made.candidate(named.format(hidden).strip().removeprefix("a="), "0", 0)
        for port in range(1, 10_001):
            await made.candidate(f"candidate:{port} 1 udp 1 127.0.0.1 {port} typ host", "0", 0)
        engine = made._ice
        assert not engine._mdns_lookups
        found = engine.remote_candidates
        assert len(found) == 64
        assert {candidate.host for candidate in found} == {"127.0.0.1"}
