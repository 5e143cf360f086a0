"""What the dialect's routes work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from downstage.manager.catalogue.service import Applications
from downstage.manager.dialects.ams.callers import Callers
from downstage.manager.dialects.ams.events import EventHub
from downstage.manager.dialects.ams.operations import Operations
from downstage.manager.dialects.ams.store import AmsStore
from downstage.manager.instances import Instances
from downstage.manager.logs import InstanceLogs
from downstage.manager.nodes.fleet import Fleet
from downstage.services.client import AsyncClient

__all__ = ["Agents", "Parts"]

Agents = Callable[[str | None], AsyncClient]
"""Subject of the person to act for → client of the agent, where sessions are asked for."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The manager, and what is the dialect's own."""

    instances: Instances
    applications: Applications
    fleet: Fleet
    logs: InstanceLogs
    agents: Agents
    callers: Callers
    store: AmsStore
    events: EventHub
    operations: Operations
    cluster: str
    """Name of this installation, for eyes."""
    strategy: str
