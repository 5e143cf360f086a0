"""A client's conversation with a room: message for message, and whom it waits for."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.gateway.dialects.anbox.messages import read_client
from downstage.gateway.dialects.anbox.models import Screen
from downstage.gateway.dialects.anbox.talk import Speaker, Talk
from downstage.gateway.lines import Violation
from downstage.gateway.messages import AnswerMessage, CandidateMessage, OfferMessage
from downstage.gateway.models import Seat
from downstage.gateway.rooms import Room
from downstage.gateway.wire import Wire
from downstage.kernel.errors import BadMessage

pytestmark = pytest.mark.unit

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
B64 = base64.b64encode(SDP.encode()).decode()
OFFER = OfferMessage(type="offer", sdp=SDP)
ANSWER = AnswerMessage(type="answer", sdp=SDP)
CANDIDATE = "candidate:1 1 udp 2130706431 9.9.9.9 5000 typ host"
CANDIDATE_B64 = base64.b64encode(CANDIDATE.encode()).decode()


class Line:
    """A streamer's line, or a client's socket, that remembers."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    def send(self, message: Mapping[str, Any]) -> None:
        if self.closed is None:
            self.sent.append(dict(message))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.sent if message["type"] == kind]


class Client:
    """A client in a room."""

    def __init__(self, room: Room, seat: str = "a-anna") -> None:
        self.wire = Line()
        self.speaker = Speaker(cast("Wire", self.wire))
        holder = Seat(seat, "session", "main", "anna", "controller", datetime.now(UTC))
        self.viewer = room.join(holder, self.speaker)
        self.talk = Talk(self.speaker, room, self.viewer, Screen(width=800, height=600))

    def say(self, **message: Any) -> None:
        self.talk.hear(read_client(json.dumps(message)))


@pytest.fixture
def room() -> Room:
    return Room("session", lambda _session, _seat: [])


@pytest.fixture
def link(room: Room) -> Line:
    line = Line()
    room.attach(line, [])
    return line


def opened(link: Line) -> dict[str, Any]:
    return link.of("peer.open")[-1]


def test_version_2_message_for_message(room: Room, link: Line) -> None:
    client = Client(room)
    client.say(type="discover")
    assert client.wire.sent[-1]["max_api_version"] == 2
    assert client.speaker.awaited == "client"
    client.say(
        type="settings", api_version=2, data_channels=["news"], enable_speaker=False,
        video={"preferred_decoder_codecs": ["AV1", "h264", "X"]},
    )  # fmt: skip
    wish = opened(link)
    assert wish["dialect"] == "anbox"
    assert (wish["width"], wish["height"]) == (800, 600)
    assert wish["anbox"]["offers"] == "streamer"
    assert wish["anbox"]["data_channels"] == ["news"]
    assert wish["anbox"]["enable_speaker"] is False
    assert wish["anbox"]["enable_video"] is True
    assert wish["anbox"]["preferred_codecs"] == ["AV1", "H264"]
    assert client.speaker.awaited == "instance"
    room.offer(wish["peer"], OFFER)
    assert client.wire.sent[-1] == {"type": "offer", "sdp": B64}
    assert client.speaker.awaited == "answer"
    client.say(type="answer", sdp=B64)
    client.say(type="candidate", candidate=CANDIDATE_B64, sdpMid="0", sdpMLineIndex=0)
    answer, candidate = link.of("peer.signal")
    assert answer["payload"] == {"type": "answer", "sdp": SDP}
    assert candidate["payload"]["candidate"] == CANDIDATE
    assert client.speaker.awaited == "media"


@pytest.mark.parametrize("version", [None, 0, 1])
def test_before_version_2_the_client_offers(room: Room, link: Line, version: int | None) -> None:
    client = Client(room)
    if version is not None:
        client.say(type="settings", api_version=version)
    assert not link.sent
    client.say(type="candidate", candidate=CANDIDATE_B64, sdpMid="0", sdpMLineIndex=0)
    client.say(type="offer", sdp=B64, dataChannels=["control", "news"])
    wish = opened(link)
    assert wish["anbox"]["offers"] == "viewer"
    assert wish["anbox"]["api_version"] == (version or 0)
    assert wish["anbox"]["data_channels"] == ["news"]
    offer, candidate = link.of("peer.signal")
    assert offer["payload"] == {"type": "offer", "sdp": SDP}
    assert candidate["payload"]["candidate"] == CANDIDATE
    room.offer(wish["peer"], ANSWER)
    assert client.wire.sent[-1] == {"type": "answer", "sdp": B64}
    assert client.speaker.awaited == "media"


def test_an_instance_that_comes_later_is_asked_then(room: Room) -> None:
    client = Client(room)
    client.say(type="offer", sdp=B64)
    link = Line()
    room.attach(link, [])
    assert [message["type"] for message in link.sent] == ["peer.open", "peer.signal"]


def test_line_15_the_picture_outlives_the_socket(room: Room, link: Line) -> None:
    client = Client(room)
    client.say(type="settings", api_version=2)
    peer = opened(link)["peer"]
    room.offer(peer, OFFER)
    client.say(type="answer", sdp=B64)
    room.leave(client.viewer)  # before the streamer has told that media flows
    assert not link.of("peer.close")
    room.connected(peer, is_connected=True)
    assert room.count == 1
    assert not link.of("peer.release"), "such a client holds nothing that its page must let go of"


def test_who_leaves_before_the_answer_is_forgotten(room: Room, link: Line) -> None:
    client = Client(room)
    client.say(type="settings", api_version=2)
    room.leave(client.viewer)
    assert link.of("peer.close")[-1]["reason"] == "left"


