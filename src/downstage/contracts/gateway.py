"""What the gateway says: sessions, seats, join links. Public unless marked.

==========  =====================================  ==========================================
verb        path                                   body → answer
==========  =====================================  ==========================================
GET         /v1/applications                       → ApplicationPage (of the caller's region)
GET         /v1/regions                            → RegionPage (`downstage.contracts.agent`)
POST        /v1/sessions                           SessionCreate → SessionCreated (201);
                                                   header ``Idempotency-Key`` honoured
GET         /v1/sessions                           → SessionPage (`limit`, `after`)
GET         /v1/sessions/{id}                      → SessionView, 404 (absent or not yours)
DELETE      /v1/sessions/{id}                      → 202 SessionView; idempotent
GET         /v1/sessions/{id}/events               SSE: SessionView at every change, ids = revision
POST        /v1/sessions/{id}/links                → JoinLink (a new join code; controller)
POST        /v1/sessions/{id}/seat                 SeatRequest → SeatAnswer + cookie
GET         /v1/sessions/{id}/seat                 → SeatAnswer by the cookie (a reload)
POST        /v1/sessions/{id}/tickets              SocketTicketRequest → SocketTicket
POST        /v1/sessions/{id}/streams              SessionStreamsRequest → SessionStreams
WS          /v1/sessions/{id}/signalling           see below; sub-protocol ``downstage.v1``
WS          /v1/sessions/{id}/media                see `downstage.contracts.streamer`
WS          /v1/instances/{id}/link    internal    streamer dials; bearer = instance token
==========  =====================================  ==========================================

Both sockets of a viewer take their one-time ticket as a second sub-protocol,
``downstage.ticket.<ticket>`` (never in the URL); a program without an Origin header may show
``Authorization: Bearer`` instead. Messages on the signalling socket are JSON objects, at most
64 KiB, ``{"type": …}``:

======================  ==========  =========================================================
type                    direction   content
======================  ==========  =========================================================
``welcome``             to viewer   ``session`` (SessionView), ``seat``, ``ice_servers``,
                                    ``ice_policy`` (``all`` or ``relay``), ``heartbeat_ms``
``beat``                to viewer   nothing: something comes at least every ``heartbeat_ms``, and
                                    who hears nothing for longer asks another gateway
``session``             to viewer   ``session``: the SessionView changed
``want``                to server   ``transport``: ``webrtc``; ``width``, ``height`` of the
                                    viewer in device pixels: asks for an offer
``offer`` ``answer``    both        ``sdp``; ``peer``: another than before asks for a new peer
                                    connection (the streamer was started anew)
``candidate``           both        ``candidate``, ``sdp_mid``, ``sdp_mline_index``; null ends;
                                    ``peer`` may be told back, and is then checked
``resume``              to viewer   ``ticket``, ``gateways``: in place of the seat's last resume
                                    ticket, before that expires
``restart``             to server   asks for a new offer with an ICE restart
``bye``                 both        ``reason``
``error``               to viewer   a problem object; the socket closes after it
======================  ==========  =========================================================

What needs the session's own gateway is answered 421 by any other, with ``home`` in the problem
and the header ``Downstage-Home``: ask there. Who shows nothing that would be let in is not told.
The header ``Downstage-Resume`` shows a resume ticket where the cookie of a seat is unknown: for
the seat, the session, and its end.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, SecretStr

from downstage.contracts.manager import Display, PortRoute
from downstage.contracts.wire import Answer, Request

__all__ = [
    "SESSION_CHANGED",
    "JoinLink",
    "Outcome",
    "Role",
    "SeatAnswer",
    "SeatRequest",
    "SessionCreate",
    "SessionCreated",
    "SessionPage",
    "SessionState",
    "SessionStreams",
    "SessionStreamsRequest",
    "SessionView",
    "SocketTicket",
    "SocketTicketRequest",
]

SESSION_CHANGED = "gateway.session.changed"
"""Bus subject; payload ``{"session_id": str, "revision": int}``."""

SessionState = Literal["queued", "starting", "ready", "active", "disconnected", "ending", "ended"]
Outcome = Literal["stopped", "expired", "failed"]
Role = Literal["controller", "spectator"]


class SessionCreate(Request):
    """Ask for an application on stage."""

    application: str = Field(max_length=512)
    stage: str | None = Field(default=None, max_length=4096)
    arguments: list[str] = Field(default_factory=list, max_length=256)
    environment: dict[str, str] = Field(default_factory=dict, max_length=256)
    display: Display = Display()
    version: int | None = Field(default=None, ge=-1)
    """None or -1: the newest that is published."""
    profile: str | None = Field(default=None, max_length=64)
    region: str | None = Field(default=None, max_length=128)
    """None: the best one, see `SessionView.region_reason`."""
    rtt_ms: dict[str, float] = Field(default_factory=dict, max_length=64)
    """What the caller measured to the regions' probes."""
    near: str | None = Field(default=None, max_length=128)
    """A region that the caller would like best, all else being equal."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Above 0 needs ``sessions:admin``; the higher one is served first."""
    wait: bool = True
    """Wait in the queue when nothing is free; False: 503 at once."""
    user_data: str | None = Field(default=None, max_length=10 * 1024)
    """Handed to the application as a file."""
    access_token: SecretStr | None = Field(default=None, max_length=16384)


