"""A request on its way out, as hooks see it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from downstage.services.transports import Body

__all__ = ["Outgoing"]


@dataclass(slots=True)
class Outgoing:
    """One call, encoded. Hooks may change its headers; `repr` shows neither these nor the query."""

    method: str
    """Upper case."""
    path: str
    """Percent-encoded, below the client's address."""
    query: tuple[tuple[str, str], ...] = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: Body = field(default=b"", repr=False)
    timeout_s: float | None = None
    """For the call as a whole, all attempts together."""
    begun: float = field(default_factory=time.monotonic)
    """When the call began, by the monotonic clock."""
    route: str = ""
    """The description's template, ``/sessions/{id}``; "" where it is not known. For labels."""
    attempt: int = 1
    is_repeatable: bool = False
    """May be sent again although the first attempt may have had its effect."""
    is_replayable: bool = True
    """Its body can be read again."""
    notes: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
