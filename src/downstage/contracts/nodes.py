"""Nodes: the machines and container engines that a manager runs instances on.

=====  =================================  ====================================================
verb   path (manager, and public port)    body → answer
=====  =================================  ====================================================
GET    /v1/nodes                          → NodePage
POST   /v1/nodes                          NodeCreate → NodeView (201); 409 the name is taken
GET    /v1/nodes/{name}                   → NodeView, 404
PATCH  /v1/nodes/{name}                   NodePatch → NodeView
DEL    /v1/nodes/{name}?force=…           → 204; 409 instances run there, or it is `local`
POST   /v1/nodes/{name}/cordon            → NodeView: nothing new is placed there
POST   /v1/nodes/{name}/uncordon          → NodeView: takes back a cordon and a drain
POST   /v1/nodes/{name}/drain             NodeDrain → NodeView: its `instances` tell how far it is
=====  =================================  ====================================================

Reading takes the scope ``instances:read``, everything else ``nodes:write``. The node ``local`` is
the manager's own machine: what it has is in the settings (section ``manager``), and it can be
cordoned and drained like any other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from downstage.contracts.wire import Answer, Request

__all__ = [
    "NODE_NAME",
    "NodeCreate",
    "NodeDrain",
    "NodePage",
    "NodePatch",
    "NodeStatus",
    "NodeView",
]

NODE_NAME = r"^[a-z0-9]([a-z0-9.-]{0,126}[a-z0-9])?$"

NodeStatus = Literal["unknown", "online", "offline"]
"""``unknown``: it was not asked yet. ``offline``: it does not answer; what runs there is kept on
record, and found again when it does."""


class NodeCreate(Request):
    """A further engine to run instances on."""

    name: str = Field(pattern=NODE_NAME)
    engine: str = Field(pattern=r"^(unix://|https?://|tcp://|ssh://)", max_length=512)
    """Docker Engine API, Podman's or Docker's: ``unix:///run/podman/podman.sock`` of the manager's
    machine; of another one ``tcp://host:2376`` (TLS) or ``ssh://user@host``."""
    places: int = Field(ge=1, le=10_000)
    """Instances that may run at once."""
    cpus: float = Field(gt=0, le=4096)
    memory_mb: int = Field(ge=64)
    gpus: list[int] = Field(default_factory=list[int], max_length=64)
    """Instances that may use each graphics card at once."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    cpu_overcommit: float = Field(default=4.0, ge=1, le=100)
    """How many times over its cores are promised."""
    memory_overcommit: float = Field(default=2.0, ge=1, le=100)


class NodePatch(Request):
    """What is to change of a node; absent: as it was."""

    places: int | None = Field(default=None, ge=1, le=10_000)
    cpus: float | None = Field(default=None, gt=0, le=4096)
    memory_mb: int | None = Field(default=None, ge=64)
    gpus: list[int] | None = Field(default=None, max_length=64)
    labels: dict[str, str] | None = Field(default=None, max_length=64)
    cpu_overcommit: float | None = Field(default=None, ge=1, le=100)
    memory_overcommit: float | None = Field(default=None, ge=1, le=100)


class NodeDrain(Request):
    """Empty a node: nothing new comes, what runs may end by itself for a while."""

    deadline_s: float = Field(default=0, ge=0, le=7 * 86400)
    """How long instances may go on; after that they are ended."""


class NodeView(Answer):
    """One node as it stands."""

    name: str
    spawner: Literal["process", "container"]
    engine: str | None = None
    status: NodeStatus
    detail: str | None = None
    """Why it is offline."""
    seen_at: datetime | None = None
    """When it last answered."""
    cordoned: bool = False
    """Nothing new is placed there."""
    draining: bool = False
    drain_by: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    places: int
    cpus: float
    memory_mb: int
    gpus: list[int] = Field(default_factory=list[int])
    cpu_overcommit: float
    memory_overcommit: float
    instances: int = 0
    """Instances that hold a place there."""
    waiting: int = 0
    """Those of them that wait in warm pools."""
    used_cpus: float = 0.0
    """Promised to them."""
    used_memory_mb: int = 0
    used_gpus: list[int] = Field(default_factory=list[int])


class NodePage(Answer):
    """All nodes, by name."""

    items: list[NodeView]
