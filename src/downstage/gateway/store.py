"""Sessions in the database: rows in, rows out, each change by compare-and-set on the revision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import Row, Select, and_, delete, func, insert, or_, select, update

from downstage.contracts.manager import Display
from downstage.gateway.models import Key, Seat, Session
from downstage.gateway.states import Lease, LeaseKind, Life
from downstage.gateway.tables import idempotency, seats, sessions
from downstage.kernel.errors import Conflict, InvalidField
from downstage.services.facilities.database import Database

__all__ = ["Filter", "Store"]

KEY_LIFE = timedelta(hours=24)
"""How long an idempotency key is remembered."""
MAX_SEATS = 64
"""Seats of one session; a reload takes none."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which sessions: of a tenant, of an owner (None: everybody's), and how they stand."""

    tenant: str
    owner: str | None = None
    username: str | None = None
    ended_since: datetime | None = None
    """None: ended ones too; else only those that ended by themselves after it."""


class Store:
    """The only place that knows the tables.

    Sessions that have not ended are kept in memory too, with their seats: this gateway is the
    one that writes them, each write is a compare-and-set, and every step asks for them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._live: dict[str, Session] = {}
        self._seats: dict[str, dict[str, Seat]] = {}

    async def insert(self, session: Session, key: Key | None) -> None:
        """A new session, with the key that it was asked for by."""
        async with self._database.write() as connection:
            if key is not None:
                oldest = session.created_at - KEY_LIFE
                await connection.execute(
                    delete(idempotency).where(idempotency.c.created_at < oldest)
                )
                await connection.execute(insert(idempotency).values(_key_row(key, session)))
            await connection.execute(insert(sessions).values(_row(session)))
        self._keep(session)

    async def find_key(self, key: Key, now: datetime) -> str | None:
        """The session that *key* made already, if it did.

        Raises:
            Conflict: with another body.
        """
        query = select(idempotency).where(
            idempotency.c.tenant == key.tenant,
            idempotency.c.owner == key.owner,
            idempotency.c.key == key.key,
            idempotency.c.created_at >= now - KEY_LIFE,
        )
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
        self._drop(session_id)

    def peek(self, session_id: str) -> Session | None:
        """One session that has not ended, if this gateway drives it."""
        return self._live.get(session_id)

    async def get(self, session_id: str) -> Session | None:
        """One session."""
        if session_id in self._live:
            return self._live[session_id]
        async with self._database.read() as connection:
            row = (
                await connection.execute(select(sessions).where(sessions.c.id == session_id))
            ).first()
        return None if row is None else _session(row)

    async def replace(self, session: Session, revision: int) -> bool:
        """Store *session* if the row still has *revision*; whether it had."""
        values = _row(session)
        del values["id"], values["created_at"]
        async with self._database.write() as connection:
            done = await connection.execute(
                update(sessions)
                .where(sessions.c.id == session.id, sessions.c.revision == revision)
                .values(values)
            )
        if done.rowcount != 1:
            self._drop(session.id)
            return False
        self._keep(session)
        return True

    async def not_ended(self) -> list[Session]:
        """All that may still have something running."""
        query = select(sessions).where(sessions.c.state != "ended")
        found = await self._sessions(query.order_by(sessions.c.created_at))
        return [self._live.get(session.id, session) for session in found]

    async def page(
        self, wanted: Filter, *, limit: int, after: str | None
    ) -> tuple[list[Session], str | None]:
        """Newest first, and the cursor of what follows.

        Raises:
            InvalidField: *after* is no cursor of ours.
        """
        query = select(sessions).where(*_conditions(wanted))
        if after is not None:
            moment, last = _read_cursor(after)
            query = query.where(
                or_(
                    sessions.c.created_at < moment,
                    and_(sessions.c.created_at == moment, sessions.c.id < last),
                )
            )
        order = (sessions.c.created_at.desc(), sessions.c.id.desc())
        found = await self._sessions(query.order_by(*order).limit(limit + 1))
        if len(found) <= limit:
            return found, None
        return found[:limit], _cursor(found[limit - 1])

    async def sorted(
        self,
        wanted: Filter,
        *,
        by: Literal["created_at", "username"],
        descending: bool,
        limit: int,
        offset: int,
    ) -> list[Session]:
        """A slice by offset, for interfaces that page so."""
        first = sessions.c[by]
        order = [c.desc() if descending else c.asc() for c in (first, sessions.c.id)]
        query = select(sessions).where(*_conditions(wanted)).order_by(*order)
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

    def _keep(self, session: Session) -> None:
        if session.life.state == "ended":
            self._drop(session.id)
        else:
            self._live[session.id] = session

    def _drop(self, session_id: str) -> None:
        self._live.pop(session_id, None)
        self._seats.pop(session_id, None)

    async def _sessions(self, query: Select[Any]) -> list[Session]:
        async with self._database.read() as connection:
            return [_session(row) for row in await connection.execute(query)]


def _conditions(wanted: Filter) -> list[Any]:
    found: list[Any] = [sessions.c.tenant == wanted.tenant]
    if wanted.owner is not None:
        found.append(sessions.c.owner == wanted.owner)
    if wanted.username is not None:
        found.append(sessions.c.username == wanted.username)
    if wanted.ended_since is not None:
        recent = and_(sessions.c.outcome != "stopped", sessions.c.updated_at >= wanted.ended_since)
        found.append(or_(sessions.c.state != "ended", recent))
    return found


def _cursor(session: Session) -> str:
    return f"{session.created_at.isoformat()}_{session.id}"


def _read_cursor(after: str) -> tuple[datetime, str]:
    text, _, last = after.partition("_")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidField("after", "after: this is no cursor of a page.")
    return moment, last


def _key_row(key: Key, session: Session) -> dict[str, Any]:
    return {
        "tenant": key.tenant,
        "owner": key.owner,
        "key": key.key,
        "body_hash": key.body_hash,
        "session_id": session.id,
        "created_at": session.created_at,
    }


def _row(session: Session) -> dict[str, Any]:
    life = session.life
    return {
        "id": session.id,
        "tenant": session.tenant,
        "owner": session.owner,
        "username": session.username,
        "application": session.application,
        "stage": session.stage,
        "region": session.region,
        "home": session.home,
        "width": session.display.width,
        "height": session.display.height,
        "fps": session.display.fps,
        "state": life.state,
        "instance_id": life.instance_id,
        "outcome": life.outcome,
        "reason": life.reason,
        "detail": life.detail,
        "progress": life.progress,
        **_lease_row("lease", life.lease),
        **_lease_row("maximum", life.maximum),
        "encoder": session.encoder,
        "version": session.version,
        "profile": session.profile,
        "region_reason": session.region_reason,
        "priority": session.priority,
        "wait": session.wait,
        "queued_at": session.queued_at,
        "asked_at": session.asked_at,
        "ports": list(session.ports),
        "dialect": session.dialect,
        "extra": session.extra,
        "order": session.order,
        "spec": session.spec,
        "warnings": list(session.warnings),
        "sealed_token": session.sealed_token,
        "revision": session.revision,
        "created_at": session.created_at,
        "updated_at": session.updated_at,
    }


def _lease_row(prefix: str, lease: Lease | None) -> dict[str, Any]:
    return {
        f"{prefix}_kind": lease.kind if lease else None,
        f"{prefix}_ends_at": lease.ends_at if lease else None,
        f"{prefix}_ends_monotonic": lease.ends_monotonic if lease else None,
        f"{prefix}_boot_id": lease.boot_id if lease else None,
    }


def _read_lease(row: Row[Any], prefix: str) -> Lease | None:
    kind: LeaseKind | None = getattr(row, f"{prefix}_kind")
    if kind is None:
        return None
    return Lease(
        kind,
        getattr(row, f"{prefix}_ends_at"),
        getattr(row, f"{prefix}_ends_monotonic"),
        getattr(row, f"{prefix}_boot_id"),
    )


def _session(row: Row[Any]) -> Session:
    life = Life(
        state=row.state,
        lease=_read_lease(row, "lease"),
        maximum=_read_lease(row, "maximum"),
        instance_id=row.instance_id,
        outcome=row.outcome,
        reason=row.reason,
        detail=row.detail,
        progress=row.progress,
    )
    return Session(
        id=row.id,
        tenant=row.tenant,
        owner=row.owner,
        username=row.username,
        application=row.application,
        stage=row.stage,
        region=row.region,
        home=row.home,
        display=Display(width=row.width, height=row.height, fps=row.fps),
        life=life,
        created_at=row.created_at,
        updated_at=row.updated_at,
        revision=row.revision,
        encoder=row.encoder,
        version=row.version,
        profile=row.profile,
        region_reason=row.region_reason,
        priority=row.priority,
        wait=row.wait,
        queued_at=row.queued_at,
        asked_at=row.asked_at,
        ports=tuple(row.ports),
        dialect=row.dialect,
        extra=row.extra,
        order=row.order,
        spec=row.spec,
        warnings=tuple(row.warnings),
        sealed_token=row.sealed_token,
    )
