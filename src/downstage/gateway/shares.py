"""Shares: links that let others in to a session, again and again until they expire.

A share's token is kept twice: as a hash, by which it is found to be right, and sealed, so that its
owner can be told the link again. Whoever comes by it takes one of its few seats in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row, delete, func, insert, select, update

from downstage.auth.seal import Sealer
from downstage.auth.tickets import hash_ticket, new_ticket
from downstage.gateway.lines import SHARED
from downstage.gateway.models import Session
from downstage.gateway.tables import dialect_settings, shares
from downstage.kernel.errors import Forbidden, InvalidToken, NotFound, SetupError
from downstage.kernel.ids import new_id
from downstage.services.facilities.database import Database

__all__ = ["SEATS", "DialectSettings", "Share", "ShareKind", "Shares", "new_share"]

ShareKind = Literal["controller", "spectator"]
SEATS = {"controller": 1, "spectator": 16}
"""How many may look by one share at once; one more takes the place of the first."""
LONGEST_TOKEN = 256


@dataclass(frozen=True, slots=True)
class Share:
    """One link."""

    id: str
    session_id: str
    tenant: str
    owner: str
    """Subject of who made it."""
    kind: ShareKind
    description: str
    created_at: datetime
    expires_at: datetime
    token: str = ""
    """What opens it; empty where it cannot be told here."""

    def seat(self, uses: int) -> str:
        """Id of the seat that its *uses*-th use takes."""
        return f"{self.id}-{uses % SEATS[self.kind]}"


class Shares:
    """The only place that knows their table.

    Args:
        database: of the gateways.
        sealer: closes tokens.
    """

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def add(self, share: Share, *, most: int) -> Share:
        """A new one, which is given its id and its token.

        Raises:
            Forbidden: the session has *most* that have not expired.
        """
        made = replace(share, id=new_id(SHARED.rstrip("-")), token=new_ticket())
        live = select(func.count()).where(
            shares.c.session_id == share.session_id, shares.c.expires_at > share.created_at
        )
        async with self._database.write() as connection:
            old = shares.c.expires_at <= share.created_at
            await connection.execute(delete(shares).where(old))
            if (await connection.execute(live)).scalar_one() >= most:
                raise Forbidden(
                    f"The session has {most} shares, and that is the limit. Delete one.",
                    limit=most,
                )
            await connection.execute(insert(shares).values(_values(made, self._sealer)))
        return made

    async def get(self, share_id: str, now: datetime) -> Share:
        """One that has not expired.

        Raises:
            NotFound: there is none.
        """
        query = select(shares).where(shares.c.id == share_id, shares.c.expires_at > now)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise NotFound("There is no such share, or it has expired.")
        return self._share(row)

    async def page(
        self,
        tenant: str,
        owner: str | None,
        now: datetime,
        *,
        session_id: str | None,
        limit: int,
        offset: int,
    ) -> tuple[list[Share], int]:
        """Those that have not expired, oldest first, and how many there are in all."""
        wanted = [shares.c.tenant == tenant, shares.c.expires_at > now]
        if owner is not None:
            wanted.append(shares.c.owner == owner)
        if session_id is not None:
            wanted.append(shares.c.session_id == session_id)
        rows = select(shares).where(*wanted).order_by(shares.c.created_at, shares.c.id)
        count = select(func.count()).select_from(shares).where(*wanted)
        async with self._database.read() as connection:
            total = (await connection.execute(count)).scalar_one()
            found = await connection.execute(rows.limit(limit).offset(offset))
            return [self._share(row) for row in found], total

    async def change(self, share: Share) -> None:
        """Store its description and its end."""
        async with self._database.write() as connection:
            await connection.execute(
                update(shares)
                .where(shares.c.id == share.id)
                .values(description=share.description, expires_at=share.expires_at)
            )

    async def remove(self, share_id: str) -> None:
        """It opens nothing any more."""
        async with self._database.write() as connection:
            await connection.execute(delete(shares).where(shares.c.id == share_id))

    async def use(self, session_id: str, token: str, now: datetime) -> tuple[Share, str]:
        """The share that *token* opens, and the id of the seat that this use takes.

        Raises:
            InvalidToken: no share of the session; why is not told.
        """
        if not 0 < len(token) <= LONGEST_TOKEN:
            raise InvalidToken
        right = (
            (shares.c.token_hash == hash_ticket(token))
            & (shares.c.session_id == session_id)
            & (shares.c.expires_at > now)
        )
        async with self._database.read() as connection:
            # Whoever guesses must not make those wait who write: nobody was asked who they are.
            if (await connection.execute(select(shares.c.id).where(right))).first() is None:
                raise InvalidToken
        async with self._database.write() as connection:
            row = (await connection.execute(select(shares).where(right))).first()
            if row is None:
                raise InvalidToken
            used = shares.c.uses + 1
            await connection.execute(update(shares).where(shares.c.id == row.id).values(uses=used))
        share = self._share(row)
        return share, share.seat(row.uses)

    def _share(self, row: Row[Any]) -> Share:
        try:
            token = self._sealer.open(row.sealed_token, _place(row.id))
        except SetupError:  # by another gateway, whose key is another
            token = ""
        return Share(
            id=row.id,
            session_id=row.session_id,
            tenant=row.tenant,
            owner=row.owner,
            kind=row.type,
            description=row.description,
            created_at=row.created_at,
            expires_at=row.expires_at,
            token=token,
        )


def new_share(
    session: Session, owner: str, kind: ShareKind, description: str, *, now: datetime, end: datetime
) -> Share:
    """A share of *session* that `Shares.add` takes."""
    return Share("", session.id, session.tenant, owner, kind, description, now, end)


def _values(share: Share, sealer: Sealer) -> dict[str, Any]:
    return {
        "id": share.id,
        "session_id": share.session_id,
        "tenant": share.tenant,
        "owner": share.owner,
        "type": share.kind,
        "description": share.description,
        "token_hash": hash_ticket(share.token),
        "sealed_token": sealer.seal(share.token, _place(share.id)),
        "created_at": share.created_at,
        "expires_at": share.expires_at,
    }


def _place(share_id: str) -> str:
    return f"share:{share_id}"


class DialectSettings:
    """What was set through a dialect's own routes; the newest counts, at every gateway.

    Args:
        database: of the gateways.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, Any]:
        """Everything that was set, by name."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(dialect_settings))
            return {row.name: row.value for row in rows}

    async def put(self, name: str, value: Any) -> None:
        """Set one."""
        async with self._database.write() as connection:
            await connection.execute(
                delete(dialect_settings).where(dialect_settings.c.name == name)
            )
            await connection.execute(insert(dialect_settings).values(name=name, value=value))
