"""Instances on record: the truth about slots, kept across restarts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, delete, func, insert, select, update

from downstage.contracts.manager import InstanceView
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Conflict, NoCapacity
from downstage.manager.states import Instance
from downstage.manager.tables import instances
from downstage.services.facilities.database import Database

__all__ = ["NewInstance", "Record", "Store"]

KEPT = timedelta(days=7)
STATE_COLUMNS = tuple(Instance.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class NewInstance:
    """What never changes of an instance."""

    id: str
    session_id: str | None
    tenant: str
    owner: str
    application: str


@dataclass(frozen=True, slots=True)
class Record:
    """One row."""

    fixed: NewInstance
    instance: Instance
    media_socket: str | None
    created_at: datetime
    updated_at: datetime

    def view(self) -> InstanceView:
        """As callers see it."""
        return InstanceView(
            **asdict(self.fixed),
            **asdict(self.instance),
            media_socket=self.media_socket,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


class Store:
    """Reads and writes rows; one short transaction each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def create(self, new: NewInstance, *, capacity: int) -> tuple[Record, bool]:
        """Take a slot for *new*, or answer the instance that its session has already.

        Count and insert are one transaction that holds the write lock, so that as many callers
        as there may be at once get no more than *capacity* slots.

        Raises:
            Conflict: the id is another session's.
            NoCapacity: every slot is taken.
        """
        now = self._clock.now()
        async with self._database.write() as connection:
            query = select(instances).where(instances.c.session_id == new.session_id)
            row = (await connection.execute(query)).mappings().first()
            if row is not None:
                return _record(row), False
            taken = select(instances.c.id).where(instances.c.id == new.id)
            if (await connection.execute(taken)).first() is not None:
                raise Conflict("This instance id belongs to another session.")
            living = select(func.count()).where(instances.c.state != "ended")
            if (await connection.execute(living)).scalar_one() >= capacity:
                raise NoCapacity(
                    f"All {capacity} places of this machine are taken. Try again in a while.",
                    retry_after_s=10,
                    capacity=capacity,
                )
            record = Record(new, Instance(), None, now, now)
            values = {**asdict(new), **asdict(record.instance), **_times(now, now)}
            await connection.execute(insert(instances).values(**values))
            await connection.execute(
                delete(instances).where(
                    instances.c.state == "ended", instances.c.updated_at < _text(now - KEPT)
                )
            )
        return record, True

    async def change(self, record: Record, instance: Instance, media_socket: str | None) -> Record:
        """Write the new state of *record*; the caller is the only one who drives it."""
        now = self._clock.now()
        values: dict[str, Any] = {key: getattr(instance, key) for key in STATE_COLUMNS}
        async with self._database.write() as connection:
            await connection.execute(
                update(instances)
                .where(instances.c.id == record.fixed.id)
                .values(**values, media_socket=media_socket, updated_at=_text(now))
            )
        return Record(record.fixed, instance, media_socket, record.created_at, now)

    async def get(self, instance_id: str) -> Record | None:
        """One instance."""
        async with self._database.read() as connection:
            query = select(instances).where(instances.c.id == instance_id)
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _record(row)

    async def list(self, *, limit: int = 1000) -> list[Record]:
        """All on record, oldest first."""
        query = select(instances).order_by(instances.c.created_at, instances.c.id).limit(limit)
        async with self._database.read() as connection:
            return [_record(row) for row in (await connection.execute(query)).mappings()]

    async def living(self) -> list[Record]:
        """Those that hold a slot."""
        query = select(instances).where(instances.c.state != "ended")
        async with self._database.read() as connection:
            return [_record(row) for row in (await connection.execute(query)).mappings()]


def _record(values: RowMapping) -> Record:
    return Record(
        NewInstance(**{key: values[key] for key in NewInstance.__dataclass_fields__}),
        Instance(**{key: values[key] for key in STATE_COLUMNS}),
        values["media_socket"],
        datetime.fromisoformat(values["created_at"]),
        datetime.fromisoformat(values["updated_at"]),
    )


def _times(created: datetime, updated: datetime) -> dict[str, str]:
    return {"created_at": _text(created), "updated_at": _text(updated)}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