class SessionView(Answer):
    """A session as its owner may see it."""

    id: str
    tenant: str
    owner: str
    application: str
    stage: str | None
    version: int | None = None
    profile: str | None = None
    region: str
    region_reason: str | None = None
    """Why this region: the scores that were compared."""
    home: str | None = None
    """Address of the gateway that drives it: sockets and pages are there."""
    position: int | None = None
    """While queued: 1 is next."""
    eta_s: float | None = None
    """While queued: seconds until it starts, as far as is known."""
    ports: list[PortRoute] = Field(default_factory=list[PortRoute])
    state: SessionState
    outcome: Outcome | None = None
    reason: str | None = None
    """Machine-readable cause of the end: ``application-exited``, ``connect-lease``, …"""
    detail: str | None = None
    """The same for a person, with what to do."""
    progress: str | None = None
    """While starting: placed, display, audio, streamer, application, running."""
    width: int
    height: int
    fps: int
    encoder: str | None = None
    """Encoder in use and, where it is a fall-back, why."""
    warnings: list[str] = Field(default_factory=list)
    revision: int
    created_at: datetime
    updated_at: datetime
    lease_ends_at: datetime | None = None


class JoinLink(Answer):
    """A link that opens this session once; the code is in the fragment."""

    join_url: str
    code: str
    expires_at: datetime


class SessionCreated(SessionView):
    """The new session and the link that opens it."""

    join_url: str


class SessionPage(Answer):
    """Sessions, newest first; `next` is the cursor of the following page."""

    items: list[SessionView]
    next: str | None = None


class SessionStreamsRequest(Request):
    """Let the session push its picture and sound as streams (`downstage.contracts.video`)."""

    on: bool = True
    """False stops it at once."""
    seconds: float = Field(default=30, gt=0, le=3600)
    """How long, unless it is asked for again: who reads asks again."""


class SessionStreams(Answer):
    """What the session pushes."""

    video: str
    """Name of the stream of pictures."""
    audio: str
    """Name of the stream of sound; it holds nothing in silence."""
    playlist: str
    """Path of the HLS playlist, at the service of streams."""


class SeatRequest(Request):
    """Exchange a join code (or, signed in, nothing) for a seat and its cookie."""

    code: SecretStr | None = Field(default=None, max_length=256)


class SeatAnswer(Answer):
    """The seat, with a first ticket for each socket to save round trips."""

    session: SessionView
    seat: str
    role: Role
    signalling_ticket: str
    media_ticket: str
    resume_ticket: str | None = None
    """Takes this seat once more, once, at any of `gateways`: header ``Downstage-Resume`` in place
    of the cookie. None: there is one gateway, and the cookie is enough."""
    gateways: list[str] = Field(default_factory=list[str])
    """Addresses to ask in turn when this one does not answer."""


class SocketTicketRequest(Request):
    """Which socket is to be opened."""

    use: Literal["signalling", "media"]


class SocketTicket(Answer):
    """One socket, once, within 60 s."""

    ticket: str
    expires_at: datetime
