"""Who is asking, as far as a verified token says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from downstage.auth.scopes import expand

__all__ = ["KINDS", "STREAM_RIGHTS", "Bound", "Kind", "Principal", "StreamBound"]

Kind = Literal["user", "service", "instance", "seat", "token"]
"""``token`` is a person's program with an API token; ``seat`` holds one seat of one session."""

STREAM_RIGHTS = ("read", "write", "record", "admin")
"""What a token may do with the streams that match a pattern."""

KINDS: tuple[Kind, ...] = ("user", "service", "instance", "seat", "token")


@dataclass(frozen=True, slots=True)
class Bound:
    """A token that has bounds reaches this path and all below it, and nothing else."""

    path: str
    """Of a file or folder, ``/Projects/house``."""
    writes: bool = False
    """Whether it may write there; it may always read."""


@dataclass(frozen=True, slots=True)
class StreamBound:
    """A token that has bounds on streams reaches those whose names match, and no others."""

    pattern: str
    """``camera-*``: a star stands for anything."""
    rights: frozenset[str]
    """Some of ``read``, ``write``, ``record``, ``admin``."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    `subject` owns things (a person's sign-in and their API tokens share it); `name` is for
    eyes. A person removed and added again under the same name has another subject.
    """

    subject: str
    name: str
    kind: Kind
    tenant: str = "main"
    scopes: frozenset[str] = field(default_factory=frozenset[str])
    act: str | None = None
    """Subject of the person for whom a service, or an instance, calls."""
    session_id: str | None = None
    instance_id: str | None = None
    seat: str | None = None
    role: str | None = None
    """Of a seat: ``controller`` or ``spectator``."""
    reach: tuple[Bound, ...] | None = None
    """What files the token may touch, whatever its person may; None: it has no bounds."""
    streams: tuple[StreamBound, ...] | None = None
    """What streams the token may touch, whatever its person may; None: it has no bounds."""
    token_id: str = ""
    expires_at: datetime | None = None

    @property
    def person(self) -> str | None:
        """Subject of the person behind the call; None where a service calls for itself."""
        return self.act if self.kind == "service" else self.subject

    def may(self, scope: str) -> bool:
        """Whether *scope* is held, directly or implied by another."""
        return scope in expand(self.scopes)
