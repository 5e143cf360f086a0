"""One-time tickets for sockets of pages: kept here, since they live a minute and hold a principal.

A ticket lets in whom the token that asked for it let in, with its scopes and bounds: identity's
own tickets know neither. Restarting forgets them; the page asks for another.
"""

from __future__ import annotations

from collections import OrderedDict

from downstage.auth.principal import Principal
from downstage.auth.tickets import hash_ticket, new_ticket
from downstage.kernel.clock import Clock
from downstage.kernel.limits import SOCKET_TICKET_S

__all__ = ["Tickets"]

MOST = 4096
"""Tickets that wait at once; the oldest gives way."""
MAX_TICKET = 256


class Tickets:
    """Mints and redeems.

    Args:
        clock: of the platform.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    def mint(self, principal: Principal) -> str:
        """A ticket that stands for *principal*, once, for a minute."""
        ticket = new_ticket()
        expires = self._clock.monotonic() + SOCKET_TICKET_S
        self._waiting[hash_ticket(ticket)] = (expires, principal)
        while len(self._waiting) > MOST:
            self._waiting.popitem(last=False)
        return ticket

    def redeem(self, ticket: str) -> Principal | None:
        """Whom *ticket* stands for; None: used, expired or unknown."""
        if len(ticket) > MAX_TICKET:
            return None
        expires, principal = self._waiting.pop(hash_ticket(ticket), (0.0, None))
        return principal if self._clock.monotonic() < expires else None
