"""From a request to a specification: everything that can be refused is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from downstage.contracts.manager import ApplicationPage, ApplicationView, InstanceCreate
from downstage.kernel.logging import get_logger
from downstage.manager.applications import Application, Catalogue, Fault, load
from downstage.manager.command import command_of, environment_of, find_stage
from downstage.spawners.spawner import InstanceSpec

__all__ = ["Planner"]

log = get_logger(__name__)


class Planner:
    """Knows the declared applications and what callers may ask of them.

    Args:
        folders: where applications are declared; the first wins a name.
        stages: folders whose files may be opened.
    """

    def __init__(self, folders: Sequence[Path], stages: Sequence[Path]) -> None:
        self._folders, self._stages = tuple(folders), tuple(stages)
        self._catalogue = Catalogue({})
        self._seen: dict[Path, str] = {}

    async def reload(self) -> None:
        """Read every declaration anew: a new file needs no restart."""
        self._catalogue = await anyio.to_thread.run_sync(load, self._folders)
        for fault in self._catalogue.faults:
            if self._seen.get(fault.file) != fault.reason:
                log.warning("application.refused", file=str(fault.file), reason=fault.reason)
        self._seen = {fault.file: fault.reason for fault in self._catalogue.faults}

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Declarations that were not taken."""
        return self._catalogue.faults

    async def page(self) -> ApplicationPage:
        """All applications."""
        await self.reload()
        return ApplicationPage(items=self._catalogue.views())

    async def view(self, name: str) -> ApplicationView:
        """One application, also where it cannot run here.

        Raises:
            NotFound: there is none.
        """
        await self.reload()
        found = self._catalogue.applications.get(name)
        return (found or self._catalogue.find(name)).view()

    async def plan(self, instance_id: str, request: InstanceCreate) -> tuple[str, InstanceSpec]:
        """The application's name and what is to run.

        Raises:
            NotFound: no application or image of that name can run here.
            InvalidField: something asked for is not acceptable.
        """
        await self.reload()
        application = self._catalogue.find(request.application)
        return await anyio.to_thread.run_sync(self._spec, instance_id, application, request)

    def _spec(
        self, instance_id: str, application: Application, request: InstanceCreate
    ) -> tuple[str, InstanceSpec]:
        declared = application.declared
        stage = find_stage(application, request.stage, [*self._stages, application.folder])
        command = command_of(
            application, stage=stage, arguments=request.arguments, display=request.display
        )
        seen = tuple(declared.read_only)
        if stage is not None and stage.folder is not None:
            seen = (*seen, stage.folder)
        return declared.name, InstanceSpec(
            instance_id=instance_id,
            session_id=request.session_id,
            command=command,
            display_kind=declared.display,
            instance_token=request.instance_token,
            link_url=request.link_url,
            environment=environment_of(application, request.environment),
            folder=application.folder,
            read_only=seen,
            display=request.display,
            access_token=request.access_token,
            content_host=request.content_host,
            content_folder=Path(request.content_folder) if request.content_folder else None,
            ice_servers=tuple(request.ice_servers),
            network=declared.network,
            gpu=declared.resources.gpu,
            memory_mb=declared.resources.memory_mb,
            start_deadline_s=declared.resources.start_deadline_s,
        )
