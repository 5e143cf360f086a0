"""Which spawner runs what on which node."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from downstage.kernel.errors import InvalidField
from downstage.kernel.settings import Settings
from downstage.manager.catalogue.references import check_image
from downstage.manager.nodes.model import LOCAL, Node, is_elsewhere
from downstage.spawners.process import ProcessSettings
from downstage.spawners.spawner import NodeUnreachable, Spawner

__all__ = ["Kind", "Spawners", "containers_of", "no_containers"]

Kind = Literal["process", "container"]


@runtime_checkable
class Departing(Protocol):
    """A spawner that holds on to another machine."""

    async def close(self) -> None:
        """Let go."""
        ...

    async def retire(self) -> None:
        """Let go, and leave nothing there."""
        ...


class Spawners:
    """The spawners of all nodes.

    Args:
        process: runs the processes of this machine.
        container: makes one for an engine, by its address.
    """

    def __init__(self, process: Spawner, container: Callable[[str], Spawner]) -> None:
        self._process, self._make = process, container
        self._engines: dict[str, Spawner] = {}

    def of(self, node: Node, kind: Kind) -> Spawner:
        """What runs instances of *kind* there.

        Raises:
            NodeUnreachable: nothing does.
        """
        if kind == "process" and node.name == LOCAL:
            return self._process
        if kind == "process" or node.engine is None:
            raise NodeUnreachable(f"The node {node.name} runs no such instances.")
        if node.engine not in self._engines:
            self._engines[node.engine] = self._make(node.engine)
        return self._engines[node.engine]

    def main_of(self, node: Node) -> Spawner:
        """The one that must answer for the node to be online."""
        return self.of(node, node.spawner)

    def used_of(self, node: Node) -> list[Spawner]:
        """Those of the node by which something may run there."""
        found = [self._process] if node.name == LOCAL else list[Spawner]()
        has_run = node.spawner == "container" or node.engine in self._engines
        if node.engine is not None and has_run:
            found.append(self.of(node, "container"))
        return found

    def admit(self, engine: str) -> None:
        """Return if an engine of another machine can be a node at all.

        Raises:
            InvalidField: it cannot; the detail says what to change.
        """
        try:
            self._engines[engine] = self._engines.get(engine) or self._make(engine)
        except NodeUnreachable as error:
            raise InvalidField("engine", error.detail) from error

    async def retire(self, node: Node) -> None:
        """*node* was the last of its engine, on another machine: leave nothing there."""
        engine = node.engine or ""
        try:
            gone = self._engines.pop(engine, None) or self._make(engine)
        except NodeUnreachable:
            return  # the settings allow it no longer
        if isinstance(gone, Departing):
            await gone.retire()

    async def close(self) -> None:
        """Let go of every other machine; what runs there goes on for a while."""
        for spawner in self._engines.values():
            if isinstance(spawner, Departing):
                await spawner.close()


def containers_of(
    runs: Path, process: ProcessSettings, settings: Settings, content: str = ""
) -> Callable[[str], Spawner]:
    """Makes a spawner for an engine; what it needs is loaded with the first one.

    Args:
        runs: folder of running instances.
        process: what is the same for every instance.
        settings: of the platform.
        content: folder of the socket by which applications reach files; empty: they do not.
    """

    def make(engine: str) -> Spawner:
        if is_elsewhere(engine):
            return _elsewhere(engine, process, settings, Path(content) if content else None)
        from downstage.spawners.container.spawner import ContainerSettings, ContainerSpawner

        manager = settings.manager
        container = ContainerSettings(
            engine=engine,
            registries=manager.registries,
            pull_deadline_s=manager.pull_deadline.total_seconds(),
            user_ports=manager.user_ports,
            host=settings.media.public_ip or settings.platform.host,
        )
        return ContainerSpawner(runs, process, container)

    return make


def _elsewhere(
    engine: str, process: ProcessSettings, settings: Settings, content: Path | None
) -> Spawner:
    """The spawner of another machine's engine.

    Raises:
        NodeUnreachable: the settings do not allow one; the detail says which.
    """
    from downstage.spawners.remote.node import NodeSettings
    from downstage.spawners.remote.spawner import RemoteSettings, RemoteSpawner
    from downstage.spawners.remote.ways import address_of
    from downstage.spawners.remote.wire import HalfSettings

    manager = settings.manager
    try:
        host = address_of(engine).host
        image = check_image("manager.node_image", manager.node_image, manager.images)
    except ValueError as error:
        raise NodeUnreachable(str(error)) from error
    except InvalidField as error:
        what = error.detail if manager.node_image else "manager.node_image names no image."
        raise NodeUnreachable(f"Another machine is a node by an image: {what}") from error
    node = NodeSettings(
        image=image,
        key=_key(settings.platform.data.absolute()),
        folder=manager.node_folder,
        volumes=tuple(manager.node_volumes),
        socket=manager.node_socket,
    )
    half = HalfSettings(
        folder=node.runs,
        user_ports=manager.user_ports,
        host=host,
        pull_deadline_s=manager.pull_deadline.total_seconds(),
        audio=process.audio,
        encoder=process.encoder,
        bitrate_kbps=process.bitrate_kbps,
        udp_ports=process.udp_ports,
        attach_deadline_s=manager.node_deadline.total_seconds(),
        stop_grace_s=process.stop_grace_s,
        keep_s=process.keep.seconds,
        keep_bytes=process.keep.bytes,
    )
    certificates, registries = manager.engine_certificates, manager.registries
    return RemoteSpawner(RemoteSettings(engine, node, half, certificates, registries, content))


def _key(data: Path) -> str:
    """What this manager's half is called on every engine; it goes with the data folder."""
    path = data / "node.key"
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        path.write_text(secrets.token_hex(8), "ascii")
        return path.read_text("ascii")


def no_containers(engine: str) -> Spawner:
    """Where there is no engine.

    Raises:
        NodeUnreachable: always.
    """
    raise NodeUnreachable(f"Containers cannot be run here: nothing speaks to {engine}.")
