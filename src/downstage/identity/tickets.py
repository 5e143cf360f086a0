"""One-time tickets: minted for one person, one use, one session; spent by one atomic UPDATE."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.auth.tickets import Ticket, TicketUse, hash_ticket, new_ticket
from downstage.identity.tables import tickets
from downstage.kernel.clock import Clock
from downstage.kernel.errors import InvalidToken
from downstage.services.facilities.database import Database

__all__ = ["TicketOffice"]

SWEEP_S = 60.0
"""Expired tickets are removed when one is minted, at most this often."""


class TicketOffice:
    """Mints and redeems."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._sweep_at = 0.0

    async def mint(
        self,
        use: TicketUse,
        subject: str,
        lifetime: timedelta,
        *,
        tenant: str = "main",
        session_id: str | None = None,
        seat: str | None = None,
    ) -> tuple[str, datetime]:
        """A new ticket, told here and never again, and when it expires."""
        ticket = new_ticket()
        now = self._clock.now().timestamp()
        expires = now + lifetime.total_seconds()
        async with self._database.write() as connection:
            await self._sweep(connection, now)
            await connection.execute(
                insert(tickets).values(
                    hash=hash_ticket(ticket),
                    tenant=tenant,
                    owner=subject,
                    use=use,
                    session_id=session_id,
                    seat=seat,
                    created_at=now,
                    expires_at=expires,
                )
            )
        return ticket, datetime.fromtimestamp(expires, UTC)

    async def redeem(self, ticket: str, use: TicketUse, session_id: str | None = None) -> Ticket:
        """Spend *ticket*.

        Raises:
            InvalidToken: used, expired, foreign, of another use or unknown: all the same.
        """
        async with self._database.write() as connection:
            return await self.redeem_in(connection, ticket, use, session_id)

    async def redeem_in(
        self,
        connection: AsyncConnection,
        ticket: str,
        use: TicketUse,
        session_id: str | None = None,
    ) -> Ticket:
        """As `redeem`, inside a write transaction: what fails after it gives the ticket back."""
        now = self._clock.now().timestamp()
        valid = self._valid(ticket, use, session_id, now)
        spent = await connection.execute(update(tickets).where(valid).values(used_at=now))
        if spent.rowcount != 1:
            raise InvalidToken("The ticket is not valid.")
        found = await connection.execute(
            select(tickets).where(tickets.c.hash == hash_ticket(ticket))
        )
        row = found.one()
        return Ticket(
            use=use,
            subject=row.owner,
            tenant=row.tenant,
            expires_at=datetime.fromtimestamp(row.expires_at, UTC),
            session_id=row.session_id,
            seat=row.seat,
        )

    async def is_valid(self, ticket: str, use: TicketUse, session_id: str | None = None) -> bool:
        """Whether *ticket* could be spent now, without spending it: a hint, not a promise."""
        now = self._clock.now().timestamp()
        async with self._database.read() as connection:
            found = await connection.scalar(
                select(tickets.c.hash).where(self._valid(ticket, use, session_id, now))
            )
        return found is not None

    async def void(
        self, connection: AsyncConnection, tenant: str, subject: str, use: TicketUse | None = None
    ) -> None:
        """Make all unspent tickets of *subject* worthless."""
        which = (tickets.c.tenant == tenant) & (tickets.c.owner == subject)
        if use is not None:
            which &= tickets.c.use == use
        await connection.execute(delete(tickets).where(which))

    def _valid(
        self, ticket: str, use: TicketUse, session_id: str | None, now: float
    ) -> ColumnElement[bool]:
        same_session = (
            tickets.c.session_id.is_(None)
            if session_id is None
            else tickets.c.session_id == session_id
        )
        return and_(
            tickets.c.hash == hash_ticket(ticket),
            tickets.c.used_at.is_(None),
            tickets.c.expires_at > now,
            tickets.c.use == use,
            same_session,
        )

    async def _sweep(self, connection: AsyncConnection, now: float) -> None:
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            await connection.execute(delete(tickets).where(tickets.c.expires_at < now))
