"""Instances on record: the truth about places, kept across restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import RowMapping, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.contracts.manager import InstanceView, Needs, PortRoute
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Conflict
from downstage.manager.listing import Wanted, page_query
from downstage.manager.moments import write_moment
from downstage.manager.nodes.rows import HOLDING, read_nodes, read_usage
from downstage.manager.placing import Place, Waiting, make_room, refusal
from downstage.manager.pools.names import shown
from downstage.manager.scheduler import Choice, NoNode
from downstage.manager.states import Instance
from downstage.manager.tables import instances
from downstage.services.facilities.cursors import write_cursor
from downstage.services.facilities.database import Database

__all__ = ["Created", "NewInstance", "Record", "Store"]

KEPT = timedelta(days=7)
MOST_ENDED = 20_000
"""Of instances that have ended, whose records stay."""
BATCH = 200
"""Rows that are read together: more would keep everybody else waiting."""
STATE_COLUMNS = tuple(Instance.__dataclass_fields__)
SESSION_TAG = "session="
CHANGE = update(instances).where(instances.c.id == bindparam("which"))
"""Made once: to make a statement with all its values each time takes longer than to run it."""


@dataclass(frozen=True, slots=True)
class NewInstance:
    """What is known of an instance before it has a place."""

    id: str
    session_id: str | None
    tenant: str
    owner: str
    application: str
    version: int | None = None
    profile: str | None = None
    name: str | None = None
    tags: list[str] = field(default_factory=list[str])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    needs: Needs = field(default_factory=Needs)
    pool: str | None = None
    """The pool it waits in; None once it has a session."""
    spawner: Literal["process", "container"] = "process"
    """Which of its node's spawners runs it."""


