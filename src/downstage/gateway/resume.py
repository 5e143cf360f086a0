"""Seats at other gateways: a ticket with which a page takes its seat where its cookie is unknown.

A cookie belongs to one address, and its gateway may be dead. So where there are several gateways
a page holds one *resume ticket* too: for its own seat, for one use at any of them, and for no
longer than a viewer who was cut off may come back. It is replaced while the page is connected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

import anyio

from downstage.gateway.models import Seat
from downstage.gateway.tickets import TicketOffice
from downstage.kernel.errors import PlatformError
from downstage.kernel.limits import RESUME_TICKET_S
from downstage.kernel.logging import get_logger

__all__ = ["Resume"]

log = get_logger(__name__)


class _Line(Protocol):
    def send(self, message: Mapping[str, Any]) -> None: ...


class Resume:
    """Mints resume tickets.

    Args:
        office: mints them.
        gateways: addresses of all gateways on the database, our own first.
        lease: how long a viewer who was cut off may come back.
    """

    def __init__(self, office: TicketOffice, gateways: Sequence[str], lease: timedelta) -> None:
        self._office = office
        self.gateways = list(dict.fromkeys(url.rstrip("/") for url in gateways))
        self._seconds = max(1, min(int(lease.total_seconds()), RESUME_TICKET_S))

    @property
    def is_needed(self) -> bool:
        """There is another gateway to go to."""
        return len(self.gateways) > 1

    async def ticket(self, seat: Seat) -> str | None:
        """A fresh one; None where the cookie is enough."""
        if not self.is_needed:
            return None
        return (await self._office.resume_ticket(seat, self._seconds)).ticket

    async def renew(self, line: _Line, seat: Seat) -> None:
        """Send a fresh one before the last expires, until cancelled."""
        while self.is_needed:
            await anyio.sleep(self._seconds / 2)
            try:
                ticket = await self.ticket(seat)
            except PlatformError as error:
                log.warning("resume.not_renewed", session_id=seat.session_id, why=error.detail)
                continue
            line.send({"type": "resume", "ticket": ticket, "gateways": self.gateways})
