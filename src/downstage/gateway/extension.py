"""The gateway as the service host starts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import anyio
import anyio.to_thread

from downstage.auth.seal import Sealer
from downstage.gateway.admission import Admission
from downstage.gateway.homes import Homes
from downstage.gateway.ice import read_relay
from downstage.gateway.reconcile import Reconciler
from downstage.gateway.regions.metrics import metric_lines
from downstage.gateway.regions.opening import open_regions
from downstage.gateway.regions.regions import Regions
from downstage.gateway.rooms import Rooms
from downstage.gateway.same_key import check_key
from downstage.gateway.seats import Seats
from downstage.gateway.sessions import Sessions
from downstage.gateway.waiting import Queue
from downstage.gateway.wiring import Found, Jobs, open_doors, serve, set_stage
from downstage.services.context import ServiceContext
from downstage.services.extension import IExt
from downstage.services.facilities.database import Database, open_database
from downstage.spawners.process import run_folder

__all__ = ["Extension"]


class Extension(IExt):
    """Opens the database, wires the parts, serves the routes.

    Attributes:
        regions, sessions, seats, reconciler, homes: as they run, for tests in the same process.
    """

    requires: ClassVar[Mapping[str, str]] = {"identity": "?", "agent": "?"}

    regions: Regions
    sessions: Sessions
    seats: Seats
    reconciler: Reconciler

    _database: Database | None = None
    homes: Homes | None = None
    _queue: Queue | None = None
    _rooms: Rooms | None = None
    _admission: Admission | None = None
    _jobs: anyio.CancelScope | None = None
    _idle: anyio.Event

    async def on_startup(self, ext_id: str) -> None:
        """Wire everything; sessions that were there before are taken up again."""
        del ext_id
        context = self.context
        key = context.data / "gateway.key"
        sealer = await anyio.to_thread.run_sync(Sealer.from_file, key)
        runs = await anyio.to_thread.run_sync(run_folder, context.data)
        relay = await anyio.to_thread.run_sync(read_relay, context.settings.turn)
        database = self._database = await open_database(
            context.data / "gateway.db",
            name="gateway",
            migrations="downstage.gateway.migrations",
            url=context.settings.platform.database,
        )
        try:
            await check_key(database, sealer, key, is_new=context.settings.gateway.new_key)
        except BaseException:
            await database.close()
            raise
        self.regions = await open_regions(context)
        homes = self.homes = _homes_of(context, database)
        await homes.beat()
        found = Found(
            context=context,
            database=database,
            homes=homes,
            regions=self.regions,
            sealer=sealer,
            runs=runs,
            relay=relay,
        )
        stage = set_stage(found)
        doors = open_doors(found, stage)
        self._rooms, self._queue, self._admission = stage.rooms, stage.queue, doors.admission
        self.sessions, self.seats, self.reconciler = stage.sessions, doors.seats, stage.reconciler
        context.start(self._work, serve(found, stage, doors), name="work")

    async def _work(self, jobs: Jobs) -> None:
        """Run *jobs* until the shutdown: none of them may use the database after it."""
        self._idle = anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                self._jobs = tasks.cancel_scope
                for job in jobs:
                    tasks.start_soon(job)
        finally:
            self._idle.set()

    async def on_shutdown(self) -> None:
        """Close the database; sessions go on, their streamers dial again."""
        if self._jobs is not None:
            self._jobs.cancel()
            await self._idle.wait()
            self.regions.close()
        if self.homes is not None:
            await self.homes.leave()
        if self._database is not None:
            await self._database.close()

    def metrics(self) -> list[str]:
        """Viewers and refusals, for Prometheus."""
        if self._rooms is None or self._admission is None or self._queue is None:
            return []
        lines = [
            "# HELP downstage_viewers People who watch a session now.",
            "# TYPE downstage_viewers gauge",
            f"downstage_viewers {self._rooms.count()}",
            "# HELP downstage_handshakes_refused_total Sockets of sessions that were not let in.",
            "# TYPE downstage_handshakes_refused_total counter",
        ]
        lines += [
            f'downstage_handshakes_refused_total{{cause="{cause}"}} {number}'
            for cause, number in sorted(self._admission.refused.items())
        ]
        lines += metric_lines(self.regions.counts(), len(self.sessions.store.kept()))
        return lines + self._queue.metrics()


def _homes_of(context: ServiceContext, database: Database) -> Homes:
    settings = context.settings.gateway
    url = (settings.url or context.urls.public).rstrip("/")
    # A file in our own data folder is ours alone, unless others are named.
    alone = not settings.peers and context.settings.platform.database is None
    return Homes(database, url, settings.home_lease, alone=alone)
