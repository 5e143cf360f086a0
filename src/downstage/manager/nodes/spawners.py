"""Which spawner runs what on which node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from downstage.kernel.settings import Settings
from downstage.manager.nodes.model import LOCAL, Node
from downstage.spawners.process import ProcessSettings
from downstage.spawners.spawner import NodeUnreachable, Spawner

__all__ = ["Kind", "Spawners", "containers_of", "no_containers"]

Kind = Literal["process", "container"]


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


def containers_of(
    runs: Path, process: ProcessSettings, settings: Settings
) -> Callable[[str], Spawner]:
    """Makes a spawner for an engine; what it needs is loaded with the first one.

    Args:
        runs: folder of running instances.
        process: what is the same for every instance.
        settings: of the platform.
    """

    def make(engine: str) -> Spawner:
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


def no_containers(engine: str) -> Spawner:
    """Where there is no engine.

    Raises:
        NodeUnreachable: always.
    """
    raise NodeUnreachable(f"Containers cannot be run here: nothing speaks to {engine}.")
