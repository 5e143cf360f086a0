"""What a runner is told: two records in the instance's folder.

`ContainerPlan` (``container.json``) is written by the spawner; `Seams` (``seams.json``) by the
keeper, once display and sound are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["INSTANCE", "PLACE", "PLAN", "SEAMS", "USER_PREFIX", "ContainerPlan", "Seams", "name_of"]

PLAN, SEAMS = "container.json", "seams.json"
INSTANCE = "org.downstage.instance"
PLACE = "org.downstage.place"
"""Which platform's: several may share an engine, and each removes its own orphans alone."""

USER_PREFIX = "org.downstage.user."


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """One container as it is to be."""

    instance_id: str
    engine: str
    """Path of the engine's socket."""
    place: str
    """Which platform's, for `PLACE`."""
    is_podman: bool
    image: str
    """Its id: what was checked is what runs, wherever a tag has gone meanwhile."""
    uid: int
    gid: int
    command: list[str] = field(default_factory=list[str])
    """Empty: the image's own. Beginning with an option: appended to the image's entry point."""
    userns: str | None = None
    cpus: float | None = None
    memory_mb: int = 2048
    pids: int = 512
    scratch_mb: int = 1024
    """Bound of each folder in memory that it may write to."""
    volumes: list[str] = field(default_factory=list[str])
    """Folders that the image declares as volumes: memory too, else they were the host's disk."""
    network: bool = False
    ports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """``name number type`` of each port to publish."""
    port_range: tuple[int, int] = (32000, 32767)
    host: str = "127.0.0.1"
    """Address that published ports are told with."""
    gpu: bool = False
    labels: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Seams:
    """Where the container meets the rest of its instance."""

    environment: dict[str, str]
    mounts: list[list[str]]
    """Each: path here, path inside, ``ro`` or ``rw``."""
    keeper: int | None = None
    """Process whose shared memory it shares; None: none."""


def name_of(instance_id: str) -> str:
    """Name of an instance's container."""
    return f"downstage-{instance_id}"
