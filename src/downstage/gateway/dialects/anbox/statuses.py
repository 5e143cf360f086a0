"""How a session stands, in this dialect's five words; derived every time, never remembered."""

from __future__ import annotations

from collections.abc import Mapping

from downstage.contracts.gateway import SessionState
from downstage.gateway.dialects.anbox.models import Screen, SessionAnswer, Status
from downstage.gateway.models import Session

__all__ = ["KEY", "answer_of", "is_joinable", "message_of", "screen_of", "states_of", "status_of"]

KEY = "anbox"
"""Where the session's `extra` has what this dialect remembers."""
WORDS: Mapping[SessionState, Status] = {
    "queued": "created",
    "starting": "created",
    "ready": "active",
    "active": "active",
    "disconnected": "active",
    "ending": "terminating",
    "ended": "terminated",
}
WITH_INSTANCE = ("starting", "ready", "active", "disconnected", "ending")


def status_of(session: Session) -> Status:
    """The dialect's word."""
    life = session.life
    if life.state == "ended" and life.outcome == "failed":
        return "error"
    return WORDS[life.state]


def states_of(status: Status) -> list[SessionState]:
    """Our states that *status* stands for."""
    wanted = "terminated" if status == "error" else status
    return [state for state, word in WORDS.items() if word == wanted]


def message_of(session: Session) -> str:
    """Why it stands so, for people."""
    life = session.life
    if life.state in ("ending", "ended"):
        return life.detail or life.reason or "ended"
    return life.progress or ""


def is_joinable(session: Session) -> bool:
    """Whether one may join it; of another dialect's session: always."""
    known = session.extra.get(KEY)
    return True if known is None else bool(known.get("joinable"))


def screen_of(session: Session) -> Screen:
    """The picture that its next viewer shall have."""
    known = session.extra.get(KEY, {}).get("screen")
    if known is not None:
        return Screen.model_validate(known)
    display = session.display
    return Screen.model_construct(width=display.width, height=display.height, fps=display.fps)


def answer_of(session: Session) -> SessionAnswer:
    """The session as it is told."""
    return SessionAnswer(
        id=session.id,
        app=session.application,
        region=session.region,
        cluster_id=session.region,
        container_id=session.life.instance_id if session.life.state in WITH_INSTANCE else "",
        joinable=is_joinable(session),
        status=status_of(session),
        status_message=message_of(session),
        created_at=int(session.created_at.timestamp()),
    )
