"""Nodes on record, and what instances hold of them; within a transaction of the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from sqlalchemy import RowMapping, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.manager.moments import write_moment
from downstage.manager.nodes.model import Node, Usage
from downstage.manager.tables import instances, nodes

__all__ = ["HOLDING", "put_node", "read_nodes", "read_usage", "read_waiting", "remove_node"]

HOLDING = and_(instances.c.state != "ended", instances.c.holds)
"""Instances that hold a place."""


async def read_nodes(connection: AsyncConnection) -> list[Node]:
    """All of them, by name."""
    rows = (await connection.execute(select(nodes).order_by(nodes.c.name))).mappings()
    return sorted((_node(row) for row in rows), key=lambda node: node.name)


async def put_node(connection: AsyncConnection, node: Node) -> None:
    """Write *node*, new or not."""
    values: dict[str, Any] = {
        **asdict(node),
        "gpus": list(node.gpus),
        "drain_by": _text(node.drain_by),
        "seen_at": _text(node.seen_at),
    }
    changed = await connection.execute(
        update(nodes).where(nodes.c.name == node.name).values(**values)
    )
    if not changed.rowcount:
        await connection.execute(insert(nodes).values(**values))


async def remove_node(connection: AsyncConnection, name: str) -> None:
    """Forget it."""
    await connection.execute(delete(nodes).where(nodes.c.name == name))


async def read_usage(connection: AsyncConnection) -> dict[str, Usage]:
    """What instances hold, by node."""
    i = instances.c
    sums = (func.count(), func.sum(i.cpus), func.sum(i.memory_mb), func.sum(i.gpu_slots))
    query = select(i.node, i.gpu_card, *sums).where(HOLDING).group_by(i.node, i.gpu_card)
    found, gpus = dict[str, Usage](), dict[str, dict[int, int]]()
    for node, card, places, cpus, memory_mb, slots in await connection.execute(query):
        if card is not None:
            gpus.setdefault(node, {})[card] = int(slots)
        so_far = found.get(node, Usage())
        found[node] = Usage(
            so_far.places + int(places),
            so_far.cpus + float(cpus),
            so_far.memory_mb + int(memory_mb),
            _cards(gpus.get(node, {})),
        )
    return found


async def read_waiting(connection: AsyncConnection) -> dict[str, int]:
    """How many of those wait in pools, by node."""
    i = instances.c
    query = select(i.node, func.count()).where(HOLDING, i.pool.is_not(None)).group_by(i.node)
    rows = (await connection.execute(query)).all()
    return {str(node): int(count) for node, count in rows}


def _cards(taken: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(taken.get(card, 0) for card in range(max(taken, default=-1) + 1))


def _node(row: RowMapping) -> Node:
    values = dict(row)
    values["gpus"] = tuple(cast("list[int]", row["gpus"]))
    values["drain_by"] = _moment(row["drain_by"])
    values["seen_at"] = _moment(row["seen_at"])
    return Node(**values)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else write_moment(moment)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
