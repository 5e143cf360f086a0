"""``downstage node …``."""

from __future__ import annotations

import json
from typing import Any

import anyio
from rich.console import Console
from rich.table import Table

from downstage.cli.fleet.desk import At, server
from downstage.kernel.errors import DeadlineExceeded

__all__ = ["drain", "list_nodes", "mark"]

POLL_S = 0.5
PATIENCE_S = 60
"""Beyond the deadline: instances take a moment to end."""


async def list_nodes(at: At | None, *, as_json: bool) -> None:
    """Print nodes and what of them is taken."""
    async with server(at) as client:
        items = (await client.v1.nodes.get())["items"]
    if as_json:
        print("\n".join(json.dumps(item) for item in items))
        return
    table = Table("node", "state", "instances", "cores", "memory", "labels", "runs by")
    for item in items:
        table.add_row(
            item["name"],
            _state(item),
            f"{item['instances']} of {item['places']}"
            + (f", {item['waiting']} warm" if item["waiting"] else ""),
            f"{item['used_cpus']:g} of {item['cpus']:g} × {item['cpu_overcommit']:g}",
            f"{item['used_memory_mb']} of {item['memory_mb']} MiB × {item['memory_overcommit']:g}",
            ", ".join(f"{key}={value}" for key, value in item["labels"].items()),
            item["spawner"],
        )
    Console().print(table)


def _state(item: dict[str, Any]) -> str:
    if item["status"] != "online":
        return f"{item['status']}{': ' + item['detail'][:60] if item.get('detail') else ''}"
    if item["draining"]:
        return "draining"
    return "cordoned" if item["cordoned"] else "online"


async def mark(at: At | None, name: str, *, cordoned: bool) -> None:
    """Cordon a node, or take that back."""
    async with server(at) as client:
        node: Any = client.v1.nodes[name]
        found = await (node.cordon.post() if cordoned else node.uncordon.post())
    Console().print(f"{name} is {_state(found)}; {found['instances']} instances run there.")


async def drain(at: At | None, name: str, *, deadline_s: float, wait: bool) -> None:
    """Empty a node, and wait until it is.

    Raises:
        DeadlineExceeded: instances are left long after the deadline.
    """
    console = Console()
    async with server(at) as client:
        node: Any = client.v1.nodes[name]
        found = await node.drain.post(deadline_s=deadline_s)
        if wait:
            with anyio.move_on_after(deadline_s + PATIENCE_S), console.status("") as status:
                while found["instances"]:
                    status.update(f"{found['instances']} instances are left on {name} …")
                    await anyio.sleep(POLL_S)
                    found = await node.get()
    if wait and found["instances"]:
        raise DeadlineExceeded(f"{found['instances']} instances are still on {name}.")
    console.print(
        f"{name} is empty." if wait else f"{name} drains; {found['instances']} instances are left."
    )
