"""The manager as the service host starts it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import anyio.to_thread

from downstage.kernel.settings import Settings
from downstage.manager.instances import Instances
from downstage.manager.planning import Planner
from downstage.manager.routes import create_router
from downstage.manager.store import Store
from downstage.services.extension import IExt
from downstage.services.facilities.database import Database, open_database
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
    )


class Extension(IExt):
    """Opens the database, finds the instances that still run, serves the routes."""

    requires: ClassVar[Mapping[str, str]] = {"identity": "?"}

    _database: Database | None = None
    _instances: Instances | None = None

    async def on_startup(self, ext_id: str) -> None:
        """Wire everything."""
        del ext_id
        context = self.context
        settings = context.settings
        shipped = Path(str(files("downstage"))) / "apps"
        planner = Planner([shipped, *settings.manager.applications], settings.manager.stages)
        await planner.reload()
        runs = await anyio.to_thread.run_sync(run_folder, context.data)
        spawner = ProcessSpawner(runs, process_settings(settings))
        self._database = await open_database(
            context.data / "manager.db",
            name="manager",
            migrations="downstage.manager.migrations",
            url=settings.platform.database,
        )
        self._instances = Instances(
            Store(self._database, context.clock),
            spawner,
            planner,
            context.bus,
            capacity=settings.manager.capacity,
            start=context.start,
        )
        await self._instances.resume()
        await spawner.prepare()
        context.internal(create_router(self._instances, planner))

    async def on_shutdown(self) -> None:
        """End every instance and close the database."""
        if self._instances is not None:
            await self._instances.close()
        if self._database is not None:
            await self._database.close()

    def metrics(self) -> list[str]:
        """Slots, for Prometheus."""
        if self._instances is None:
            return []
        return [
            "# HELP downstage_instances Instances that run on this machine.",
            "# TYPE downstage_instances gauge",
            f"downstage_instances {self._instances.running}",
            "# HELP downstage_capacity Instances that may run on this machine.",
            "# TYPE downstage_capacity gauge",
            f"downstage_capacity {self._instances.capacity}",
        ]
