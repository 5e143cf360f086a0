"""Where the next instance goes: pure, from what nodes have and what is taken of it.

A node is passed over for the first of these that it lacks: being asked for, being there, taking
anything new, the labels, a place, cores, memory, slots of one graphics card. Of those that are left
``spread`` takes the emptiest and ``binpack`` the fullest; how full a node is says the fullest of
its places, cores, memory and card slots, as it would be afterwards. Ties go by number of instances
and then by name, so that the same question always has the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from downstage.contracts.manager import Needs
from downstage.manager.nodes.model import Node, Usage

__all__ = ["Choice", "NoNode", "Strategy", "Wish", "choose"]

Strategy = Literal["spread", "binpack"]
SLACK = 1e-9
"""Of sums of cores, which are fractions."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an instance needs of its node."""

    needs: Needs = field(default_factory=Needs)
    labels: Mapping[str, str] | None = None
    """Labels that the node must have."""
    node: str | None = None
    """This one and no other."""
    image: bool = False
    """It is a container: a node without an engine cannot run it."""
    here: str | None = None
    """Why it can run on the manager's machine alone; None: it can run elsewhere."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A node that has room."""

    node: str
    reason: str
    card: int | None = None
    """Which graphics card, where slots of one are needed."""


@dataclass(frozen=True, slots=True)
class NoNode:
    """None has."""

    why: str
    """What each of them lacks."""
    ever: bool
    """Whether one may have room when others end; else no waiting helps."""
    field: str = "needs"
    """What of the request to change then."""


@dataclass(frozen=True, slots=True)
class _Lack:
    what: str
    ever: bool


def choose(
    nodes: Iterable[Node], usage: Mapping[str, Usage], wish: Wish, strategy: Strategy
) -> Choice | NoNode:
    """The node for one more instance, and why that one."""
    fits = list[tuple[float, int, str, int | None]]()
    lacks = dict[str, _Lack]()
    for node in sorted(nodes, key=lambda node: node.name):
        used = usage.get(node.name, Usage())
        found = _look(node, used, wish)
        if isinstance(found, _Lack):
            lacks[node.name] = found
        else:
            load = _load(node, used.plus(wish.needs, found.card))
            fits.append((load, used.places, node.name, found.card))
    if not fits:
        return _refuse(lacks, wish)
    sign = 1 if strategy == "spread" else -1
    load, _, name, card = min(fits, key=lambda fit: (sign * fit[0], sign * fit[1], fit[2]))
    which = "emptiest" if strategy == "spread" else "fullest"
    reason = f"{strategy}: {which} of {len(fits)} with room, {load:.0%} full with it"
    if wish.node is not None:
        reason = "asked for by name"
    elif len(fits) == 1:
        reason = f"the only one with room, {load:.0%} full with it"
    if lacks:
        reason += f"; not {_list(lacks)}"
    return Choice(name, reason, card)


@dataclass(frozen=True, slots=True)
class _Fit:
    card: int | None


def _look(node: Node, used: Usage, wish: Wish) -> _Fit | _Lack:
    """What it lacks, first of all what will not change; else the card to take."""
    never = _never(node, wish)
    if never is not None:
        return _Lack(never, ever=False)
    if node.status != "online":
        return _Lack("does not answer" if node.status == "offline" else "not seen yet", ever=True)
    if node.drain_by is not None:
        return _Lack("is drained", ever=True)
    if node.cordoned:
        return _Lack("is cordoned", ever=True)
    return _room(node, used, wish.needs)


def _never(node: Node, wish: Wish) -> str | None:
    needs, wanted = wish.needs, wish.labels or {}
    missing = [f"{key}={value}" for key, value in wanted.items() if node.labels.get(key) != value]
    checks = (
        (wish.node not in (None, node.name), "not asked for"),
        (bool(missing), f"lacks the label {', '.join(sorted(missing))}"),
        (wish.image and node.engine is None, "runs no containers"),
        (not wish.image and node.spawner == "container", "runs containers alone"),
        (wish.here is not None and node.is_elsewhere, f"is another machine, and {wish.here}"),
        ((needs.cpus or 0) > node.promised_cpus + SLACK, f"has {node.promised_cpus:g} cores"),
        (
            (needs.memory_mb or 0) > node.promised_memory_mb + SLACK,
            f"has {node.promised_memory_mb:g} MiB",
        ),
        (needs.gpu_slots > max(node.gpus, default=0), "has no graphics card of that many slots"),
    )
    return next((text for is_lacking, text in checks if is_lacking), None)


def _room(node: Node, used: Usage, needs: Needs) -> _Fit | _Lack:
    if used.places >= node.places:
        return _Lack(f"all {node.places} places are taken", ever=True)
    if used.cpus + (needs.cpus or 0) > node.promised_cpus + SLACK:
        left = max(0.0, node.promised_cpus - used.cpus)
        return _Lack(f"{left:g} cores left of {node.promised_cpus:g}", ever=True)
    if used.memory_mb + (needs.memory_mb or 0) > node.promised_memory_mb + SLACK:
        left = max(0.0, node.promised_memory_mb - used.memory_mb)
        return _Lack(f"{left:g} MiB left of {node.promised_memory_mb:g}", ever=True)
    if not needs.gpu_slots:
        return _Fit(None)
    cards = [
        (used.of_card(card), card)
        for card, slots in enumerate(node.gpus)
        if used.of_card(card) + needs.gpu_slots <= slots
    ]
    if not cards:
        return _Lack("no graphics card has the slots", ever=True)
    return _Fit(min(cards)[1])


def _load(node: Node, used: Usage) -> float:
    shares = [
        used.places / node.places,
        used.cpus / node.promised_cpus,
        used.memory_mb / node.promised_memory_mb,
        sum(used.gpus) / sum(node.gpus) if sum(node.gpus) else 0.0,
    ]
    return max(shares)


def _refuse(lacks: Mapping[str, _Lack], wish: Wish) -> NoNode:
    if wish.node is not None:
        named = lacks.get(wish.node)
        if named is None:
            return NoNode(f"there is no node {wish.node}", ever=False, field="node")
        return NoNode(f"{wish.node}: {named.what}", named.ever, "node")
    about = "node_labels" if wish.labels else "image" if wish.image else "needs"
    return NoNode(
        _list(lacks) or "there is no node", any(lack.ever for lack in lacks.values()), about
    )


def _list(lacks: Mapping[str, _Lack], most: int = 8) -> str:
    shown = [f"{name}: {lack.what}" for name, lack in list(lacks.items())[:most]]
    return "; ".join(shown) + (f"; and {len(lacks) - most} more" if len(lacks) > most else "")
