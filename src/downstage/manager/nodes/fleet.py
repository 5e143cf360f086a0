"""All nodes: on record, asked again and again whether they are there, changed by operators.

One node that is off holds up nobody else: each is asked by itself, within a deadline, and while it
does not answer nothing new goes there; what ran there stays on record until it is known better.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio

from downstage.contracts.nodes import NodeCreate, NodeDrain, NodePatch, NodeStatus, NodeView
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Conflict, NotFound, PlatformError
from downstage.kernel.logging import get_logger
from downstage.manager.nodes.model import LOCAL, Node, Usage, is_elsewhere
from downstage.manager.nodes.rows import (
    put_node,
    read_nodes,
    read_usage,
    read_waiting,
    remove_node,
)
from downstage.manager.nodes.spawners import Kind, Spawners
from downstage.manager.placing import Place
from downstage.manager.scheduler import Choice, NoNode, Strategy, Wish, choose
from downstage.services.facilities.database import Database
from downstage.spawners.spawner import NodeUnreachable, Spawner

__all__ = ["Fleet"]

ASK_S = 2.0
"""Between two looks at a node, and what it has to answer one."""
SEEN = timedelta(seconds=30)
"""How old the word that a node was seen may become on record."""
log = get_logger(__name__)


class Fleet:
    """The nodes of this manager.

    Args:
        database: where they are on record.
        clock: of the platform.
        spawners: what runs instances on them.
        strategy: which of those with room is taken.
    """

    def __init__(
        self, database: Database, clock: Clock, spawners: Spawners, strategy: Strategy
    ) -> None:
        self._database, self._clock = database, clock
        self._spawners = spawners
        self._strategy: Strategy = strategy
        self._nodes: dict[str, Node] = {}
        self._returned = anyio.Event()
        self.listeners: list[Callable[[Node], None]] = []
        """Told of every change of a node."""

    async def open(self, local: Node) -> None:
        """Read what is on record; this machine is what *local* says, as it was cordoned before."""
        async with self._database.write() as connection:
            known = {
                node.name: replace(node, status="unknown") for node in await read_nodes(connection)
            }
            before = known.get(LOCAL)
            if before is not None:
                local = replace(local, cordoned=before.cordoned, drain_by=before.drain_by)
            local = replace(local, name=LOCAL, status="online", seen_at=self._clock.now())
            known[LOCAL] = local
            for node in known.values():
                await put_node(connection, node)
        self._nodes = known

    # Asking

    @property
    def nodes(self) -> list[Node]:
        """All, by name."""
        return [self._nodes[name] for name in sorted(self._nodes)]

    def node(self, name: str) -> Node:
        """One of them.

        Raises:
            NotFound: there is none of that name.
        """
        if name not in self._nodes:
            raise NotFound(f"There is no node {name[:128]!r}.")
        return self._nodes[name]

    def spawner(self, name: str, kind: Kind) -> Spawner:
        """What runs an instance there.

        Raises:
            NodeUnreachable: there is no such node any more.
        """
        node = self._nodes.get(name)
        if node is None:
            raise NodeUnreachable(f"There is no node {name} any more.")
        return self._spawners.of(node, kind)

    def is_off(self, name: str) -> bool:
        """Whether the node is known not to answer."""
        node = self._nodes.get(name)
        return node is None or node.status == "offline"

    def elsewhere(self, engine: str | None = None) -> set[str]:
        """Names of nodes on other machines; with *engine*, those of that engine."""
        far = [node for node in self._nodes.values() if node.is_elsewhere]
        return {node.name for node in far if engine in (None, node.engine)}

    def online(self) -> list[tuple[Node, list[Spawner]]]:
        """Nodes that answer, with the spawners that may have something running there."""
        there = [node for node in self.nodes if node.status == "online"]
        return [(node, self._spawners.used_of(node)) for node in there]

    def place(self, wish: Wish, *, without: Collection[str] = ()) -> Place:
        """How a node is found for an instance."""
        strategy = self._strategy

        def find(nodes: Iterable[Node], usage: Mapping[str, Usage]) -> Choice | NoNode:
            left = [node for node in nodes if node.name not in without]
            return choose(left, usage, wish, strategy)

        return find

    async def views(self) -> list[NodeView]:
        """All, as callers see them."""
        async with self._database.read() as connection:
            usage, waiting = await read_usage(connection), await read_waiting(connection)
        return [
            _view(node, usage.get(node.name, Usage()), waiting.get(node.name, 0))
            for node in self.nodes
        ]

    async def view(self, name: str) -> NodeView:
        """One, as callers see it.

        Raises:
            NotFound: there is none of that name.
        """
        self.node(name)
        return next(view for view in await self.views() if view.name == name)

    # Changing

    async def add(self, wanted: NodeCreate) -> NodeView:
        """Put a further engine on record; it gets instances as soon as it answers.

        Raises:
            Conflict: there is a node of that name.
            InvalidField: its engine is one of another machine, and not acceptable.
        """
        if is_elsewhere(wanted.engine):
            self._spawners.admit(wanted.engine)
        async with self._database.write() as connection:
            if any(node.name == wanted.name for node in await read_nodes(connection)):
                raise Conflict(f"There is a node {wanted.name} already.")
            values: dict[str, Any] = {**wanted.model_dump(), "gpus": tuple(wanted.gpus)}
            node = Node(**values, spawner="container", status="unknown")
            await put_node(connection, node)
        log.info("node.added", node=node.name)
        self._keep(node)
        await self.ask(node.name)
        return await self.view(node.name)

    async def patch(self, name: str, wanted: NodePatch) -> NodeView:
        """Change what a node has.

        Raises:
            NotFound: there is none of that name.
            Conflict: it is this machine, whose settings say what it has.
        """
        changes = wanted.model_dump(exclude_none=True)
        if name == LOCAL and changes:
            raise Conflict("What this machine has is in the settings, section manager.")
        if "gpus" in changes:
            changes["gpus"] = tuple(changes["gpus"])
        await self._change(name, **changes)
        return await self.view(name)

    async def cordon(self, name: str) -> NodeView:
        """Place nothing new there.

        Raises:
            NotFound: there is none of that name.
        """
        await self._change(name, cordoned=True)
        return await self.view(name)

    async def uncordon(self, name: str) -> NodeView:
        """Place instances there again; a drain is over.

        Raises:
            NotFound: there is none of that name.
        """
        await self._change(name, cordoned=False, drain_by=None)
        return await self.view(name)

    async def drain(self, name: str, wanted: NodeDrain) -> NodeView:
        """Empty it by a certain time; a second drain changes that time.

        Raises:
            NotFound: there is none of that name.
        """
        until = self._clock.now() + timedelta(seconds=wanted.deadline_s)
        await self._change(name, drain_by=until)
        return await self.view(name)

    async def remove(self, name: str) -> None:
        """Forget an engine that runs nothing any more.

        Raises:
            NotFound: there is none of that name.
            Conflict: instances are on record there, or it is this machine.
        """
        node = self.node(name)
        if name == LOCAL:
            raise Conflict("This machine is a node as long as its manager runs.")
        async with self._database.write() as connection:
            if (await read_usage(connection)).get(name, Usage()).places:
                raise Conflict(f"Instances run on {name}. Drain it first, or remove it by force.")
            await remove_node(connection, name)
        del self._nodes[name]
        log.info("node.removed", node=name)
        self._tell(node)
        if node.is_elsewhere and not self.elsewhere(node.engine):
            await self._spawners.retire(node)

    async def _change(self, name: str, **changes: Any) -> Node:
        self.node(name)
        async with self._database.write() as connection:
            known = {node.name: node for node in await read_nodes(connection)}
            if name not in known:
                raise NotFound(f"There is no node {name}.")
            node = replace(known[name], **changes)
            await put_node(connection, node)
        self._keep(node)
        return node

    def _keep(self, node: Node) -> None:
        before = self._nodes.get(node.name)
        self._nodes[node.name] = node
        if before != node:
            self._tell(node)

    def _tell(self, node: Node) -> None:
        for listener in self.listeners:
            listener(node)

    # Health

    async def watch(self) -> None:
        """Ask every node again and again, until cancelled."""
        while True:
            async with anyio.create_task_group() as tasks:
                for node in self.nodes:
                    if node.name != LOCAL or node.spawner != "process":
                        tasks.start_soon(self.ask, node.name)
            await anyio.sleep(ASK_S)

    async def returned(self, seconds: float) -> None:
        """Return when some node has come back, or the time is over."""
        with anyio.move_on_after(seconds):
            await self._returned.wait()

    async def ask(self, name: str) -> None:
        """Look whether a node is there, now."""
        node = self._nodes.get(name)
        if node is None:
            return
        status, detail = await self._look(node)
        now = self._clock.now()
        is_stale = node.seen_at is None or now - node.seen_at > SEEN
        if (status, detail) == (node.status, node.detail) and not (status == "online" and is_stale):
            return
        seen = now if status == "online" else node.seen_at
        try:
            await self._change(name, status=status, detail=detail, seen_at=seen)
        except NotFound:
            return
        if status != node.status:
            log.warning("node.changed", node=name, status=status, detail=detail)
            if status == "online":
                self._returned.set()
                self._returned = anyio.Event()

    async def _look(self, node: Node) -> tuple[NodeStatus, str | None]:
        try:
            with anyio.fail_after(ASK_S):
                await self._spawners.main_of(node).check()
        except TimeoutError:
            return "offline", f"It did not answer within {ASK_S:g} s."
        except PlatformError as error:
            return "offline", error.detail
        return "online", None


def _view(node: Node, used: Usage, waiting: int) -> NodeView:
    return NodeView(
        name=node.name,
        spawner=node.spawner,
        engine=node.engine,
        status=node.status,
        detail=node.detail,
        seen_at=node.seen_at,
        cordoned=node.cordoned,
        draining=node.drain_by is not None,
        drain_by=node.drain_by,
        labels=node.labels,
        places=node.places,
        cpus=node.cpus,
        memory_mb=node.memory_mb,
        gpus=list(node.gpus),
        cpu_overcommit=node.cpu_overcommit,
        memory_overcommit=node.memory_overcommit,
        instances=used.places,
        waiting=waiting,
        used_cpus=used.cpus,
        used_memory_mb=used.memory_mb,
        used_gpus=list(used.gpus),
    )
