"""Who is on the line around each session: viewers' sockets, the streamer's link, their peers.

A *peer* is one peer connection between the streamer and one seat, called
``<seat>.<random>``. It outlives the sockets it was made over: when a viewer or the gateway
comes back, the streamer's ``hello`` names the peers that still live and they are taken up
again. Nothing here waits; sockets are `Line`s that queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from downstage.gateway.messages import (
    MAX_CANDIDATES,
    AnswerMessage,
    CandidateMessage,
    FromViewer,
    OfferMessage,
    Restart,
    Want,
)
from downstage.gateway.models import Seat, Session
from downstage.gateway.states import Effect
from downstage.kernel.errors import Forbidden, TooMany
from downstage.kernel.ids import new_id

__all__ = ["Line", "Peer", "Room", "Rooms", "Viewer", "Violation"]

DEFAULT_SIZE = (1280, 720)
REPLACED = 4000
"""Close code of a socket whose seat (or instance) opened another one."""


SeatServers = Callable[[str, str], list[dict[str, str]]]
"""Session id and seat id → STUN and TURN servers, with credentials of that seat."""


class Line(Protocol):
    """The sending half of a socket."""

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message; never waits."""
        ...

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close after what is queued."""
        ...


class Violation(Exception):
    """A message that may not come now or from there; its socket must go."""

    def __init__(self, error: Forbidden | TooMany, reason: str) -> None:
        super().__init__(error.detail)
        self.error = error
        self.reason = reason


@dataclass(slots=True)
class Peer:
    """One peer connection, as far as the gateway knows."""

    id: str
    seat: str
    is_connected: bool = False
    awaits_answer: bool = False
    from_viewer: int = 0
    from_streamer: int = 0


@dataclass(slots=True)
class Viewer:
    """One seat's signalling socket."""

    seat: Seat
    line: Line
    size: tuple[int, int] | None = None
    """The size it wants a picture in; None: it has not asked."""


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

    def join(self, seat: Seat, line: Line) -> Viewer:
        """A seat's signalling socket opened; an earlier one of the same seat is closed."""
        earlier = self._viewers.pop(seat.id, None)
        if earlier is not None:
            earlier.line.close(REPLACED, "replaced")
        viewer = self._viewers[seat.id] = Viewer(seat, line)
        return viewer

    def leave(self, viewer: Viewer, *, for_good: bool = False) -> None:
        """The socket went; the picture goes on, unless it never came or the viewer said bye."""
        if self._viewers.get(viewer.seat.id) is not viewer:
            return
        del self._viewers[viewer.seat.id]
        for peer in self._of(viewer.seat.id):
            if for_good or not peer.is_connected:
                self._drop(peer, "left")
            elif self._link is not None:
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

    def _open(self, viewer: Viewer) -> None:
        if viewer.size is None or self._link is None:
            return  # it is opened when the streamer dials in
        for peer in self._of(viewer.seat.id):
            self._drop(peer, "replaced")
        peer = Peer(f"{viewer.seat.id}.{new_id('p')}", viewer.seat.id)
        self._peers[peer.id] = peer
        self._link.send(
            {
                "type": "peer.open",
                "peer": peer.id,
                "role": viewer.seat.role,
                "transport": "webrtc",
                "width": viewer.size[0],
                "height": viewer.size[1],
                "ice_servers": self._servers(self.session_id, viewer.seat.id),
            }
        )

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
        peers[0].awaits_answer = False
        self._signal(peers[0], message.model_dump(mode="json", exclude={"peer"}))

    def _candidate(self, viewer: Viewer, message: CandidateMessage) -> None:
        for peer in self._of(viewer.seat.id)[:1]:
            _check_own(peer, message.peer)
            peer.from_viewer += 1
            if peer.from_viewer > MAX_CANDIDATES:
                raise Violation(
                    TooMany(f"A peer names at most {MAX_CANDIDATES} candidates."),
                    "too-many-candidates",
                )
            self._signal(peer, message.model_dump(mode="json", exclude={"peer"}))

    def _signal(self, peer: Peer, payload: Mapping[str, Any]) -> None:
        if self._link is not None:
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

    def offer(self, peer_id: str, message: OfferMessage | CandidateMessage) -> None:
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
        else:
            peer.from_streamer += 1
            if peer.from_streamer > MAX_CANDIDATES:
                raise Violation(
                    TooMany(f"A peer names at most {MAX_CANDIDATES} candidates."),
                    "too-many-candidates",
                )
        viewer = self._viewers.get(peer.seat)
        if viewer is not None:
            viewer.line.send({**message.model_dump(mode="json"), "peer": peer.id})

    def connected(self, peer_id: str, *, is_connected: bool) -> None:
        """Media flows to a peer, or does no more."""
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.is_connected = is_connected

    def closed(self, peer_id: str) -> None:
        """The streamer gave a peer up."""
        self._peers.pop(peer_id, None)

    def push_streams(self, seconds: float, url: str | None) -> bool:
        """Let the streamer push for so long; False where it is not on the line."""
        if self._link is None:
            return False
        self._link.send({"type": "streams.push", "seconds": seconds, "url": url})
        return True

    # Media sockets ---------------------------------------------------------------------------

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
            viewer.line.close(1000, "ended")
        for end in list(self._media.values()):
            end()
        if self._link is not None:
            self._link.close(1000, "ended")

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

    def tidy(self, room: Room) -> None:
        """Forget *room* where nobody is in it."""
        if room.is_empty and room.count == 0 and self._rooms.get(room.session_id) is room:
            del self._rooms[room.session_id]

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
