"""Whether who was let in some time ago still would be, and with the same rights.

What stays open (a socket, a stream of events) was begun for a caller as it was then: what it may
see is judged by that. So it ends when the caller's token no longer counts, or when its groups are
others; who is still welcome comes back, and goes on from where it was.
"""

from __future__ import annotations

from typing import Protocol

from downstage.auth.principal import Principal
from downstage.content.directory import Callers
from downstage.content.model import Caller
from downstage.kernel.errors import PlatformError

__all__ = ["CHECK_S", "Proving", "Standing"]

CHECK_S = 10.0
"""How often it is looked at."""


class Proving(Protocol):
    """Proves callers, and tells when they no longer count."""

    async def principal(self, token: str) -> Principal:
        """The principal that *token* proves."""
        ...

    def counts(self, principal: Principal) -> bool:
        """Whether *principal* would still be let in."""
        ...


class Standing:
    """Answers that.

    Args:
        proving: of the platform.
        callers: makes callers of principals.
    """

    def __init__(self, proving: Proving, callers: Callers) -> None:
        self._proving = proving
        self._callers = callers

    def now(self, principal: Principal, before: Caller) -> Caller | None:
        """Who *principal* is now, who was *before*; None: nobody who is let in."""
        if not self._proving.counts(principal):
            return None
        try:
            return self._callers.known(principal, before.client_id) or before
        except PlatformError:
            return None
