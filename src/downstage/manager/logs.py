"""Logs of instances, of those that run and of those that ended not long ago."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from fastapi import Depends, Query, Response

from downstage.auth.principal import Principal
from downstage.contracts.manager import LogPage, LogView
from downstage.kernel.errors import NotFound
from downstage.manager.instances import Instances
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.spawners.kept import KeptElsewhere, kept_logs, read_kept

__all__ = ["InstanceLogs", "log_routes"]

PIECE = 256 * 1024
MOST = 2 << 20
Looker = Annotated[Principal, Depends(require("instances:exec"))]


class InstanceLogs:
    """What instances wrote, as their keepers keep it: bounded, and without secrets.

    Args:
        instances: all of them.
        runs: the folder of their folders.
    """

    def __init__(self, instances: Instances, runs: Path) -> None:
        self._instances, self._runs = instances, runs

    async def check(self, instance_id: str, caller: Principal) -> None:
        """Whether *caller* may look at that instance.

        Raises:
            NotFound: there is none, or it is another tenant's.
        """
        if (await self._instances.get(instance_id)).tenant != caller.tenant:
            raise NotFound("There is no such instance.")

    async def list(self, instance_id: str) -> list[LogView]:
        """Logs there are; none once they were removed.

        Raises:
            NotFound: there is no such instance.
        """
        name, spawner = await self._place(instance_id)
        if spawner is None:
            found = await anyio.to_thread.run_sync(kept_logs, self._runs / name)
        else:
            found = await spawner.kept(name)
        return [
            LogView(
                name=log.name, size=log.size, modified_at=datetime.fromtimestamp(log.modified, UTC)
            )
            for log in found
        ]

    async def read(self, instance_id: str, name: str, most: int = PIECE) -> bytes:
        """The last *most* bytes of a log, in whole lines.

        Raises:
            NotFound: there is no such instance, or no such log of it.
        """
        folder, spawner = await self._place(instance_id)
        if spawner is None:
            found = await anyio.to_thread.run_sync(read_kept, self._runs / folder, name, most)
        else:
            found = await spawner.read(folder, name, most)
        if found is None:
            raise NotFound("There is no such log of this instance (any more).", field="name")
        return found

    async def _place(self, instance_id: str) -> tuple[str, KeptElsewhere | None]:
        """What its spawner calls it, and who has its logs where they are not in our folder."""
        name = await self._instances.runs_as(instance_id)
        return name, await self._instances.logs_elsewhere(instance_id)


def log_routes(logs: InstanceLogs) -> ServiceAPIRouter:
    """Routes on *logs*, for those who may look into instances."""
    router = ServiceAPIRouter(tags=["manager"])
    base = "/v1/instances/{instance_id}/logs"

    @router.get(base, responses=refusals(404))
    async def list_logs(instance_id: str, caller: Looker) -> LogPage:
        """The logs of one instance."""
        await logs.check(instance_id, caller)
        return LogPage(items=await logs.list(instance_id))

    @router.get(f"{base}/{{name}}", responses=refusals(404), response_class=Response)
    async def read_log(
        instance_id: str, name: str, caller: Looker, most: int = Query(default=PIECE, ge=1, le=MOST)
    ) -> Response:
        """The end of a log, at most *most* bytes of it."""
        await logs.check(instance_id, caller)
        text = await logs.read(instance_id, name, most)
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "x-content-type-options": "nosniff",
        }
        return Response(text, media_type="text/plain; charset=utf-8", headers=headers)

    _ = (list_logs, read_log)
    return router
