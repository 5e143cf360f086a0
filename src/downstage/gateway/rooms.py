"""Who is on the line around each session: viewers' sockets, the streamer's link, their peers.

A peer (`downstage.gateway.lines`) outlives the sockets it was made over: when a viewer or the
gateway comes back, the streamer's ``hello`` names the peers that still live and they are taken up
again. Nothing here waits; sockets are `Line`s that queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from downstage.contracts.anbox import AnboxSettings
from downstage.gateway.lines import (
    SOLE,
    Line,
    Peer,
    Viewer,
    Violation,
    check_candidates,
    is_guest,
)
from downstage.gateway.messages import (
    AnswerMessage,
    CandidateMessage,
    FromViewer,
    OfferMessage,
    Restart,
    Want,
)
from downstage.gateway.models import Seat, Session
from downstage.gateway.states import Effect
from downstage.kernel.candidates import MAX_CANDIDATES, Reach
from downstage.kernel.errors import Forbidden
from downstage.kernel.ids import new_id

__all__ = ["Line", "Peer", "Room", "Rooms", "Viewer", "Violation"]

DEFAULT_SIZE = (1280, 720)
REPLACED = 4000
"""Close code of a socket whose seat (or instance) opened another one."""
MOVED = 4003
"""Close code where another gateway drives the session now."""

SeatServers = Callable[[str, str], list[dict[str, str]]]
"""Session id and seat id → STUN and TURN servers, with credentials of that seat."""


class Room:
    """All lines of one session.

    Args:
        session_id: whose.
        servers: what a seat is told to find a path by.
    """

    def __init__(self, session_id: str, servers: SeatServers) -> None:
        self.session_id = session_id
        self.picture: tuple[int | None, int | None] = (None, None)
        """The size of the picture, as the streamer last told."""
        self._servers = servers
        self._link: Line | None = None
        self._viewers: dict[str, Viewer] = {}
        self._peers: dict[str, Peer] = {}
        self._media: dict[str, Callable[[], None]] = {}

    @property
    def count(self) -> int:
        """Viewers who are sent the picture now."""
        return sum(peer.is_connected for peer in self._peers.values()) + len(self._media)

    @property
    def is_empty(self) -> bool:
        """Nobody is on any line."""
        return self._link is None and not self._viewers and not self._media

    # Viewers ---------------------------------------------------------------------------------

    def join(self, seat: Seat, line: Line, reach: Reach = Reach.PUBLIC) -> Viewer:
        """A seat's signalling socket opened; an earlier one of the same seat is closed."""
        earlier = self._viewers.pop(seat.id, None)
        if earlier is not None:
            earlier.line.close(REPLACED, "replaced")
        viewer = self._viewers[seat.id] = Viewer(seat, line, reach)
        return viewer

    def leave(self, viewer: Viewer, *, for_good: bool = False) -> None:
        """The socket went; the picture goes on, unless it never came or the viewer said bye."""
        if self._viewers.get(viewer.seat.id) is not viewer:
            return
        del self._viewers[viewer.seat.id]
        for peer in self._of(viewer.seat.id):
            if for_good or not (peer.is_connected or (is_guest(peer.seat) and peer.is_answered)):
                self._drop(peer, "left")
            elif self._link is not None and not is_guest(peer.seat):
                # A browser that died says nothing over the peer for 30 s: keys must not stay held.
                self._link.send({"type": "peer.release", "peer": peer.id})

    def hear(self, viewer: Viewer, message: FromViewer) -> None:
        """One message of a viewer (`Bye` ends its socket and does not come here).

        Raises:
            Violation: it may not come now.
        """
        match message:
            case Want():
                size = viewer.size or DEFAULT_SIZE
                viewer.size = (message.width or size[0], message.height or size[1])
                self._open(viewer)
            case Restart():
                self._restart(viewer)
            case AnswerMessage():
                self._answer(viewer, message)
            case CandidateMessage():
                self._candidate(viewer, message)
            case _:
                pass

    def want(self, viewer: Viewer, settings: AnboxSettings, offer: str | None = None) -> None:
        """A guest says what it wants, and in early versions offers.

        Who holds the one seat that guests share puts out who held it: their clients expect it.
        """
        viewer.size = (settings.screen.width, settings.screen.height)
        viewer.anbox, viewer.offer = settings, offer
        if viewer.seat.id.startswith(SOLE):
            self.expel(SOLE, "replaced", but=viewer.seat.id)
        self._open(viewer)

    def expel(self, seats: str, reason: str, *, but: str = "") -> None:
        """Put out everybody whose seat's id begins with *seats*, all but one."""
        for viewer in list(self._viewers.values()):
            if viewer.seat.id.startswith(seats) and viewer.seat.id != but:
                viewer.line.close(REPLACED, reason)
        for peer in list(self._peers.values()):
            if peer.seat.startswith(seats) and peer.seat != but:
                self._drop(peer, reason)

    def seats(self) -> set[str]:
        """Of viewers who are on the line, and of peers."""
        return set(self._viewers) | {peer.seat for peer in self._peers.values()}

    def part(self, peer_id: str) -> None:
        """A viewer said farewell to the streamer."""
        peer = self._peers.get(peer_id)
        if peer is not None:
            self._drop(peer, "left")

    def _open(self, viewer: Viewer) -> None:
        if viewer.size is None or self._link is None:
            return  # it is opened when the streamer dials in
        for peer in self._of(viewer.seat.id):
            self._drop(peer, "replaced")
        peer = Peer(f"{viewer.seat.id}.{new_id('p')}", viewer.seat.id)
        self._peers[peer.id] = peer
        guest = viewer.anbox
        self._link.send(
            {
                "type": "peer.open",
                "peer": peer.id,
                "role": viewer.seat.role,
                "transport": "webrtc",
                "width": viewer.size[0],
                "height": viewer.size[1],
                "ice_servers": self._servers(self.session_id, viewer.seat.id),
                **({"dialect": "anbox", "anbox": guest.model_dump(mode="json")} if guest else {}),
            }
        )
        if viewer.offer is not None:
            offer = OfferMessage(type="offer", sdp=viewer.offer)
            self._signal(peer, peer.vet(offer, viewer.reach))
        early, viewer.early = viewer.early, []
        for message in early[: MAX_CANDIDATES - peer.from_viewer]:
            self._candidate(viewer, message)

    def _restart(self, viewer: Viewer) -> None:
        viewer.size = viewer.size or DEFAULT_SIZE
        peers = self._of(viewer.seat.id)
        if not peers or self._link is None:
            self._open(viewer)
            return
        self._link.send({"type": "peer.restart", "peer": peers[0].id})

    def _answer(self, viewer: Viewer, message: AnswerMessage) -> None:
        peers = [peer for peer in self._of(viewer.seat.id) if peer.awaits_answer]
        if not peers:
            raise Violation(Forbidden("There is no offer to answer."), "unexpected-answer")
        _check_own(peers[0], message.peer)
        peers[0].awaits_answer, peers[0].is_answered = False, True
        self._signal(peers[0], peers[0].vet(message, viewer.reach))

    def _candidate(self, viewer: Viewer, message: CandidateMessage) -> None:
        peers = self._of(viewer.seat.id)
        if not peers and is_guest(viewer.seat.id) and len(viewer.early) < MAX_CANDIDATES:
            viewer.early.append(message)
        for peer in peers[:1]:
            _check_own(peer, message.peer)
            self._signal(peer, peer.vet(message, viewer.reach))

    def _signal(self, peer: Peer, payload: Mapping[str, Any] | None) -> None:
        if self._link is not None and payload is not None:
            self._link.send({"type": "peer.signal", "peer": peer.id, "payload": payload})

    # The streamer ----------------------------------------------------------------------------

    def attach(self, line: Line, living: Sequence[str]) -> None:
        """The streamer dialled in and told which peers live; an earlier line is closed."""
        if self._link is not None:
            self._link.close(REPLACED, "replaced")
        self._link = line
        known = self._peers
        self._peers = {}
        for peer_id in living:
            peer = known.get(peer_id) or Peer(peer_id, peer_id.partition(".")[0])
            peer.is_connected = True
            self._peers[peer_id] = peer
        for viewer in self._viewers.values():
            if viewer.size is not None and not self._of(viewer.seat.id):
                self._open(viewer)

    def detach(self, line: Line) -> bool:
        """The streamer's line broke; False where a newer one took its place before."""
        if self._link is not line:
            return False
        self._link = None
        return True

    def offer(self, peer_id: str, message: OfferMessage | AnswerMessage | CandidateMessage) -> None:
        """Something of the streamer for one viewer; of a peer that is gone: ignored.

        Raises:
            Violation: more candidates than are taken.
        """
        peer = self._peers.get(peer_id)
        if peer is None:
            return
        if isinstance(message, OfferMessage):
            peer.awaits_answer = True
            peer.from_viewer = peer.from_streamer = 0
        elif isinstance(message, AnswerMessage):
            peer.is_answered = True
        else:
            peer.from_streamer += 1
            check_candidates(peer.from_streamer)
        viewer = self._viewers.get(peer.seat)
        if viewer is None or (isinstance(message, AnswerMessage) and viewer.offer is None):
            return  # it has gone, or nobody asked
        viewer.line.send({**vars(message), "peer": peer.id})

    def connected(self, peer_id: str, *, is_connected: bool) -> None:
        """Media flows to a peer, or does no more."""
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.is_connected = is_connected

    def is_connected(self, viewer: Viewer) -> bool:
        """Whether media flows to a viewer."""
        return any(peer.is_connected for peer in self._of(viewer.seat.id))

    def closed(self, peer_id: str, reason: str | None = None, detail: str | None = None) -> None:
        """The streamer gave a peer up; a guest who waits is told why."""
        peer = self._peers.pop(peer_id, None)
        viewer = self._viewers.get(peer.seat) if peer is not None else None
        if viewer is not None and viewer.anbox is not None:
            viewer.line.send({"type": "closed", "reason": reason, "detail": detail})

    def push_streams(self, seconds: float, url: str | None) -> bool:
        """Let the streamer push for so long; False where it is not on the line."""
        if self._link is None:
            return False
        self._link.send({"type": "streams.push", "seconds": seconds, "url": url})
        return True

    # Media sockets ---------------------------------------------------------------------------

    def dial_media(self, relay: str, peer: str, role: str, asked: Line | None) -> Line | None:
        """Let the streamer dial back, unless it was *asked* over its line; that line."""
        if self._link is not None and self._link is not asked:
            self._link.send({"type": "media.dial", "relay": relay, "peer": peer, "role": role})
        return self._link

    def open_media(self, relay: str, end: Callable[[], None]) -> None:
        """A relay of frames is up; *end* closes it."""
        self._media[relay] = end

    def close_media(self, relay: str) -> None:
        """It is down again."""
        self._media.pop(relay, None)

    # All -------------------------------------------------------------------------------------

    def announce(self, view: Mapping[str, Any]) -> None:
        """The session changed."""
        for viewer in self._viewers.values():
            viewer.line.send({"type": "session", "session": view})

    def tell_streamer_end(self, reason: str) -> None:
        """The session ends."""
        if self._link is not None:
            self._link.send({"type": "end", "reason": reason})

    def dismiss(self, reason: str) -> None:
        """It has ended: everybody may go."""
        for viewer in self._viewers.values():
            viewer.line.send({"type": "bye", "reason": reason})
        self.close(1000, "ended")

    def close(self, code: int, reason: str) -> None:
        """Close all lines; whom the streamer still sends to is no concern of ours any more."""
        self._peers.clear()
        viewers = [viewer.line for viewer in self._viewers.values()]
        for line in viewers if self._link is None else [*viewers, self._link]:
            line.close(code, reason)
        for end in list(self._media.values()):
            end()

    def _of(self, seat: str) -> list[Peer]:
        return [peer for peer in self._peers.values() if peer.seat == seat]

    def _drop(self, peer: Peer, reason: str) -> None:
        self._peers.pop(peer.id, None)
        if self._link is not None:
            self._link.send({"type": "peer.close", "peer": peer.id, "reason": reason})


