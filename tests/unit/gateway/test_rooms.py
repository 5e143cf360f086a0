"""Rooms: who hears what, which peers live, who may answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from downstage.contracts.anbox import AnboxScreen, AnboxSettings
from downstage.gateway.messages import (
    AnswerMessage,
    CandidateMessage,
    OfferMessage,
    Restart,
    Want,
)
from downstage.gateway.models import Seat
from downstage.gateway.rooms import Room, Rooms, Violation
from downstage.kernel.candidates import Reach

pytestmark = pytest.mark.unit

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
OFFER = OfferMessage(type="offer", sdp=SDP)
ANSWER = AnswerMessage(type="answer", sdp=SDP)
WANT = Want(type="want", width=800, height=600)


class Line:
    """Remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)

    def last(self, kind: str) -> Mapping[str, Any]:
        return next(m for m in reversed(self.sent) if m["type"] == kind)


def seat(name: str) -> Seat:
    return Seat(f"s-{name}", "session", "main", name, "controller", datetime.now(UTC))


@pytest.fixture
def room() -> Room:
    return Room("session", lambda _session, _seat: [{"urls": "stun:192.0.2.1"}])


def test_a_peer_counts_while_it_is_connected(room: Room) -> None:
    link, line = Line(), Line()
    room.attach(link, [])
    viewer = room.join(seat("a"), line)
    room.hear(viewer, WANT)
    opened = link.last("peer.open")
    assert opened["ice_servers"] == [{"urls": "stun:192.0.2.1"}]
    assert room.count == 0
    room.connected(opened["peer"], is_connected=True)
    assert room.count == 1
    room.leave(viewer)
    assert room.count == 1, "the picture goes on without the socket"
    assert link.last("peer.release")["peer"] == opened["peer"], "but nobody holds a key"
    room.connected(opened["peer"], is_connected=False)
    assert room.count == 0


def test_a_peer_that_never_connected_goes_with_its_socket(room: Room) -> None:
    link = Line()
    room.attach(link, [])
    viewer = room.join(seat("a"), Line())
    room.hear(viewer, WANT)
    room.leave(viewer)
    assert link.last("peer.close")["peer"] == link.last("peer.open")["peer"]


def test_wanting_again_replaces_the_peer(room: Room) -> None:
    link = Line()
    room.attach(link, [])
    viewer = room.join(seat("a"), Line())
    room.hear(viewer, WANT)
    first = link.last("peer.open")["peer"]
    room.connected(first, is_connected=True)
    room.hear(viewer, WANT)
    assert link.last("peer.close")["peer"] == first
    assert link.last("peer.open")["peer"] != first
    assert room.count == 0


def test_an_answer_answers_one_offer(room: Room) -> None:
    link, line = Line(), Line()
    room.attach(link, [])
    viewer = room.join(seat("a"), line)
    room.hear(viewer, WANT)
    peer = link.last("peer.open")["peer"]
    with pytest.raises(Violation, match="no offer"):
        room.hear(viewer, ANSWER)
    room.offer(peer, OFFER)
    assert line.last("offer")["peer"] == peer
    room.hear(viewer, ANSWER)
    assert link.last("peer.signal")["payload"] == {"type": "answer", "sdp": SDP}
    with pytest.raises(Violation):
        room.hear(viewer, ANSWER)
    room.offer(peer, OFFER)
    room.hear(viewer, ANSWER)


def test_a_viewer_reaches_its_own_peer_alone(room: Room) -> None:
    link = Line()
    room.attach(link, [])
    one, other = room.join(seat("a"), Line()), room.join(seat("b"), Line())
    room.hear(one, WANT)
    peer = link.last("peer.open")["peer"]
    room.offer(peer, OFFER)
    with pytest.raises(Violation):
        room.hear(other, ANSWER)
    room.hear(other, CandidateMessage(type="candidate", candidate="x"))
    assert link.sent[-1]["type"] == "peer.open"
    with pytest.raises(Violation) as foreign:
        room.hear(one, AnswerMessage(type="answer", sdp=SDP, peer="s-b.p"))
    assert foreign.value.reason == "foreign-peer"


def test_64_candidates_each_way(room: Room) -> None:
    link = Line()
    room.attach(link, [])
    viewer = room.join(seat("a"), Line())
    room.hear(viewer, WANT)
    peer = link.last("peer.open")["peer"]
    candidate = CandidateMessage(type="candidate", candidate="x")
    room.offer(peer, OFFER)
    for _ in range(64):
        room.hear(viewer, candidate)
        room.offer(peer, candidate)
    with pytest.raises(Violation):
        room.hear(viewer, candidate)
    with pytest.raises(Violation):
        room.offer(peer, candidate)
    room.offer(peer, OFFER)
    room.hear(viewer, candidate)


def test_a_gateway_that_comes_back_takes_up_the_living(room: Room) -> None:
    room.attach(Line(), ["s-a.p-1", "s-b.p-1"])
    assert room.count == 2
    link = Line()
    viewer = room.join(seat("a"), Line())
    room.hear(viewer, Restart(type="restart"))
    room.attach(link, ["s-a.p-1"])
    assert room.count == 1
    assert link.sent == [], "the viewer's peer lives: no new one is opened"
    room.hear(viewer, Restart(type="restart"))
    assert link.last("peer.restart")["peer"] == "s-a.p-1"


