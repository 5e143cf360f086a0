"""Where a shard is looked for: one node and those it has named, or a part of a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from downstage.streams.engine.address import Address
from downstage.streams.engine.facts import Facts
from downstage.streams.engine.slots import Group

__all__ = ["ClusterPlaces", "Known", "OwnPlace"]

MOST = 16


class OwnPlace:
    """An engine of ours: where its process says."""

    def __init__(self, address: Callable[[], Address]) -> None:
        self._address = address

    async def candidates(self) -> list[Address]:
        """The one."""
        return [self._address()]

    def learned(self, address: Address, facts: Facts) -> None:
        """It has no neighbours."""


class Known:
    """One address, and the replicas and primaries that nodes have named since."""

    def __init__(self, address: Address) -> None:
        self._first = address
        self._best = address
        self._named: dict[Address, None] = {}

    async def candidates(self) -> list[Address]:
        """The last that led, then the one of the settings, then whom they named."""
        return list(dict.fromkeys([self._best, self._first, *self._named]))

    def learned(self, address: Address, facts: Facts) -> None:
        """Keep whom *address* names."""
        if facts.is_primary:
            self._best = address
            self._named.clear()
        named = facts.replicas if facts.is_primary else filter(None, [facts.primary])
        for host, port in named:
            if len(self._named) < MOST:
                self._named[address.at(host, port)] = None


class ClusterPlaces:
    """A part of a cluster: its nodes as the newest map has them, the primary first."""

    def __init__(
        self, address: Address, group: Group, refresh: Callable[[], Awaitable[None]]
    ) -> None:
        self.group = group
        self._address = address
        self._refresh = refresh

    async def candidates(self) -> list[Address]:
        """Its nodes, after the map was read again."""
        await self._refresh()
        return [self._address.at(node.host, node.port) for node in self.group.nodes]

    def learned(self, address: Address, facts: Facts) -> None:
        """The map knows better."""