def test_pain_24_a_joiner_puts_out_its_like_and_nobody_else(room: Room, link: Line) -> None:
    own_page = Line()
    seats = ("s-page", "h-share-0")
    page = room.join(
        Seat(seats[0], "session", "main", "p", "spectator", datetime.now(UTC)), own_page
    )
    shared = Client(room, seats[1])
    shared.say(type="settings", api_version=2)
    first = Client(room, "a-first")
    first.say(type="settings", api_version=2)
    gone = opened(link)["peer"]
    second = Client(room, "a-second")
    assert first.wire.closed is None, "a socket alone puts nobody out"
    second.say(type="settings", api_version=2)
    assert first.wire.sent[-1]["type"] == "error"
    assert "joined" in first.wire.sent[-1]["message"]
    assert first.wire.closed == (4000, "replaced")
    assert [message["peer"] for message in link.of("peer.close")] == [gone]
    assert own_page.closed is None
    assert shared.wire.closed is None
    assert page.seat.id in room.seats()


def test_a_share_is_cut(room: Room, link: Line) -> None:
    client = Client(room, "h-one-0")
    client.say(type="settings", api_version=2)
    room.expel("h-one-", "revoked")
    assert "revoked" in client.wire.sent[-1]["message"]
    assert link.of("peer.close")[-1]["reason"] == "revoked"
    room.leave(client.viewer)
    assert room.seats() == set()


@pytest.mark.parametrize(
    "act",
    [
        lambda room, _: room.announce({"state": "ending", "reason": "deleted", "detail": None}),
        lambda room, _: room.dismiss("application-exited"),
        lambda room, peer: room.closed(peer, "full", None),
        lambda room, peer: room.closed(peer, "x", "The encoder is gone. Try again."),
    ],
)
def test_line_16_every_end_says_why_first(room: Room, link: Line, act: Any) -> None:
    client = Client(room)
    client.say(type="settings", api_version=2)
    act(room, opened(link)["peer"])
    assert client.wire.sent[-1]["type"] == "error"
    assert len(client.wire.sent[-1]["message"]) > 20
    assert client.wire.closed is not None


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "answer", "sdp": B64}],
        [{"type": "settings", "api_version": 2}, {"type": "settings", "api_version": 2}],
        [{"type": "settings", "api_version": 2}, {"type": "offer", "sdp": B64}],
        [{"type": "offer", "sdp": B64}, {"type": "offer", "sdp": B64}],
        [{"type": "offer", "sdp": B64, "dataChannels": list("abcdef")}],
    ],
)
def test_what_may_not_come_now_is_refused(
    room: Room, link: Line, messages: list[dict[str, Any]]
) -> None:
    del link
    client = Client(room)
    with pytest.raises((BadMessage, Violation)):  # noqa: PT012 - any of them
        for message in messages:
            client.say(**message)


def test_T05_a_flood_of_candidates_ends_it(room: Room, link: Line) -> None:
    client = Client(room)
    client.say(type="settings", api_version=2)
    with pytest.raises(Violation, match="candidates"):  # noqa: PT012 - one of them
        for _ in range(10_000):
            client.say(type="candidate", candidate=CANDIDATE_B64, sdpMid="0", sdpMLineIndex=0)
    assert len(link.of("peer.signal")) <= 64


def test_candidates_before_there_is_an_instance_have_a_bound(room: Room) -> None:
    client = Client(room)
    for _ in range(1000):
        client.say(type="candidate", candidate=CANDIDATE_B64, sdpMid="0", sdpMLineIndex=0)
    assert len(client.viewer.early) == 64


SAYINGS = st.sampled_from(
    [
        {"type": "discover"},
        {"type": "settings", "api_version": 2, "data_channels": ["news"]},
        {"type": "settings", "api_version": 1},
        {"type": "offer", "sdp": B64, "dataChannels": ["news"]},
        {"type": "answer", "sdp": B64},
        {"type": "candidate", "candidate": CANDIDATE_B64, "sdpMid": "0", "sdpMLineIndex": 0},
        {"type": "candidate"},
        {"type": "nonsense"},
    ]
)
STREAMER = st.sampled_from(["offer", "answer", "candidate", "connected", "closed", "attach", "end"])


@given(st.lists(st.one_of(SAYINGS, STREAMER), max_size=24))
def test_pain_19_no_order_of_messages_breaks_a_room(steps: list[dict[str, Any] | str]) -> None:
    room, link = Room("session", lambda _session, _seat: []), Line()
    room.attach(link, [])
    other = Client(room, "h-other-0")
    other.say(type="settings", api_version=2)
    theirs = opened(link)["peer"]
    room.offer(theirs, OFFER)
    client = Client(room)
    for step in steps:
        peer = link.of("peer.open")[-1]["peer"]
        try:
            _do(room, link, client, peer if peer != theirs else "a-anna.p-none", step)
        except (BadMessage, Violation):
            room.leave(client.viewer)
            client = Client(room)
    other.say(type="answer", sdp=B64)
    assert other.wire.closed is None or "end" in steps, "somebody else's conversation goes on"


def _do(room: Room, link: Line, client: Client, peer: str, step: dict[str, Any] | str) -> None:
    match step:
        case dict():
            client.say(**step)
        case "offer":
            room.offer(peer, OFFER)
        case "answer":
            room.offer(peer, ANSWER)
        case "candidate":
            room.offer(peer, CandidateMessage(type="candidate", candidate=CANDIDATE))
        case "connected":
            room.connected(peer, is_connected=True)
        case "closed":
            room.closed(peer, "failed")
        case "attach":
            living = [message["peer"] for message in link.of("peer.open")]
            room.attach(link, living)
            link.closed = None
        case _:
            room.announce({"state": "ending", "reason": "deleted"})
