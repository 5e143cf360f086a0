"""The node container: made on an engine where it is not there, entered, removed.

It is the node's half of the platform, as a keeper is on the manager's own machine, and has that
machine's namespaces and its engine's socket. What people bring never runs in it, but in containers
beside it, and behind the same walls as anywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiodocker
import anyio

from downstage.spawners.container.client import Way, engine
from downstage.spawners.container.entering import ContainerExec
from downstage.spawners.container.images import Image, Images
from downstage.spawners.container.plan import PLACE
from downstage.spawners.exec import CannotExec, Exec
from downstage.spawners.remote.server import ENGINE
from downstage.spawners.spawner import NodeUnreachable, SpawnFailed

__all__ = ["NODE", "NodeContainer", "NodeSettings", "Speech", "place_of"]

NODE = "org.downstage.node"
"""Label: which manager's half this is."""
MADE = "org.downstage.node-made"
"""Label: digest of what it was made from."""
SOCKETS = {True: "/run/podman/podman.sock", False: "/var/run/docker.sock"}
"""Of the engine itself, on its own machine: Podman's, and Docker's."""
COMMAND = ("python3", "-P", "-m", "downstage.spawners.remote")
NOT_FOUND, NO_LINE = 404, 900
"""The second is aiodocker's own."""
REMOVE_S = 30.0
MOST_SAID = 400


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node container is made from."""

    image: str
    key: str
    """Of the manager: each has a container of its own on an engine."""
    folder: Path
    """There: of what runs, and below it one for each manager."""
    volumes: tuple[str, ...] = ()
    """Further binds, ``source:target[:ro]``."""
    socket: str = ""
    """Of the engine, on its own machine; empty: the usual one."""

    @property
    def runs(self) -> Path:
        """Folder of this manager's instances, the same inside and outside."""
        return self.folder / self.key


