"""A node and what is taken of it; plain data, read by the scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from downstage.contracts.manager import Needs
from downstage.contracts.nodes import NodeStatus

__all__ = ["LOCAL", "Node", "Usage", "is_elsewhere"]

LOCAL = "local"
"""Name of the machine that the manager runs on; it is always there."""


def is_elsewhere(engine: str) -> bool:
    """Whether an engine's address is not one of the manager's own machine."""
    return not engine.startswith("unix:")


@dataclass(frozen=True, slots=True)
class Node:
    """One machine, or one container engine."""

    name: str
    places: int
    """Instances that may run at once."""
    cpus: float
    memory_mb: int
    labels: dict[str, str] = field(default_factory=dict[str, str])
    gpus: tuple[int, ...] = ()
    """Slots of each graphics card."""
    cpu_overcommit: float = 4.0
    memory_overcommit: float = 2.0
    cordoned: bool = False
    drain_by: datetime | None = None
    """Until when the instances on it may go on; None: it is not drained."""
    spawner: Literal["process", "container"] = "process"
    """``container``: applications without an image cannot run on it."""
    engine: str | None = None
    """Docker Engine API that runs its containers; None: it runs none."""
    status: NodeStatus = "online"
    detail: str | None = None
    """Why it is offline."""
    seen_at: datetime | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether its containers run on another machine than the manager."""
        return self.engine is not None and is_elsewhere(self.engine)

    @property
    def promised_cpus(self) -> float:
        """Cores that may be promised."""
        return self.cpus * self.cpu_overcommit

    @property
    def promised_memory_mb(self) -> float:
        """Memory that may be promised."""
        return self.memory_mb * self.memory_overcommit

    @property
    def takes_more(self) -> bool:
        """Whether anything new may be placed on it just now."""
        return self.status == "online" and not self.cordoned and self.drain_by is None


@dataclass(frozen=True, slots=True)
class Usage:
    """What instances hold of one node."""

    places: int = 0
    cpus: float = 0.0
    memory_mb: int = 0
    gpus: tuple[int, ...] = ()
    """Slots of each card that are taken; missing ones are free."""

    def plus(self, needs: Needs, card: int | None = None) -> Usage:
        """With one instance more."""
        return self._changed(needs, card, 1)

    def minus(self, needs: Needs, card: int | None = None) -> Usage:
        """With one instance less."""
        return self._changed(needs, card, -1)

    def of_card(self, card: int) -> int:
        """Slots of that card that are taken."""
        return self.gpus[card] if card < len(self.gpus) else 0

    def _changed(self, needs: Needs, card: int | None, sign: int) -> Usage:
        cards = list(self.gpus)
        if card is not None and needs.gpu_slots:
            cards += [0] * (card + 1 - len(cards))
            cards[card] += sign * needs.gpu_slots
        return Usage(
            self.places + sign,
            self.cpus + sign * (needs.cpus or 0),
            self.memory_mb + sign * (needs.memory_mb or 0),
            tuple(cards),
        )
