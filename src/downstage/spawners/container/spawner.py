"""Instances whose application is a container of one engine of this machine.

Everything but the application is as with processes: a keeper each, which owns display, sound and
streamer. What is left of one whose keeper was killed is found at the engine by its label.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiodocker
import anyio
import anyio.to_thread

from downstage.kernel.logging import get_logger
from downstage.spawners import probe
from downstage.spawners.container.client import engine
from downstage.spawners.container.engine import socket_path
from downstage.spawners.container.entering import enter_container
from downstage.spawners.container.handle import PulledHandle
from downstage.spawners.container.images import Image, Images
from downstage.spawners.container.plan import INSTANCE, PLACE, PLAN, ContainerPlan, name_of
from downstage.spawners.handle import KeeperHandle
from downstage.spawners.plan import Plan, Report, write_private
from downstage.spawners.process import ProcessSettings, ProcessSpawner
from downstage.spawners.spawner import InstanceSpec, NodeUnreachable, SpawnFailed

__all__ = ["ContainerSettings", "ContainerSpawner"]

MEMORY_MB = 2048
SCRATCH_MB = 1024
PIDS = 512
NOT_FOUND = 404
TRIES, AGAIN_S = 4, 0.2
"""To remove a container."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """What is the same for every container of an engine."""

    engine: str
    """``unix:///path``."""
    registries: Path | None = None
    pull_deadline_s: float = 600.0
    user_ports: tuple[int, int] = (32000, 32767)
    host: str = "127.0.0.1"
    """Where published ports are reached; on a loopback address they listen there alone."""


@dataclass(frozen=True, slots=True)
class _Engine:
    is_podman: bool
    is_rootless: bool
    is_remapped: bool


