"""Which extension starts before which, and which cannot start; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from downstage.services.extensions.manifest import Manifest

__all__ = ["Order", "arrange", "dependents", "missing"]


@dataclass(frozen=True, slots=True)
class Order:
    """What starts, in order, and what does not, each with the reason."""

    sequence: tuple[str, ...]
    blocked: Mapping[str, str] = field(default_factory=dict[str, str])


def arrange(manifests: Sequence[Manifest], provided: Collection[str] = ()) -> Order:
    """Put *manifests* in order: dependencies first, else as they were given.

    What lacks something, stands in a circle, or needs what cannot start, is blocked with a reason
    that names both ends; all others are in the sequence.
    """
    by_name = {manifest.name: manifest for manifest in manifests}
    blocked = dict[str, str]()
    for manifest in manifests:
        reason = missing(manifest, by_name, provided)
        if reason:
            blocked[manifest.name] = reason
    _block_circles(by_name, blocked)
    _block_who_needs(by_name, blocked)
    able = [manifest for manifest in manifests if manifest.name not in blocked]
    return Order(tuple(_sorted(able)), blocked)


def missing(
    manifest: Manifest, known: Mapping[str, Manifest], provided: Collection[str] = ()
) -> str | None:
    """What *manifest* needs and *known* does not have, as a sentence; None where all is there."""
    for need in manifest.dependencies:
        found = known.get(need.name)
        if found is None:
            if need.name not in provided and not need.is_optional:
                return f"{manifest.id} needs {need}, and there is no such extension here"
        elif not need.fits(found.version):
            return f"{manifest.id} needs {need}, but {found.id} is what is here"
    return None


def dependents(name: str, manifests: Iterable[Manifest], *, optional: bool = True) -> set[str]:
    """Names of those that need *name*, directly or through others."""
    everyone = list(manifests)
    found, front = set[str](), {name}
    while front:
        front = {
            manifest.name
            for manifest in everyone
            if manifest.name not in found
            for need in manifest.dependencies
            if need.name in front and (optional or not need.is_optional)
        }
        found |= front
    return found - {name}


def _edges(by_name: Mapping[str, Manifest], names: Collection[str]) -> dict[str, list[str]]:
    return {
        name: [need.name for need in by_name[name].dependencies if need.name in names]
        for name in names
    }


def _block_circles(by_name: Mapping[str, Manifest], blocked: dict[str, str]) -> None:
    """Block every member of every circle; each reason shows the whole circle."""
    while True:
        names = [name for name in by_name if name not in blocked]
        try:
            TopologicalSorter(_edges(by_name, names)).prepare()
        except CycleError as error:
            # graphlib tells who comes before whom: turned round it reads "needs".
            ring = list(reversed(error.args[1]))
            shown = " → ".join(by_name[name].id for name in ring)
            for name in ring:
                blocked[name] = f"each needs the next: {shown}"
        else:
            return


def _block_who_needs(by_name: Mapping[str, Manifest], blocked: dict[str, str]) -> None:
    grew = True
    while grew:
        grew = False
        for name, manifest in by_name.items():
            if name in blocked:
                continue
            for need in manifest.dependencies:
                if need.name in blocked and not need.is_optional:
                    blocked[name] = f"{manifest.id} needs {need}, which cannot start"
                    grew = True
                    break


def _sorted(manifests: Sequence[Manifest]) -> list[str]:
    """Depth first through dependencies, in the order given: stable, and no circle is left."""
    by_name = {manifest.name: manifest for manifest in manifests}
    done = dict[str, None]()

    def visit(name: str) -> None:
        if name in done:
            return
        for need in by_name[name].dependencies:
            if need.name in by_name:
                visit(need.name)
        done[name] = None

    for name in by_name:
        visit(name)
    return list(done)
