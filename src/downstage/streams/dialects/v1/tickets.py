"""One-time tickets, for addresses that a page opens."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Response

from downstage.contracts.streams import StreamTicket, StreamTicketRequest
from downstage.kernel.errors import Forbidden
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams.callers import Guest
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.tickets import Tickets

__all__ = ["ticket_route"]


def ticket_route(tickets: Tickets, ask: Asker) -> APIRouter:
    """The route that mints tickets.

    Args:
        tickets: of the service.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["streams"])
    guest: Any = Depends(ask)

    async def ticket(
        body: StreamTicketRequest, response: Response, who: Guest = guest
    ) -> StreamTicket:
        """A ticket that opens one address (``?token=``), once, within a minute, for one purpose.

        It may do what the token may that asked for it.
        """
        if who.is_open:
            raise Forbidden("This token is known to everybody, and opens addresses by itself.")
        if who.by_ticket:
            raise Forbidden("A ticket buys no other ticket.")
        response.headers["cache-control"] = "no-store"
        minted, expires_at = tickets.mint(who.principal, body.purpose)
        return StreamTicket(ticket=minted, expires_at=expires_at)

    router.post("/v1/streams/tickets", status_code=201, responses=refusals(429))(ticket)
    return router
