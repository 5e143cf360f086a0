"""The seam between the manager and whatever runs instances.

A spawner starts an instance and answers a handle; the handle tells what becomes of it, one
`Report` at every change, the last one with phase ``ended`` when nothing of it runs any more.
Instances outlive the process that started them: after a restart `attach` finds them again.

Every call may raise `NodeUnreachable` where instances run on another machine that is off or cut
off just now: nothing is known then, and nothing of an instance is called lost.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from pydantic import SecretStr

from downstage.contracts.manager import Display, Needs, PortWish
from downstage.kernel.errors import PlatformError, Unavailable
from downstage.spawners.exec import Inside
from downstage.spawners.plan import Hook, Report

__all__ = [
    "Adoption",
    "Handle",
    "InstanceSpec",
    "NodeUnreachable",
    "Report",
    "SpawnFailed",
    "Spawner",
]


class SpawnFailed(PlatformError):
    """An instance could not be started; nothing of it is left."""

    code = "spawn-failed"
    status = 502


class NodeUnreachable(Unavailable):
    """Whoever runs instances of this node does not answer."""

    code = "node-unreachable"


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """What is to run: everything checked and filled in."""

    instance_id: str
    session_id: str | None
    """None: nobody's yet; `Handle.adopt` gives it one."""
    command: tuple[str, ...]
    """Argument vector. With `image` it may be empty: the image's own; and where its first item
    begins with a dash, all of it is appended to the image's entry point."""
    display_kind: Literal["x11", "wayland"]
    instance_token: SecretStr | None
    link_url: str | None
    link_urls: tuple[str, ...] = ()
    """Further gateways, dialled in turn when the first is gone."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    folder: Path | None = None
    """Where the application's declaration lies; readable to it."""
    read_only: tuple[Path, ...] = ()
    """Further folders that it may read, the stage's among them."""
    display: Display = field(default_factory=Display)
    access_token: SecretStr | None = None
    user_data: str | None = None
    """Handed to the application as a file (``DOWNSTAGE_USER_DATA_FILE``)."""
    needs: Needs = field(default_factory=Needs)
    """What the instance is promised, and where its spawner can, bounded to."""
    gpu_card: int | None = None
    """Which graphics card of the node it got a slot of."""
    content_folder: Path | None = None
    """Where the socket is by which the application reaches files without any network."""
    content_host: str | None = None
    """What addresses of such files call that service."""
    ice_servers: tuple[dict[str, str], ...] = ()
    channels: tuple[str, ...] = ()
    """Names of data channels that it declares."""
    network: bool = False
    gpu: bool = False
    memory_mb: int | None = None
    start_deadline_s: float = 30.0
    largest: tuple[int, int] | None = None
    """Width and height that no picture of it may exceed; None: what its display has."""
    image: str | None = None
    """Container image to run the command in, allowed already; empty command: the image's own."""
    ports: tuple[PortWish, ...] = ()
    """Ports of the application that are to be published; `Report.ports` says where they are."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """The caller's own, for what is started."""
    hooks: tuple[Hook, ...] = ()
    """Programs to run around the application, in order."""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further variables that hooks get, by name."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """What an instance that waited for a session gets of it."""

    instance_id: str
    """What the session calls it: its token names it so."""
    session_id: str
    instance_token: SecretStr
    link_url: str
    link_urls: tuple[str, ...] = ()
    display: Display = field(default_factory=Display)
    ice_servers: tuple[dict[str, str], ...] = ()
    access_token: SecretStr | None = None
    user_data: str | None = None


class Handle(Inside, Protocol):
    """One instance that was started or found again."""

    @property
    def media_socket(self) -> str:
        """Path of the socket on which its streamer serves media."""
        ...

    def reports(self) -> AsyncGenerator[Report]:
        """How it stands, now and at every change; ends after the one that says ``ended``.

        It also ends, without such a report, when whoever keeps the instance is gone; then
        `Spawner.clean` is due.
        """
        ...

    async def adopt(self, adoption: Adoption) -> None:
        """Give an instance without a session to one: its streamer takes the new size and dials.

        Raises:
            Unavailable: whoever keeps it is gone; nothing has changed.
        """
        ...

    async def stop(self, reason: str) -> None:
        """Ask for an orderly end; reports tell when it came."""
        ...

    async def kill(self) -> None:
        """End it at once."""
        ...

    async def close(self) -> None:
        """Let go of it; it goes on for a while, and then ends by itself."""
        ...


class Spawner(Protocol):
    """Starts instances and finds them again."""

    async def start(self, spec: InstanceSpec) -> Handle:
        """Start one; answers as soon as somebody keeps it.

        Raises:
            SpawnFailed: it could not be started.
        """
        ...

    async def attach(self, instance_id: str) -> Handle | None:
        """Find one that was started earlier; None where nobody keeps it any more."""
        ...

    async def clean(self, instance_id: str) -> Report | None:
        """End whatever an instance without a keeper left, and answer its last report."""
        ...

    async def forget(self, instance_id: str) -> None:
        """An ended instance is on record: what it left on disk may go."""
        ...

    async def known(self) -> list[str]:
        """Ids of instances of which something may still run here, whoever started them."""
        ...

    async def check(self) -> None:
        """Return if instances can be started here just now.

        Raises:
            NodeUnreachable: they cannot; the detail says why.
        """
        ...
