"""Who is on the line of a session: viewers, their peers, and how the two are told apart.

A *peer* is one peer connection between the streamer and one seat, called ``<seat>.<random>``. A
seat's id says by its beginning whether its holder is a *guest*, who speaks the Anbox dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from downstage.contracts.anbox import AnboxSettings
from downstage.gateway.messages import (
    AnswerMessage,
    CandidateMessage,
    OfferMessage,
)
from downstage.gateway.models import Seat
from downstage.kernel.candidates import MAX_CANDIDATES, Reach, may_try, sift
from downstage.kernel.errors import Forbidden, TooMany

__all__ = [
    "SHARED",
    "SOLE",
    "Line",
    "Peer",
    "Viewer",
    "Violation",
    "check_candidates",
    "is_guest",
]

SOLE, SHARED = "a-", "h-"
"""How ids of guests' seats begin: of those of whom there is one at a time, and of shares."""
GUESTS = (SOLE, SHARED)


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
    is_answered: bool = False
    """Both sides know each other: a guest's socket may go, see `is_guest`."""
    from_viewer: int = 0
    from_streamer: int = 0

    def vet(
        self, message: OfferMessage | AnswerMessage | CandidateMessage, reach: Reach
    ) -> dict[str, Any] | None:
        """What the streamer is told of a viewer's message; None: nothing.

        Candidates that lead where a viewer at *reach* has no business are left out.

        Raises:
            Violation: it is a candidate, and one more than are taken.
        """
        told = {**vars(message)}  # of strings and numbers: as JSON has them
        told.pop("peer", None)
        if isinstance(message, CandidateMessage):
            self.from_viewer += 1
            check_candidates(self.from_viewer)
            return told if not message.candidate or may_try(message.candidate, reach) else None
        told["sdp"], count = sift(message.sdp, reach)
        self.from_viewer += count
        return told


@dataclass(slots=True)
class Viewer:
    """One seat's signalling socket."""

    seat: Seat
    line: Line
    reach: Reach = Reach.PUBLIC
    """How near it stands: which of its candidates are tried."""
    size: tuple[int, int] | None = None
    """The size it wants a picture in; None: it has not asked."""
    anbox: AnboxSettings | None = None
    """What it wants of its peer connection, where it is a guest."""
    offer: str | None = None
    """Its SDP, where it is the viewer who offers."""
    early: list[CandidateMessage] = field(default_factory=list[CandidateMessage])
    """Candidates that it named before there was a peer."""


def check_candidates(count: int) -> None:
    """Whether one side of a peer may have named so many.

    Raises:
        Violation: it may not.
    """
    if count > MAX_CANDIDATES:
        raise Violation(
            TooMany(f"A peer names at most {MAX_CANDIDATES} candidates."), "too-many-candidates"
        )


def is_guest(seat: str) -> bool:
    """Whether who holds that seat speaks the Anbox dialect.

    Its clients close the socket once media flows, never restart, and hold nothing that a page
    would leave held. A seat's id says it, for peers outlive sockets and gateways.
    """
    return seat.startswith(GUESTS)
