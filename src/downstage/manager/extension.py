"""The manager as the service host starts it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import anyio.to_thread

from downstage.kernel.settings import Settings
from downstage.manager.catalogue.routes import (
    addon_routes,
    catalogue_routes,
    upload_routes,
    version_routes,
)
from downstage.manager.catalogue.running import RunningInstances
from downstage.manager.catalogue.service import Applications
from downstage.manager.catalogue.wiring import open_catalogue
from downstage.manager.dialects.ams.wiring import serve_ams
from downstage.manager.instances import Instances
from downstage.manager.logs import InstanceLogs, log_routes
from downstage.manager.metrics import metrics
from downstage.manager.nodes.fleet import Fleet
from downstage.manager.nodes.local import local_node
from downstage.manager.nodes.routes import node_router
from downstage.manager.nodes.spawners import Spawners, containers_of
from downstage.manager.planning import Planner
from downstage.manager.pools.keeper import PoolKeeper
from downstage.manager.routes import create_router, instance_router
from downstage.manager.store import Store
from downstage.manager.upkeep import Upkeep
from downstage.services.extension import IExt
from downstage.services.facilities.database import Database, open_database
from downstage.spawners.kept import Keep
from downstage.spawners.process import ProcessSettings, ProcessSpawner, run_folder

__all__ = ["Extension", "process_settings"]


def process_settings(settings: Settings) -> ProcessSettings:
    """What of the platform's settings concerns the spawner."""
    manager, media = settings.manager, settings.media
    return ProcessSettings(
        isolation=manager.isolation,
        audio=media.audio,
        encoder=media.encoder,
        bitrate_kbps=media.bitrate_kbps,
        udp_ports=media.udp_ports,
        public_ip=media.public_ip,
        attach_deadline_s=manager.attach_deadline.total_seconds(),
        stop_grace_s=manager.stop_grace.total_seconds(),
        keep=Keep(manager.keep_failed.total_seconds(), manager.keep_failed_bytes),
    )


class Extension(IExt):
    """Opens the database, finds the instances that still run, serves the routes."""

    requires: ClassVar[Mapping[str, str]] = {"identity": "?"}

    _database: Database | None = None
    _fleet: Fleet | None = None
    _spawners: Spawners | None = None
    _instances: Instances | None = None
    _pools: PoolKeeper | None = None

    async def on_startup(self, ext_id: str) -> None:
        """Wire everything."""
        del ext_id
        context = self.context
        settings = context.settings
        self._database = await open_database(
            context.data / "manager.db",
            name="manager",
            migrations="downstage.manager.migrations",
            url=settings.platform.database,
        )
        shipped = Path(str(files("downstage"))) / "apps"
        folders = [shipped, *settings.manager.applications]
        catalogue = await open_catalogue(
            self._database, context.clock, context.data, folders, settings.manager
        )
        planner = Planner(
            catalogue.declared,
            settings.manager.stages,
            published=catalogue.offered,
            images=settings.manager.images,
        )
        runs = await anyio.to_thread.run_sync(run_folder, context.data)
        process = process_settings(settings)
        spawner = ProcessSpawner(runs, process)
        content = context.urls.content_folder
        self._spawners = Spawners(spawner, containers_of(runs, process, settings, content))
        self._fleet = await self._open_fleet(self._database, self._spawners)
        self._instances = Instances(
            Store(self._database, context.clock),
            self._fleet,
            planner,
            context.bus,
            start=context.start,
        )
        await self._instances.resume()
        await spawner.prepare()
        context.internal(create_router(self._instances, planner))
        context.public(instance_router(self._instances))
        context.public(node_router(self._fleet, self._instances))
        logs = InstanceLogs(self._instances, runs)
        context.public(log_routes(logs))
        self._serve_catalogue(catalogue.applications, self._instances)
        await serve_ams(
            context,
            self._database,
            self._instances,
            applications=catalogue.applications,
            fleet=self._fleet,
            logs=logs,
        )
        self._look_after(planner, catalogue.applications)

    async def _open_fleet(self, database: Database, spawners: Spawners) -> Fleet:
        context = self.context
        strategy = context.settings.manager.strategy
        fleet = Fleet(database, context.clock, spawners, strategy)
        await fleet.open(local_node(context.settings.manager))
        return fleet

    def _serve_catalogue(self, applications: Applications, instances: Instances) -> None:
        context = self.context
        applications.watch(RunningInstances(instances, context.bus))
        for routes in (catalogue_routes, version_routes, addon_routes):
            context.public(routes(applications))
        max_upload = context.settings.manager.max_upload
        context.public(upload_routes(applications), max_body=max_upload)

    def _look_after(self, planner: Planner, applications: Applications) -> None:
        if self._instances is None or self._fleet is None:
            return
        context = self.context
        self._pools = PoolKeeper(self._instances, planner, applications.pools, context.clock)
        upkeep = Upkeep(self._instances, self._fleet, context.clock)
        context.start(self._fleet.watch, name="nodes")
        context.start(upkeep.run, name="upkeep")
        context.start(self._pools.run, name="pools")

    async def on_shutdown(self) -> None:
        """End every instance and close the database."""
        if self._instances is not None:
            await self._instances.close()
        if self._spawners is not None:
            await self._spawners.close()
        if self._database is not None:
            await self._database.close()

    def metrics(self) -> list[str]:
        """Places, instances, pools, for Prometheus."""
        if self._instances is None or self._fleet is None:
            return []
        return metrics(self._instances, self._fleet, self._pools.sizes if self._pools else {})
