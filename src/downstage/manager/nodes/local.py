"""This machine as a node: what the settings say of it, else what it has."""

from __future__ import annotations

import os
from pathlib import Path

from downstage.kernel.settings import Manager
from downstage.manager.nodes.model import LOCAL, Node

__all__ = ["local_node"]

MEBIBYTE = 1 << 20


def local_node(settings: Manager) -> Node:
    """The node `LOCAL`."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Node(
        name=LOCAL,
        places=settings.capacity,
        cpus=settings.cpus or len(os.sched_getaffinity(0)),
        memory_mb=settings.memory_mb or pages // MEBIBYTE,
        labels=dict(settings.labels),
        gpus=(settings.gpu_slots,) if settings.gpu_slots else (),
        cpu_overcommit=settings.cpu_overcommit,
        memory_overcommit=settings.memory_overcommit,
        spawner=settings.spawner,
        engine=settings.engine if _is_there(settings.engine) else None,
    )


def _is_there(engine: str) -> bool:
    """Whether the engine's socket exists; one elsewhere is asked when it is needed."""
    scheme, _, path = engine.partition("://")
    return bool(engine) and (scheme != "unix" or Path(path).exists())
