"""Why a client is sent away, in words: the cause, and what helps. Its users see nothing else."""

from __future__ import annotations

from typing import Any

__all__ = ["of_close", "of_end", "silent"]

REPLACED = "Another client joined this session. Join it again to take it back."
CLOSES = {
    "replaced": REPLACED,
    "revoked": "The share by which you were connected was revoked. Ask for a new one.",
    "full": "The session has as many viewers as it takes. Try again when somebody has left.",
    "left": "The viewer left.",
    "moved": "Another gateway serves this session now. Join it again.",
    "slow": "The connection is too slow for its messages. Try again on a better network.",
    "bad-message": "The instance could not use what this client sent. Update the client.",
}
SILENT = {
    "client": (
        "The client opened the socket and sent neither settings nor an offer. Check that the page "
        "runs and that its SDK speaks version 0 to 2."
    ),
    "instance": (
        "The instance of this session does not answer. It may still be starting or cut off: look "
        "at the session's status, and try again."
    ),
    "answer": (
        "The client did not answer the instance's offer. Check that the page still runs and that "
        "its browser speaks WebRTC."
    ),
    "media": (
        "Client and instance know each other, but no media path came up between them. A firewall "
        "may block UDP: allow it, or configure a TURN server (downstage doctor --network)."
    ),
}
"""Whom the platform waited for."""


def of_close(reason: str | None, detail: str | None = None) -> str:
    """Why a peer connection, or a socket, is given up."""
    if detail:
        return detail
    known = CLOSES.get(reason or "")
    return known or f"The instance gave the connection up ({reason or 'no reason'}). Join again."


def of_end(session: dict[str, Any]) -> str:
    """Why a session, as it is shown to viewers, is over."""
    reason = session.get("reason") or "ended"
    detail = session.get("detail")
    if detail:
        return f"The session has ended ({reason}): {detail}"
    return f"The session has ended ({reason}). Start a new one."


def silent(whom: str, seconds: float) -> str:
    """Who did not speak in time."""
    return f"{SILENT[whom]} (Waited {seconds:g} s.)"