FIXED_COLUMNS = tuple(NewInstance.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Record:
    """One row."""

    fixed: NewInstance
    instance: Instance
    media_socket: str | None
    created_at: datetime
    updated_at: datetime
    node: str = "local"
    node_reason: str | None = None
    gpu_card: int | None = None
    runs_as: str = ""
    """What its spawner calls it."""
    ports: tuple[PortRoute, ...] = ()

    def view(self) -> InstanceView:
        """As callers see it."""
        fixed = self.fixed
        values = {key: getattr(fixed, key) for key in FIXED_COLUMNS if key != "spawner"}
        own = [tag for tag in fixed.tags if not tag.startswith(SESSION_TAG)]
        mark = [] if fixed.session_id is None else [f"{SESSION_TAG}{fixed.session_id}"]
        return InstanceView(
            **{**values, "tags": [*own, *mark], "pool": shown(fixed.pool)},
            **asdict(self.instance),
            media_socket=self.media_socket,
            node=self.node,
            node_reason=self.node_reason,
            ports=list(self.ports),
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


@dataclass(frozen=True, slots=True)
class Created:
    """What came of asking for an instance."""

    record: Record
    is_new: bool
    evicted: tuple[str, ...] = ()
    """Waiting instances that must end, for they gave up their places for it."""


class Store:
    """Reads and writes rows; one short transaction each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def create(self, new: NewInstance, place: Place) -> Created:
        """Take a place for *new*, or answer the instance that its session has already.

        The look at all nodes and the insert are one transaction that holds the write lock, so
        that as many callers as there may be at once get no more than there is. Where nothing is
        free, instances that wait in pools give way; those for a pool make nobody give way.

        Raises:
            Conflict: the id is another session's.
            NoCapacity: there is no room now.
            InvalidField: no node could ever run it.
        """
        now = self._clock.now()
        async with self._database.write() as connection:
            known = await self._known(connection, new)
            if known is not None:
                return Created(known, is_new=False)
            found, usage = await read_nodes(connection), await read_usage(connection)
            choice, evicted = place(found, usage), list[Waiting]()
            if isinstance(choice, NoNode) and choice.ever and new.pool is None:
                waiting = await self._waiting(connection)
                choice, evicted = make_room(found, usage, waiting, place)
            if isinstance(choice, NoNode):
                raise refusal(choice)
            record = _placed(new, choice, now)
            await connection.execute(insert(instances), _values(record))
            await self._evict(connection, evicted)
        return Created(record, is_new=True, evicted=tuple(one.id for one in evicted))

    async def claim(self, new: NewInstance, waiting: Record, place: Place) -> Created | None:
        """Give *new* an instance that waits in a pool and runs; its driver's lock is held.

        Whoever comes first has it: what waits no more is not taken twice. It keeps its place and
        gets the id and the session of *new*; `Record.runs_as` is what it was called before.

        Returns:
            None where it waits no more, or its node is not one that *place* would take if nothing
            were taken of it.

        Raises:
            Conflict: the id is another session's.
        """
        i, now = instances.c, self._clock.now()
        async with self._database.write() as connection:
            known = await self._known(connection, new)
            if known is not None:
                return Created(known, is_new=False)
            here = [node for node in await read_nodes(connection) if node.name == waiting.node]
            if isinstance(place(here, {}), NoNode):
                return None
            record = _claimed(waiting, new, now)
            taken = await connection.execute(
                update(instances)
                .where(i.id == waiting.fixed.id, i.pool == waiting.fixed.pool)
                .where(i.state == "running", i.session_id.is_(None), HOLDING)
                .values(**_values(record))
            )
            if not taken.rowcount:
                return None
        return Created(record, is_new=True)

    async def move(self, record: Record, place: Place) -> Record:
        """Take a place for what has not started yet on another node.

        Raises:
            NoCapacity, InvalidField: there is none.
        """
        i, now = instances.c, self._clock.now()
        async with self._database.write() as connection:
            usage = await read_usage(connection)
            mine = usage[record.node].minus(record.fixed.needs, record.gpu_card)
            usage[record.node] = mine
            choice = place(await read_nodes(connection), usage)
            if isinstance(choice, NoNode):
                raise refusal(choice)
            moved = replace(
                record,
                node=choice.node,
                node_reason=choice.reason,
                gpu_card=choice.card,
                updated_at=now,
            )
            await connection.execute(
                update(instances).where(i.id == record.fixed.id).values(**_values(moved))
            )
        return moved

    async def change(
        self,
        record: Record,
        instance: Instance,
        media_socket: str | None,
        ports: Sequence[PortRoute] = (),
    ) -> Record:
        """Write the new state of *record*; the caller is the only one who drives it."""
        now = self._clock.now()
        changed = replace(
            record,
            instance=instance,
            media_socket=media_socket,
            ports=tuple(ports),
            updated_at=now,
        )
        values: dict[str, Any] = {
            **{key: getattr(instance, key) for key in STATE_COLUMNS},
            "media_socket": media_socket,
            "ports": [port.model_dump() for port in ports],
            "updated_at": write_moment(now),
            "which": record.fixed.id,
        }
        async with self._database.write() as connection:
            await connection.execute(CHANGE, values)
        return changed

    async def prune(self) -> None:
        """Forget those that ended long ago, and the oldest of them where there are many."""
        i, old = instances.c, write_moment(self._clock.now() - KEPT)
        ended = i.state == "ended"
        oldest = select(i.updated_at).where(ended).order_by(i.updated_at.desc())
        async with self._database.read() as connection:
            first = (await connection.execute(oldest.limit(1).offset(MOST_ENDED))).scalar()
        too_old = i.updated_at < old if first is None else i.updated_at <= max(first, old)
        async with self._database.write() as connection:
            await connection.execute(delete(instances).where(ended, too_old))

    async def get(self, instance_id: str) -> Record | None:
        """One instance."""
        async with self._database.read() as connection:
            query = select(instances).where(instances.c.id == instance_id)
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _record(row)

    async def page(self, wanted: Wanted) -> tuple[list[Record], str | None]:
        """That part of the list, and the cursor of what follows it.

        Raises:
            InvalidField: the cursor that came is none of ours.
        """
        query = page_query(wanted)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        found = [_record(row) for row in rows[: wanted.limit]]
        if len(rows) <= wanted.limit:
            return found, None
        return found, write_cursor(found[-1].created_at, found[-1].fixed.id)

    async def living(self) -> AsyncIterator[list[Record]]:
        """Those that hold a place, or are about to give it back, so many at a time."""
        i = instances.c
        async with self._database.read() as connection:
            ids = (await connection.execute(select(i.id).where(i.state != "ended"))).scalars().all()
        for first in range(0, len(ids), BATCH):
            query = select(instances).where(i.id.in_(ids[first : first + BATCH]))
            async with self._database.read() as connection:
                rows = (await connection.execute(query)).mappings().all()
            yield [_record(row) for row in rows]

    async def _known(self, connection: AsyncConnection, new: NewInstance) -> Record | None:
        i = instances.c
        is_same = (i.id == new.id, i.runs_as == new.id)
        if new.session_id is not None:
            is_same += (i.session_id == new.session_id,)
        rows = (await connection.execute(select(instances).where(or_(*is_same)))).mappings().all()
        for row in rows:
            if new.session_id is not None and row["session_id"] == new.session_id:
                return _record(row)
            is_repeated = (row["id"], row["owner"]) == (new.id, new.owner)
            if new.session_id is None and row["session_id"] is None and is_repeated:
                return _record(row)
        if rows:
            raise Conflict("This instance id belongs to another session.")
        return None

    async def _waiting(self, connection: AsyncConnection) -> list[Waiting]:
        i = instances.c
        query = select(instances).where(HOLDING, i.pool.is_not(None)).order_by(i.created_at)
        found = [_record(row) for row in (await connection.execute(query)).mappings()]
        return [Waiting(one.fixed.id, one.node, one.fixed.needs, one.gpu_card) for one in found]

    async def _evict(self, connection: AsyncConnection, evicted: Sequence[Waiting]) -> None:
        if evicted:
            ids = [one.id for one in evicted]
            await connection.execute(
                update(instances).where(instances.c.id.in_(ids)).values(holds=False, pool=None)
            )


def _placed(new: NewInstance, choice: Choice, now: datetime) -> Record:
    return Record(
        new,
        Instance(),
        None,
        now,
        now,
        node=choice.node,
        node_reason=choice.reason,
        gpu_card=choice.card,
        runs_as=new.id,
    )


def _claimed(before: Record, new: NewInstance, now: datetime) -> Record:
    fixed = replace(
        before.fixed,
        id=new.id,
        session_id=new.session_id,
        tenant=new.tenant,
        owner=new.owner,
        name=new.name,
        tags=new.tags,
        labels=new.labels,
        pool=None,
    )
    state = replace(before.instance, revision=before.instance.revision + 1)
    reason = f"it waited there, in the pool {before.fixed.pool}"
    return replace(before, fixed=fixed, instance=state, node_reason=reason, updated_at=now)


def _values(record: Record) -> dict[str, Any]:
    fixed, needs = record.fixed, record.fixed.needs
    return {
        **{key: getattr(fixed, key) for key in FIXED_COLUMNS},
        **asdict(record.instance),
        "needs": needs.model_dump(exclude_none=True),
        "cpus": needs.cpus or 0.0,
        "memory_mb": needs.memory_mb or 0,
        "gpu_slots": needs.gpu_slots,
        "runs_as": record.runs_as,
        "node": record.node,
        "node_reason": record.node_reason,
        "gpu_card": record.gpu_card,
        "holds": True,
        "ports": [port.model_dump() for port in record.ports],
        "media_socket": record.media_socket,
        "created_at": write_moment(record.created_at),
        "updated_at": write_moment(record.updated_at),
    }


def _record(values: RowMapping) -> Record:
    fixed = {key: values[key] for key in FIXED_COLUMNS}
    fixed["needs"] = Needs(**values["needs"])
    return Record(
        NewInstance(**fixed),
        Instance(**{key: values[key] for key in STATE_COLUMNS}),
        values["media_socket"],
        datetime.fromisoformat(values["created_at"]),
        datetime.fromisoformat(values["updated_at"]),
        node=values["node"],
        node_reason=values["node_reason"],
        gpu_card=values["gpu_card"],
        runs_as=values["runs_as"],
        ports=tuple(PortRoute(**port) for port in values["ports"]),
    )
