"""Tokens that no longer count: written with their cause, told at once, kept until they expire."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.auth.tokens import SKEW_S
from downstage.bus import Bus
from downstage.contracts.identity import PEOPLE_CHANGED, RevocationList
from downstage.identity.state import read_state, write_state
from downstage.identity.tables import revocations, tokens
from downstage.kernel.clock import Clock
from downstage.kernel.logging import get_logger
from downstage.services.facilities.database import Database
from downstage.services.facilities.principal import REVOKED

__all__ = ["Listener", "Revocations", "Revoked"]

Listener = Callable[[int, Collection[str]], None]
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a transaction revoked; `Revocations.tell` it once that has committed."""

    revision: int
    ids: tuple[str, ...]


class Revocations:
    """The list, and those who must hear of it.

    Args:
        database: identity's.
        bus: tells other processes.
        clock: of the platform.
        listener: called before the answer goes out: this process's own authenticator.
    """

    def __init__(
        self, database: Database, bus: Bus, clock: Clock, listener: Listener | None = None
    ) -> None:
        self._database = database
        self._bus = bus
        self._listener = listener
        self._clock = clock

    async def revoke(self, connection: AsyncConnection, which: ColumnElement[bool]) -> Revoked:
        """Revoke the tokens that *which* (a condition on the table `tokens`) picks."""
        now = self._clock.now().timestamp()
        await connection.execute(delete(revocations).where(revocations.c.expires_at + SKEW_S < now))
        rows = (await connection.execute(select(tokens).where(which))).all()
        revision = int(await read_state(connection, "revision") or 0)
        if not rows:
            return Revoked(revision, ())
        revision += 1
        await write_state(connection, "revision", str(revision))
        await connection.execute(
            insert(revocations),
            [
                {
                    "token_id": row.id,
                    "tenant": row.tenant,
                    "owner": row.owner,
                    "revision": revision,
                    "expires_at": row.expires_at,
                }
                for row in rows
            ],
        )
        ids = tuple(row.id for row in rows)
        await connection.execute(delete(tokens).where(tokens.c.id.in_(ids)))
        return Revoked(revision, ids)

    def tell(self, revoked: Revoked) -> None:
        """Let every service know, after the commit."""
        if revoked.ids:
            if self._listener is not None:
                self._listener(revoked.revision, revoked.ids)
            self._bus.publish(REVOKED, {"revision": revoked.revision, "ids": list(revoked.ids)})
            log.info("tokens.revoked", count=len(revoked.ids), revision=revoked.revision)

    def tell_people_changed(self) -> None:
        """Let those who keep users and groups know, after the commit."""
        self._bus.publish(PEOPLE_CHANGED, {})

    async def list(self) -> RevocationList:
        """All that has not expired by itself."""
        now = self._clock.now().timestamp()
        async with self._database.read() as connection:
            revision = int(await read_state(connection, "revision") or 0)
            ids: Collection[str] = (
                await connection.scalars(
                    select(revocations.c.token_id).where(revocations.c.expires_at + SKEW_S >= now)
                )
            ).all()
        return RevocationList(revision=revision, ids=list(ids))