def _check_own(peer: Peer, named: str | None) -> None:
    if named is not None and named != peer.id:
        raise Violation(Forbidden("This is meant for another peer."), "foreign-peer")


class Rooms:
    """The rooms of this gateway; listens to what its sessions do.

    Args:
        show: a session as viewers are told.
        servers: what a seat is told to find a path by.
    """

    def __init__(
        self,
        show: Callable[[Session], Mapping[str, Any]],
        servers: SeatServers = lambda _session, _seat: [],
    ) -> None:
        self._show = show
        self._rooms: dict[str, Room] = {}
        self.servers = servers

    def enter(self, session_id: str) -> Room:
        """The room of a session, made on first use; give it back by `tidy`."""
        room = self._rooms.get(session_id)
        if room is None:
            room = self._rooms[session_id] = Room(session_id, self.servers)
        return room

    def find(self, session_id: str) -> Room | None:
        """The room of a session, if anybody is in it."""
        return self._rooms.get(session_id)

    def seats(self, prefix: str) -> list[tuple[str, str]]:
        """Session and seat of everybody whose seat's id begins so."""
        return [
            (room.session_id, seat)
            for room in self._rooms.values()
            for seat in room.seats()
            if seat.startswith(prefix)
        ]

    def tidy(self, room: Room) -> None:
        """Forget *room* where nobody is in it."""
        if room.is_empty and room.count == 0 and self._rooms.get(room.session_id) is room:
            del self._rooms[room.session_id]

    def ids(self) -> set[str]:
        """Sessions that somebody is on a line for."""
        return set(self._rooms)

    def move_out(self, session_id: str) -> None:
        """Another gateway drives the session: everybody is to go there; pictures go on."""
        if session_id in self._rooms:
            self._rooms[session_id].close(MOVED, "moved")
            self.tidy(self._rooms[session_id])

    def viewers(self, session_id: str) -> int:
        """Viewers of one session."""
        return self._rooms[session_id].count if session_id in self._rooms else 0

    def count(self) -> int:
        """Viewers of all sessions."""
        return sum(room.count for room in self._rooms.values())

    def on_change(self, session: Session, effects: tuple[Effect, ...]) -> None:
        """A listener of sessions."""
        room = self._rooms.get(session.id)
        if room is None:
            return
        room.announce(self._show(session))
        if Effect.TELL_STREAMER in effects:
            room.tell_streamer_end(session.life.reason or "stopped")
        if Effect.DISMISS_VIEWERS in effects:
            room.dismiss(session.life.reason or "ended")
