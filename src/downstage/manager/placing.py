"""What a placing comes to: room made by those who wait, and a refusal that says what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from downstage.contracts.manager import Needs
from downstage.kernel.errors import InvalidField, NoCapacity, PlatformError
from downstage.manager.nodes.model import Node, Usage
from downstage.manager.scheduler import Choice, NoNode

__all__ = ["Place", "Waiting", "make_room", "refusal"]

Place = Callable[[Sequence[Node], Mapping[str, Usage]], Choice | NoNode]
"""Chooses a node for one certain instance."""
RETRY_S = 10


@dataclass(frozen=True, slots=True)
class Waiting:
    """An instance of a warm pool."""

    id: str
    node: str
    needs: Needs
    gpu_card: int | None


def make_room(
    nodes: Sequence[Node], usage: Mapping[str, Usage], waiting: Sequence[Waiting], place: Place
) -> tuple[Choice | NoNode, list[Waiting]]:
    """The node to take if instances that wait gave way, and which of them must: as few as will do.

    Those that come first in *waiting* go first.
    """
    bare = dict(usage)
    for one in waiting:
        bare[one.node] = bare[one.node].minus(one.needs, one.gpu_card)
    choice = place(nodes, bare)
    if isinstance(choice, NoNode):
        return place(nodes, usage), []
    here = [node for node in nodes if node.name == choice.node]
    left, gone = usage[choice.node], list[Waiting]()
    for one in (one for one in waiting if one.node == choice.node):
        left = left.minus(one.needs, one.gpu_card)
        gone.append(one)
        fit = place(here, {choice.node: left})
        if isinstance(fit, Choice):
            return fit, gone
    return choice, gone


def refusal(none: NoNode) -> PlatformError:
    """What somebody is told who gets no place."""
    if none.ever:
        return NoCapacity(
            f"Every place is taken: {none.why}. Try again in a while.", retry_after_s=RETRY_S
        )
    return InvalidField(none.field, f"No node can run it: {none.why}.")
