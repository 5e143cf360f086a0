"""Which slot of a cluster a key falls into, and who holds which slots."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SLOTS", "Group", "Node", "read_shards", "slot_of"]

SLOTS = 16384


@dataclass(frozen=True, slots=True)
class Node:
    """One process of a cluster."""

    id: str
    host: str
    port: int
    is_primary: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A primary and its replicas, with the slots they hold: ranges, both ends included."""

    nodes: tuple[Node, ...]
    slots: tuple[tuple[int, int], ...] = field(default=())

    @property
    def ids(self) -> frozenset[str]:
        """Of its nodes."""
        return frozenset(node.id for node in self.nodes)


def slot_of(key: bytes) -> int:
    """The slot of *key*: of what stands between its first ``{`` and the next ``}``, if anything."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def read_shards(reply: Sequence[Any], asked: str, *, tls: bool) -> list[Group]:
    """Groups from the reply to ``CLUSTER SHARDS``.

    Args:
        reply: as it came: flat lists of names and values.
        asked: host that was asked; stands where a node does not know its own.
        tls: whether ports for TLS are wanted.

    Raises:
        ValueError, KeyError: it is none.
    """
    return [group for item in reply if (group := _group(_pairs(item), asked, tls)).slots]


def _pairs(flat: Sequence[Any]) -> dict[str, Any]:
    return {bytes(flat[n]).decode(): flat[n + 1] for n in range(0, len(flat) - 1, 2)}


def _group(item: dict[str, Any], asked: str, tls: bool) -> Group:
    ranges = item["slots"]
    slots = tuple((int(ranges[n]), int(ranges[n + 1])) for n in range(0, len(ranges) - 1, 2))
    nodes = [_node(_pairs(node), asked, tls) for node in item["nodes"]]
    nodes.sort(key=lambda node: not node.is_primary)
    return Group(tuple(nodes), slots)


def _node(item: dict[str, Any], asked: str, tls: bool) -> Node:
    host = bytes(item.get("endpoint") or item.get("ip") or b"").decode()
    port = item["tls-port"] if tls and "tls-port" in item else item["port"]
    is_primary = item["role"] == b"master" and item.get("health") != b"fail"
    return Node(
        bytes(item["id"]).decode(), host if host not in ("", "?") else asked, int(port), is_primary
    )
