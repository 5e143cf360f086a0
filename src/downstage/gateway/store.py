"""Sessions in the database: rows in, rows out, each change by compare-and-set on the revision."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.gateway.filters import Filter, SortBy, page_query, sorted_query
from downstage.gateway.models import Key, Seat, Session
from downstage.gateway.queue import Waiting
from downstage.gateway.rows import key_row, read_session, session_row
from downstage.gateway.tables import gateways, idempotency, seats, sessions
from downstage.kernel.errors import Conflict, NoCapacity, SessionQuota
from downstage.services.facilities.cursors import write_cursor
from downstage.services.facilities.database import Database

__all__ = ["Bounds", "Store"]

KEY_LIFE = timedelta(hours=24)
"""How long an idempotency key is remembered."""
MAX_SEATS = 64
"""Seats of one session; a reload takes none."""
MANY = 1000
"""Orphans that are looked at together."""

FULL_S = 30
"""When to try again where even the queue is full."""
BATCH = 200
"""Rows that are read or written together: more would keep everybody else waiting."""
IN_QUEUE = (sessions.c.state == "queued", sessions.c.queued_at.is_not(None))

REPLACE = update(sessions).where(sessions.c.id == bindparam("which"))
REPLACE_IF = REPLACE.where(sessions.c.revision == bindparam("before"))
"""Made once: to make a statement with all its values each time takes longer than to run it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many there may be."""

    per_user: int = 0
    """Sessions of one person that have not ended; 0: any number."""
    queue: int = 1000
    """Sessions that wait."""


class Store:
    """The only place that knows the tables.

    Sessions that have not ended and are at home here are kept in memory too, with their seats:
    this gateway is the one that writes them, each write is a compare-and-set, and every step asks
    for them. All others are read from the database each time.

    Args:
        database: of the gateways.
        home: address of this one.
        bounds: how many sessions there may be.
    """

    def __init__(self, database: Database, home: str, bounds: Bounds | None = None) -> None:
        self._database = database
        self._bounds = bounds or Bounds()
        self._home = home
        self._live: dict[str, Session] = {}
        self._seats: dict[str, dict[str, Seat]] = {}

    async def insert(self, session: Session, key: Key | None) -> bool:
        """A new session, with the key that it was asked for by; False: that made one already.

        Count and insert are one transaction that holds the write lock, so that nobody gets more
        by asking for many at once.

        Raises:
            SessionQuota: its owner has as many as they may.
        """
        async with self._database.write() as connection:
            if key is not None:
                oldest = session.created_at - KEY_LIFE
                await connection.execute(
                    delete(idempotency).where(idempotency.c.created_at < oldest)
                )
                if (await connection.execute(_same_key(key))).first() is not None:
                    return False
                await connection.execute(insert(idempotency).values(key_row(key, session)))
            await self._check_quota(connection, session)
            await connection.execute(insert(sessions), session_row(session))
        self._keep(session)
        return True

    async def find_key(self, key: Key, now: datetime) -> str | None:
        """The session that *key* made already, if it did.

        Raises:
            Conflict: with another body.
        """
        query = _same_key(key).where(idempotency.c.created_at >= now - KEY_LIFE)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return None
        if row.body_hash != key.body_hash:
            raise Conflict("This Idempotency-Key was used with another body.", key=key.key)
        return cast("str", row.session_id)

    async def forget(self, session_id: str) -> None:
        """As if it had never been asked for; nothing may run for it."""
        async with self._database.write() as connection:
            await connection.execute(
                delete(idempotency).where(idempotency.c.session_id == session_id)
            )
            await connection.execute(delete(seats).where(seats.c.session_id == session_id))
            await connection.execute(delete(sessions).where(sessions.c.id == session_id))
        self.drop(session_id)

    def peek(self, session_id: str) -> Session | None:
        """One session that has not ended, if this gateway drives it."""
        return self._live.get(session_id)

    async def get(self, session_id: str) -> Session | None:
        """One session."""
        if session_id in self._live:
            return self._live[session_id]
        return await self._read(session_id)

    async def fresh(self, session_id: str) -> Session | None:
        """One session as the database has it, whatever is kept in memory."""
        found = await self._read(session_id)
        known = self._live.get(session_id)
        if found is not None and known is not None and known.revision >= found.revision:
            return known  # written while we read
        if found is None:
            self.drop(session_id)
        else:
            self._keep(found)
        return found

    async def replace(self, session: Session, revision: int, *, joins_queue: bool = False) -> bool:
        """Store *session* if the row still has *revision*; whether it had.

        Raises:
            NoCapacity: it joins the queue, and as many wait as may.
        """
        values = {**_replacement(session), "before": revision}
        async with self._database.write() as connection:
            if joins_queue:
                await self._check_queue(connection)
            done = await connection.execute(REPLACE_IF, values)
        if done.rowcount != 1:
            self.drop(session.id)
            return False
        self._keep(session)
        return True

    async def replace_all(self, changed: Sequence[Session]) -> set[str]:
        """Store each of *changed* whose row is one revision older; the ids of those that were.

        Two statements, however many there are.
        """
        if not changed:
            return set()
        i = sessions.c
        which = select(i.id, i.revision).where(i.id.in_([session.id for session in changed]))
        async with self._database.write() as connection:
            rows = await connection.execute(which.with_for_update())
            before = {row.id: row.revision for row in rows}
            stored = [item for item in changed if before.get(item.id) == item.revision - 1]
            if stored:
                await connection.execute(REPLACE, [_replacement(item) for item in stored])
        ids = {session.id for session in stored}
        for session in changed:
            if session.id in ids:
                self.keep(session)
            else:
                self.drop(session.id)
        return ids

    async def batches(self) -> AsyncIterator[list[Session]]:
        """All at home here that may still have something running, so many at a time.

        What is kept in memory and is as new as its row is not read again.
        """
        stored = await self.revisions()
        ids = list(stored)
        for first in range(0, len(ids), BATCH):
            part = ids[first : first + BATCH]
            kept = {
                item: known
                for item in part
                if (known := self._live.get(item)) is not None and known.revision >= stored[item]
            }
            older = [item for item in part if item not in kept]
            if older:
                query = select(sessions).where(sessions.c.id.in_(older), *self._mine())
                kept |= {session.id: session for session in await self._sessions(query)}
            yield [kept[item] for item in part if item in kept]

    async def ended_among(self, ids: Sequence[str]) -> set[str]:
        """Which of these sessions have ended; one that is on no record has not."""
        found, i = set[str](), sessions.c
        for first in range(0, len(ids), BATCH):
            part = ids[first : first + BATCH]
            query = select(i.id).where(i.id.in_(part), i.state == "ended")
            async with self._database.read() as connection:
                found.update((await connection.execute(query)).scalars())
        return found

    def keep(self, session: Session) -> None:
        """Keep in memory what its row says, unless something newer is kept."""
        known = self._live.get(session.id)
        if known is None or known.revision < session.revision:
            self._keep(session)

    async def revisions(self) -> dict[str, int]:
        """Of all at home here that have not ended, as the database has them: id → revision."""
        query = select(sessions.c.id, sessions.c.revision).where(*self._mine())
        async with self._database.read() as connection:
            return {row.id: row.revision for row in await connection.execute(query)}

    async def orphans(self, fresh: Any) -> list[Session]:
        """Those that have not ended and whose home is dead: none lives but us, or *fresh* ones."""
        query = select(sessions).where(sessions.c.home != self._home, sessions.c.state != "ended")
        if fresh is not None:
            lives = select(gateways.c.url).where(gateways.c.url == sessions.c.home, fresh)
            query = query.where(~lives.exists())
        return await self._sessions(query.order_by(sessions.c.created_at).limit(MANY))

    async def waiting(self) -> list[Waiting]:
        """All that are in the queue, at whichever gateway."""
        order = sessions.c.order
        query = select(
            sessions.c.id,
            sessions.c.home,
            sessions.c.priority,
            sessions.c.queued_at,
            order["region"].as_string().label("region"),
            order["shape"].as_string().label("shape"),
        ).where(*IN_QUEUE)
        async with self._database.read() as connection:
            return [Waiting(*row) for row in await connection.execute(query)]

    async def note_asked(self, session_id: str, now: datetime) -> None:
        """Somebody asked, at another gateway, after a session that waits; no change of it."""
        which = and_(sessions.c.id == session_id, sessions.c.state == "queued")
        async with self._database.write() as connection:
            await connection.execute(update(sessions).where(which).values(asked_at=now))

    async def asked_at(self, session_id: str) -> datetime | None:
        """When that was last."""
        query = select(sessions.c.asked_at).where(sessions.c.id == session_id)
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar()

    def kept(self) -> dict[str, int]:
        """Of all that are kept in memory: id → revision."""
        return {session.id: session.revision for session in self._live.values()}

    async def page(
        self, wanted: Filter, *, limit: int, after: str | None
    ) -> tuple[list[Session], str | None]:
        """Newest first, and the cursor of what follows.

        Raises:
            InvalidField: *after* is no cursor of ours.
        """
        found = await self._sessions(page_query(wanted, limit, after))
        if len(found) <= limit:
            return found, None
        last_shown = found[limit - 1]
        return found[:limit], write_cursor(last_shown.created_at, last_shown.id)

    async def sorted(
        self,
        wanted: Filter,
        *,
        by: SortBy,
        descending: bool,
        limit: int,
        offset: int,
    ) -> list[Session]:
        """A slice by offset, for interfaces that page so."""
        query = sorted_query(wanted, by, descending=descending)
        return await self._sessions(query.limit(limit).offset(offset))

    async def add_seat(self, seat: Seat) -> None:
        """One more participant.

        Raises:
            Conflict: the session has as many as it may.
        """
        taken = select(func.count()).where(seats.c.session_id == seat.session_id)
        async with self._database.write() as connection:
            if (await connection.execute(taken)).scalar_one() >= MAX_SEATS:
                raise Conflict(f"The session has {MAX_SEATS} seats, and all are taken.")
            await connection.execute(
                insert(seats).values(
                    id=seat.id,
                    session_id=seat.session_id,
                    tenant=seat.tenant,
                    owner=seat.subject,
                    role=seat.role,
                    created_at=seat.created_at,
                )
            )
        if seat.session_id in self._live:
            self._seats.setdefault(seat.session_id, {})[seat.id] = seat

    async def keep_seat(self, seat: Seat) -> Seat:
        """The seat of that id, which is made if there is none: for ids that stand for somebody.

        Raises:
            Conflict: the session has as many as it may.
        """
        known = await self.seat(seat.session_id, seat.id)
        if known is not None:
            return known
        try:
            await self.add_seat(seat)
        except IntegrityError:  # made meanwhile
            return await self.seat(seat.session_id, seat.id) or seat
        return seat

    async def drop_seats(self, session_id: str, prefix: str) -> None:
        """Take away every seat of a session whose id begins with *prefix*."""
        theirs = seats.c.id.startswith(prefix, autoescape=True)
        async with self._database.write() as connection:
            await connection.execute(delete(seats).where(seats.c.session_id == session_id, theirs))
        self.forget_seats(session_id, prefix)

    def forget_seats(self, session_id: str, prefix: str) -> None:
        """The same, as another gateway has done it."""
        known = self._seats.get(session_id, {})
        for seat_id in [item for item in known if item.startswith(prefix)]:
            del known[seat_id]

    async def seat(self, session_id: str, seat_id: str) -> Seat | None:
        """One seat of one session."""
        known = self._seats.get(session_id, {}).get(seat_id)
        if known is not None:
            return known
        query = select(seats).where(seats.c.id == seat_id, seats.c.session_id == session_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return None
        return Seat(row.id, row.session_id, row.tenant, row.owner, row.role, row.created_at)

    def drop(self, session_id: str) -> None:
        """Keep it in memory no longer."""
        self._live.pop(session_id, None)
        self._seats.pop(session_id, None)

    async def _check_quota(self, connection: AsyncConnection, session: Session) -> None:
        most = self._bounds.per_user
        if not most:
            return
        query = select(sessions.c.id).where(
            sessions.c.tenant == session.tenant,
            sessions.c.owner == session.owner,
            sessions.c.state != "ended",
        )
        rows = (await connection.execute(query.order_by(sessions.c.created_at))).scalars().all()
        if len(rows) >= most:
            raise SessionQuota(
                f"You have {len(rows)} sessions, and may have {most} at once. End one first, for "
                f"example the oldest: {rows[0]}.",
                limit=most,
                oldest=rows[0],
            )

    async def _check_queue(self, connection: AsyncConnection) -> None:
        query = select(func.count()).select_from(sessions).where(*IN_QUEUE)
        if (await connection.execute(query)).scalar_one() >= self._bounds.queue:
            raise NoCapacity(
                f"Every place is taken, and {self._bounds.queue} sessions wait already.",
                retry_after_s=FULL_S,
            )

    def _mine(self) -> tuple[ColumnElement[bool], ...]:
        return (sessions.c.home == self._home, sessions.c.state != "ended")

    def _keep(self, session: Session) -> None:
        if session.life.state == "ended" or session.home != self._home:
            self.drop(session.id)
        else:
            self._live[session.id] = session

    async def _read(self, session_id: str) -> Session | None:
        query = select(sessions).where(sessions.c.id == session_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else read_session(row)

    async def _sessions(self, query: Select[Any]) -> list[Session]:
        async with self._database.read() as connection:
            return [read_session(row) for row in await connection.execute(query)]


def _replacement(session: Session) -> dict[str, Any]:
    values = session_row(session)
    del values["created_at"]
    return {**values, "which": values.pop("id")}


def _same_key(key: Key) -> Select[Any]:
    return select(idempotency).where(
        idempotency.c.tenant == key.tenant,
        idempotency.c.owner == key.owner,
        idempotency.c.key == key.key,
    )
