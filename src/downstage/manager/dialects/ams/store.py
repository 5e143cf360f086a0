"""What this dialect keeps of its own: trusted certificates, and facts of instances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio
from sqlalchemy import JSON, Boolean, Column, MetaData, String, Table, Text, delete, insert, select

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.manager.tables import instances
from downstage.services.facilities.database import Database

__all__ = ["AmsStore", "Certificate", "Note", "certificates", "metadata", "notes", "now"]

BATCH = 200
"""Rows that are removed together: more would keep everybody else waiting."""
PRUNE_S = 60.0
"""Between two looks for notes that are nobody's any more."""
YOUNG_S = 300.0
"""How long a note stays whose instance is not on record: it may be about to be."""
MOST_YOUNG = 1000
"""Of those, the newest."""
metadata = MetaData()
log = get_logger(__name__)

certificates = Table(
    "ams_certificates",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("pem", Text, nullable=False),
    Column("name", String(128), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("token_id", String(128), nullable=False),
    Column("expires_at", String(40), nullable=False),
    Column("created_at", String(40), nullable=False),
)
"""Clients that are known by their TLS certificate, and for whom they act."""

notes = Table(
    "ams_instances",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("config", JSON, nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("deleted", Boolean, nullable=False),
)
"""What the dialect says of an instance that no other knows."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One trusted client."""

    fingerprint: str
    """SHA-256 of its DER form, hexadecimal."""
    pem: str
    name: str
    subject: str
    tenant: str
    scopes: tuple[str, ...]
    token_id: str
    """Of the token by which it was trusted: it counts no longer than that one."""
    expires_at: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Note:
    """What the dialect keeps of an instance."""

    config: dict[str, Any]
    protected: bool = False
    deleted: bool = False


class AmsStore:
    """Reads and writes both; certificates are kept in memory too, since every request asks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._trusted: dict[str, Certificate] = {}
        self._young: dict[str, float] = {}
        """Instances noted lately → when, oldest first."""
        self.on_trust: Callable[[str], None] = lambda _pem: None
        """Told of each certificate that is trusted from now on."""

    async def load(self) -> None:
        """Read the certificates."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(certificates))).mappings().all()
        found = [
            Certificate(
                fingerprint=row["fingerprint"],
                pem=row["pem"],
                name=row["name"],
                subject=row["subject"],
                tenant=row["tenant"],
                scopes=tuple(row["scopes"]),
                token_id=row["token_id"],
                expires_at=row["expires_at"],
                created_at=row["created_at"],
            )
            for row in rows
        ]
        self._trusted = {item.fingerprint: item for item in found}

    @property
    def trusted(self) -> list[Certificate]:
        """All trusted clients."""
        return list(self._trusted.values())

    def find(self, fingerprint: str) -> Certificate | None:
        """The client of this certificate."""
        return self._trusted.get(fingerprint)

    async def trust(self, certificate: Certificate) -> None:
        """Let its client in from now on."""
        values = {key: getattr(certificate, key) for key in Certificate.__dataclass_fields__}
        async with self._database.write() as connection:
            await connection.execute(
                delete(certificates).where(certificates.c.fingerprint == certificate.fingerprint)
            )
            await connection.execute(
                insert(certificates).values({**values, "scopes": list(certificate.scopes)})
            )
        self._trusted[certificate.fingerprint] = certificate
        self.on_trust(certificate.pem)

    async def distrust(self, fingerprint: str) -> bool:
        """Let it in no more; whether it was let in."""
        async with self._database.write() as connection:
            await connection.execute(
                delete(certificates).where(certificates.c.fingerprint == fingerprint)
            )
        return self._trusted.pop(fingerprint, None) is not None

    async def note_of(self, instance_id: str) -> Note:
        """What is kept of one instance; an empty one where nothing is."""
        query = select(notes).where(notes.c.id == instance_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return Note({}) if row is None else Note(row["config"], row["protected"], row["deleted"])

    async def notes(self) -> dict[str, Note]:
        """What is kept of instances."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(notes))).mappings().all()
        return {row["id"]: Note(row["config"], row["protected"], row["deleted"]) for row in rows}

    async def note(self, instance_id: str, note: Note) -> None:
        """Keep this of an instance, as long as that is on record."""
        self._young.pop(instance_id, None)
        self._young[instance_id] = anyio.current_time()
        if len(self._young) > MOST_YOUNG:
            del self._young[next(iter(self._young))]
        async with self._database.write() as connection:
            await connection.execute(delete(notes).where(notes.c.id == instance_id))
            await connection.execute(
                insert(notes).values(
                    id=instance_id,
                    config=note.config,
                    protected=note.protected,
                    deleted=note.deleted,
                )
            )

    async def keep_short(self) -> None:
        """Forget again and again what was noted of instances that are not on record any more."""
        while True:
            try:
                await self.prune()
            except PlatformError as error:  # the next time
                log.warning("ams.not_pruned", detail=error.detail)
            await anyio.sleep(PRUNE_S)

    async def prune(self) -> None:
        """Forget what was noted of instances that are not on record, and not about to be.

        The record of one that has ended goes after a week; one that was refused never had any.
        """
        oldest = anyio.current_time() - YOUNG_S
        self._young = {key: at for key, at in self._young.items() if at > oldest}
        gone = notes.c.id.not_in(select(instances.c.id))
        async with self._database.read() as connection:
            found = (await connection.execute(select(notes.c.id).where(gone))).scalars().all()
        over = [key for key in found if key not in self._young]
        for first in range(0, len(over), BATCH):
            some = notes.c.id.in_(over[first : first + BATCH])
            async with self._database.write() as connection:
                await connection.execute(delete(notes).where(some, gone))


def now() -> str:
    """This moment, as rows have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
