"""One-time tickets: what they say, and the only form in which they are ever stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from downstage.kernel.ids import new_secret

__all__ = ["Ticket", "TicketUse", "hash_ticket", "new_ticket"]

TicketUse = Literal["join", "signalling", "media", "resume", "setup"]
SIZE = 24
"""Random bytes of a ticket: 192 bits, so that a plain hash protects it."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket opens, once, until it expires."""

    use: TicketUse
    subject: str
    tenant: str
    expires_at: datetime
    session_id: str | None = None
    seat: str | None = None


def new_ticket() -> str:
    """A fresh ticket; only its hash may be kept."""
    return new_secret(SIZE)


def hash_ticket(ticket: str) -> str:
    """SHA-256, hexadecimal. Salt and stretching are for guessable secrets; this is none."""
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).hexdigest()