class NodeContainer:
    """One of them.

    Args:
        way: to the engine.
        settings: what it is made from.
        tell: is told how far it is.
    """

    def __init__(self, way: Way, settings: NodeSettings, tell: Callable[[str], None]) -> None:
        self._way, self._settings, self._tell = way, settings, tell
        self.name = f"downstage-node-{settings.key}"
        self.is_stale = False
        """It runs, made from something else than the settings say now."""

    async def ready(self, images: Images) -> None:
        """Return when it runs.

        Raises:
            NodeUnreachable: it does not; the detail says why.
        """
        try:
            async with engine(self._way) as docker:
                state, made = await self._found(docker)
                image = await self._image(images, is_needed=state is None)
                wanted = await self._body(docker, image)
                if state is None:
                    await self._create(docker, wanted)
                    made = wanted["Labels"][MADE]
                self.is_stale = made != wanted["Labels"][MADE]
                if state != "running":
                    await _container(docker, self.name).start()
        except aiodocker.DockerError as error:
            what = "The engine does not answer" if error.status == NO_LINE else "No node container"
            raise NodeUnreachable(f"{what}: {str(error.message)[:MOST_SAID]}") from error
        except SpawnFailed as error:
            raise NodeUnreachable(error.detail) from error

    async def remove(self) -> None:
        """Take it away, and whatever container of this manager is left beside it.

        Raises:
            NodeUnreachable: the engine does not answer.
        """
        filters = json.dumps({"label": [f"{PLACE}={place_of(self._settings.runs)}"]})
        try:
            with anyio.fail_after(REMOVE_S):
                async with engine(self._way) as docker:
                    containers = cast("Any", docker.containers)
                    left = await containers.list(all=True, filters=filters)
                    for name in [*(one["Id"] for one in left), self.name]:
                        await _delete(docker, name)
        except (aiodocker.DockerError, TimeoutError) as error:
            raise NodeUnreachable("The node container cannot be removed.") from error

    @asynccontextmanager
    async def entered(self) -> AsyncGenerator[Speech]:
        """A stream into it, as long as this is open.

        Raises:
            NodeUnreachable: nothing can be started in it.
        """
        try:
            program = await ContainerExec.start(self._way, self.name, Exec(COMMAND))
        except CannotExec as error:
            raise NodeUnreachable(f"In the node container {error.detail}") from error
        try:
            yield Speech(program)
        finally:
            await program.close()

    async def _found(self, docker: aiodocker.Docker) -> tuple[str | None, str]:
        """Its state and what it was made from; None: there is none."""
        try:
            found: dict[str, Any] = await _container(docker, self.name).show()
        except aiodocker.DockerError as error:
            if error.status != NOT_FOUND:
                raise
            return None, ""
        labels = cast("dict[str, str]", found["Config"].get("Labels") or {})
        return str(found["State"]["Status"]), labels.get(MADE, "")

    async def _image(self, images: Images, *, is_needed: bool) -> Image | None:
        name = self._settings.image
        image = await images.find(name)
        if image is not None or not is_needed:
            return image
        self._tell(f"The image {name} is pulled.")
        async for percent in images.pull(name):
            self._tell(f"The image {name} is pulled: {percent or 0} %.")
        found = await images.find(name)
        if found is None:
            raise NodeUnreachable(f"The image {name} is not there after it was pulled.")
        return found

    async def _create(self, docker: aiodocker.Docker, body: dict[str, Any]) -> None:
        self._tell("The node container is started.")
        await cast("Any", docker.containers).create(config=body, name=self.name)

    async def _body(self, docker: aiodocker.Docker, image: Image | None) -> dict[str, Any]:
        settings = self._settings
        socket = settings.socket or SOCKETS[await _is_podman(docker)]
        binds = [
            f"{socket}:{ENGINE.removeprefix('unix://')}",
            f"{settings.runs}:{settings.runs}",
            "/tmp:/tmp",  # noqa: S108 - displays and their locks are there, for all of a machine
            *settings.volumes,
        ]
        body: dict[str, Any] = {
            "Image": settings.image if image is None else image.id,
            "User": "0:0",
            "Entrypoint": ["sleep"],
            "Cmd": ["infinity"],
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "Binds": binds,
                "Privileged": True,
                "NetworkMode": "host",
                "PidMode": "host",
                "IpcMode": "host",
                "CgroupnsMode": "host",
                "RestartPolicy": {"Name": "no"},
                "LogConfig": {"Type": "none"},
            },
        }
        digest = hashlib.blake2s(json.dumps(body).encode(), digest_size=8).hexdigest()
        body["Labels"] = {NODE: settings.key, MADE: digest}
        return body


class Speech:
    """What a program in the container reads and writes; see `line.Wire`."""

    def __init__(self, program: ContainerExec) -> None:
        self._program = program
        self._output = program.output()
        self._said = b""

    @property
    def last_words(self) -> str:
        """The end of what it wrote for people."""
        lines = self._said.decode(errors="replace").strip().splitlines()
        return lines[-1][-MOST_SAID:] if lines else ""

    async def receive(self) -> bytes:
        """What has come; nothing: it is over."""
        async for number, data in self._output:
            if number == 1:
                return data
            self._said = (self._said + data)[-4 * MOST_SAID :]
        return b""

    async def send(self, data: bytes) -> None:
        """Hand over all of *data*."""
        await self._program.send(data)


def place_of(runs: Path) -> str:
    """What containers of instances below *runs* are labelled with, see `plan.PLACE`."""
    return hashlib.blake2s(str(runs).encode(), digest_size=8).hexdigest()


def _container(docker: aiodocker.Docker, name: str) -> Any:
    return cast("Any", docker.containers).container(name)


async def _delete(docker: aiodocker.Docker, name: str) -> None:
    try:
        await _container(docker, name).delete(force=True, v=True)
    except aiodocker.DockerError as error:
        if error.status != NOT_FOUND:
            raise


async def _is_podman(docker: aiodocker.Docker) -> bool:
    parts = cast("list[dict[str, Any]]", (await docker.version()).get("Components") or [])
    return any("podman" in str(part.get("Name")).lower() for part in parts)