def test_a_restart_without_a_peer_opens_one(room: Room) -> None:
    link = Line()
    room.attach(link, [])
    room.hear(room.join(seat("a"), Line()), Restart(type="restart"))
    assert link.last("peer.open")["peer"].startswith("s-a.")


def test_the_second_line_of_a_seat_or_an_instance_wins(room: Room) -> None:
    first, second, old, new = Line(), Line(), Line(), Line()
    room.attach(old, [])
    room.attach(new, [])
    assert old.closed == (4000, "replaced")
    assert room.detach(old) is False
    viewer = room.join(seat("a"), first)
    room.join(seat("a"), second)
    assert first.closed == (4000, "replaced")
    room.leave(viewer)
    room.announce({"id": "x"})
    assert second.last("session")
    assert room.detach(new) is True


def test_signals_of_unknown_peers_go_nowhere(room: Room) -> None:
    room.attach(Line(), [])
    room.offer("nobody", OFFER)
    room.connected("nobody", is_connected=True)
    room.closed("nobody")
    assert room.count == 0


def test_all_are_dismissed_at_the_end(room: Room) -> None:
    link, line, ended = Line(), Line(), list[str]()
    room.attach(link, [])
    room.join(seat("a"), line)
    room.open_media("m", lambda: ended.append("m"))
    assert room.count == 1
    room.tell_streamer_end("stopped")
    room.dismiss("stopped")
    assert link.last("end") == {"type": "end", "reason": "stopped"}
    assert line.last("bye") == {"type": "bye", "reason": "stopped"}
    assert line.closed == link.closed == (1000, "ended")
    assert ended == ["m"]


def test_empty_rooms_are_forgotten() -> None:
    rooms = Rooms(lambda _: {})
    room = rooms.enter("session")
    viewer = room.join(seat("a"), Line())
    rooms.tidy(room)
    assert rooms.enter("session") is room
    room.leave(viewer)
    rooms.tidy(room)
    assert rooms.enter("session") is not room


INNER = "candidate:1 1 udp 2130706431 10.0.0.5 5000 typ host"
OUTER = "candidate:2 1 udp 2130706431 9.9.9.9 5000 typ host"


def told(link: Line) -> list[str]:
    """Addresses of the candidates that the streamer was told of."""
    found: list[str] = []
    for message in link.sent:
        payload = message.get("payload", {})
        lines = [*payload.get("sdp", "").splitlines(), payload.get("candidate") or ""]
        found += [line.split()[4] for line in lines if "candidate:" in line]
    return found


@pytest.mark.parametrize(
    ("reach", "passed"), [(Reach.PUBLIC, ["9.9.9.9"]), (Reach.PRIVATE, ["10.0.0.5", "9.9.9.9"])]
)
def test_M05_the_streamer_hears_of_no_inner_host_from_outside(
    room: Room, reach: Reach, passed: list[str]
) -> None:
    link = Line()
    room.attach(link, [])
    viewer = room.join(seat("a"), Line(), reach)
    room.hear(viewer, WANT)
    room.offer(link.last("peer.open")["peer"], OfferMessage(type="offer", sdp="v=0\r\nabcd"))
    sdp = f"v=0\r\na={INNER}\r\na={OUTER}\r\n"
    room.hear(viewer, AnswerMessage(type="answer", sdp=sdp))
    for line in (INNER, OUTER, "candidate:3 1 udp 1 abc.local 5000 typ host"):
        room.hear(viewer, CandidateMessage(type="candidate", candidate=line))
    assert told(link) == [*passed, *passed]
    room.hear(viewer, CandidateMessage(type="candidate", candidate=None))
    assert link.sent[-1]["payload"]["candidate"] is None, "that there are no more is told"


def test_M05_those_of_the_answer_count(room: Room) -> None:
    link = Line()
    room.attach(link, [])
    viewer = room.join(seat("a"), Line())
    room.hear(viewer, WANT)
    room.offer(link.last("peer.open")["peer"], OfferMessage(type="offer", sdp="v=0\r\nabcd"))
    many = "v=0\r\n" + f"a={OUTER}\r\n" * 1000
    room.hear(viewer, AnswerMessage(type="answer", sdp=many))
    assert len(told(link)) == 64
    with pytest.raises(Violation):
        room.hear(viewer, CandidateMessage(type="candidate", candidate=OUTER))


def test_M05_a_guest_who_names_too_many_early_harms_no_streamer(room: Room) -> None:
    guest = room.join(
        Seat("a-anna", "session", "main", "anna", "controller", datetime.now(UTC)), Line()
    )
    for _ in range(100):
        room.hear(guest, CandidateMessage(type="candidate", candidate=OUTER))
    settings = AnboxSettings(screen=AnboxScreen(width=640, height=480, fps=60))
    room.want(guest, settings, "v=0\r\n" + f"a={OUTER}\r\n" * 100)
    link = Line()
    room.attach(link, [])
    assert len(told(link)) == 64
