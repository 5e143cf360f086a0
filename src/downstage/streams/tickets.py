"""One-time tickets: for addresses that a page opens, where no header can carry a token.

A ticket lets in whom the token that asked for it let in, with its scopes and bounds, once, for one
purpose, within a minute. They are kept here; restarting forgets them, and the page asks again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import datetime, timedelta
from typing import Literal

from downstage.auth.principal import Principal
from downstage.auth.tickets import hash_ticket, new_ticket
from downstage.kernel.clock import Clock
from downstage.kernel.errors import TooMany
from downstage.kernel.limits import SOCKET_TICKET_S

__all__ = ["MAX_TICKET", "MOST", "MOST_OF_ONE", "Purpose", "Tickets"]

Purpose = Literal["push", "pull", "read"]
"""What a ticket opens: a socket that pushes, one that pulls, or any read by HTTP."""
MOST = 4096
"""Tickets that wait at once; the oldest gives way."""
MOST_OF_ONE = 512
"""Tickets of one person within the time that one counts: the others have room, too."""
MAX_TICKET = 256


class Tickets:
    """Mints and redeems.

    Args:
        clock: of the platform.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: OrderedDict[str, tuple[float, Purpose, Principal]] = OrderedDict()
        self._minted: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def mint(self, principal: Principal, purpose: Purpose) -> tuple[str, datetime]:
        """A ticket that stands for *principal*, once, and when it ends.

        Raises:
            TooMany: they have asked for so many within a minute.
        """
        self._count(principal)
        ticket = new_ticket()
        expires = self._clock.monotonic() + SOCKET_TICKET_S
        self._waiting[hash_ticket(ticket)] = (expires, purpose, principal)
        while len(self._waiting) > MOST:
            self._waiting.popitem(last=False)
        return ticket, self._clock.now() + timedelta(seconds=SOCKET_TICKET_S)

    def _count(self, principal: Principal) -> None:
        now = self._clock.monotonic()
        owner = (principal.tenant, principal.act or principal.subject)
        own = self._minted.setdefault(owner, deque())
        self._minted.move_to_end(owner)
        while own and own[0] <= now - SOCKET_TICKET_S:
            own.popleft()
        if len(own) >= MOST_OF_ONE:
            raise TooMany("Use the tickets that you have.", retry_after_s=5)
        own.append(now)
        while next(iter(self._minted.values()))[-1] <= now - SOCKET_TICKET_S:
            self._minted.popitem(last=False)

    def redeem(self, ticket: str, purpose: Purpose) -> Principal | None:
        """Whom *ticket* stands for; None: used, expired, unknown, or for something else."""
        if len(ticket) > MAX_TICKET:
            return None
        found = self._waiting.pop(hash_ticket(ticket), None)
        if found is None:
            return None
        expires, meant, principal = found
        return principal if meant == purpose and self._clock.monotonic() < expires else None