class ContainerSpawner(ProcessSpawner):
    """Starts a keeper for each instance, and its application as a container.

    Args:
        runs: folder of running instances.
        settings: as for processes.
        container: the engine, and what concerns containers alone.

    Raises:
        NodeUnreachable: the engine is not one of this machine.
    """

    def __init__(self, runs: Path, settings: ProcessSettings, container: ContainerSettings) -> None:
        super().__init__(runs, settings)
        try:
            self._socket = socket_path(container.engine)
        except ValueError as error:
            raise NodeUnreachable(
                f"{error}: containers run on this machine's engine, beside display and streamer."
            ) from error
        self._container = container
        self._place = hashlib.blake2s(os.fsencode(runs.resolve()), digest_size=8).hexdigest()
        self.images = Images(container.engine, container.registries, container.pull_deadline_s)

    async def start(self, spec: InstanceSpec) -> KeeperHandle | PulledHandle:
        """Start the keeper where the image is here, else begin to pull it.

        Raises:
            SpawnFailed: it could not be started.
            NodeUnreachable: the engine does not answer.
        """
        if spec.image is None:
            raise SpawnFailed("This node runs applications in containers: it needs an image.")
        image = await self.images.find(spec.image)
        if image is not None:
            return await self._launch_container(spec, image)

        async def launch() -> KeeperHandle:
            found = await self.images.find(str(spec.image))
            if found is None:
                raise SpawnFailed(f"The image {spec.image} is not there after it was pulled.")
            return await self._launch_container(spec, found)

        folder = self._folder(spec.instance_id)
        return PulledHandle(folder, spec.instance_id, spec.image, self.images, launch)

    async def attach(self, instance_id: str) -> KeeperHandle | None:
        """Find a living keeper by its socket."""
        return await self._attach(instance_id, enter_container)

    async def clean(self, instance_id: str) -> Report | None:
        """Remove its container, kill what else is left, give back what it held."""
        why: Exception | None = None
        for _ in range(TRIES):  # an engine that sees it die while it removes it may fail
            why = await self._removed(instance_id)
            if why is None:
                break
            await anyio.sleep(AGAIN_S)
        if why is not None:
            log.warning("container.left", instance_id=instance_id, reason=str(why)[:200])
        return await super().clean(instance_id)

    async def known(self) -> list[str]:
        """Instances that have a keeper here, or a container at the engine."""
        kept = await anyio.to_thread.run_sync(self._kept, True)
        return sorted({*kept, *await self._labelled()})

    async def check(self) -> None:
        """Ask the engine whether it is there."""
        await self._engine()

    async def _removed(self, instance_id: str) -> Exception | None:
        """Remove its container; what went wrong, if anything did."""
        try:
            async with engine(self._container.engine) as docker:
                containers = cast("Any", docker.containers)
                await containers.container(name_of(instance_id)).delete(force=True, v=True)
        except aiodocker.DockerError as error:
            return None if error.status == NOT_FOUND else error
        except NodeUnreachable as error:
            return error
        return None

    # How one comes to be

    async def _engine(self) -> _Engine:
        async with engine(self._container.engine) as docker:
            try:
                version = await docker.version()
                info: dict[str, Any] = await cast("Any", docker.system).info()
            except aiodocker.DockerError as error:
                raise NodeUnreachable(f"The engine answers {error.status}.") from error
        parts = cast("list[dict[str, Any]]", version.get("Components") or [])
        options = cast("list[str]", info.get("SecurityOptions") or [])
        return _Engine(
            is_podman=any("podman" in str(part.get("Name")).lower() for part in parts),
            is_rootless=any("name=rootless" in option for option in options),
            is_remapped=any("name=userns" in option for option in options),
        )

    async def _labelled(self) -> list[str]:
        filters = json.dumps({"label": [f"{PLACE}={self._place}"]})
        async with engine(self._container.engine) as docker:
            try:
                listing = cast("Any", docker.containers).list(all=True, filters=filters)
                found: list[dict[str, Any]] = await listing
            except aiodocker.DockerError as error:
                raise NodeUnreachable(f"The engine answers {error.status}.") from error
        labels = [cast("dict[str, str]", one["Labels"]) for one in found]
        return [label[INSTANCE] for label in labels if INSTANCE in label]

    async def _launch_container(self, spec: InstanceSpec, image: Image) -> KeeperHandle:
        found = await self._engine()
        uid = os.getuid() or await self._own_uid(spec.instance_id)
        # Hooks run in bubblewrap, for want of the container.
        has_size = bool(spec.hooks) and (await self.prepare()).has_size
        bare = probe.IsolationFound("container", has_size=has_size)
        plan = dataclasses.replace(
            self._plan(spec, bare, uid),
            application_folder=None,
            python=[],
            gid=os.getgid() if os.getuid() else uid,
        )
        container = self._container_plan(spec, image, plan, found)

        def more(folder: Path) -> None:
            write_private(folder / PLAN, dataclasses.asdict(container))

        return await self._launch(spec, plan, enter_container, more)

    def _container_plan(
        self, spec: InstanceSpec, image: Image, plan: Plan, found: _Engine
    ) -> ContainerPlan:
        needs, settings = spec.needs, self._container
        if spec.ports and not spec.network:
            raise SpawnFailed("Ports are published only of applications that have network.")
        userns = "keep-id" if found.is_podman and found.is_rootless else None
        memory = needs.memory_mb or spec.memory_mb or MEMORY_MB
        return ContainerPlan(
            instance_id=spec.instance_id,
            engine=self._socket,
            place=self._place,
            is_podman=found.is_podman,
            image=image.id,
            uid=plan.uid,
            gid=plan.gid,
            command=list(spec.command),
            userns="host" if found.is_remapped else userns,
            cpus=needs.cpus,
            memory_mb=memory,
            pids=needs.pids or PIDS,
            scratch_mb=min(needs.disk_mb or SCRATCH_MB, memory),
            volumes=list(image.volumes),
            network=spec.network,
            ports=[port.model_dump() for port in spec.ports],
            port_range=settings.user_ports,
            host=_told(settings.host),
            gpu=spec.gpu,
            labels=dict(spec.labels),
        )


def _told(host: str) -> str:
    """How others call the address that we listen on; every address has none of its own."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return socket.gethostname()
    return "127.0.0.1" if host in ("localhost", "::1") else host
