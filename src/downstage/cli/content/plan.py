"""What a copy or a sync would do, step by step. Pure: from two listings to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from downstage.client.places import Place
from downstage.client.providers.provider import Found

__all__ = ["Draft", "Pair", "Plan", "Step", "Tree", "compare", "needed_folders"]

Parts = tuple[str, ...]
Tree = Mapping[Parts, Found]
"""What lies below a folder, by names."""
What = Literal["folder", "copy", "replace", "whole folder", "delete"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    what: What
    name: str
    """For eyes: below the folder that is copied."""
    target: Place
    source: Place | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """A file that is on both sides: the same or not, only its bytes or times can tell."""

    parts: Parts
    source: Found
    target: Found


@dataclass(slots=True)
class Draft:
    """What two listings say about each other."""

    folders: list[Parts] = field(default_factory=list[Parts])
    new: list[Parts] = field(default_factory=list[Parts])
    both: list[Pair] = field(default_factory=list[Pair])
    gone: list[Parts] = field(default_factory=list[Parts])
    """Only at the target: of a folder the folder alone, not what it holds."""
    problems: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Names, and why these cannot be copied."""
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Names, and why these are left out."""


@dataclass(slots=True)
class Plan:
    """All that is to be done."""

    steps: list[Step] = field(default_factory=list[Step])
    same: int = 0
    """Files that are there already."""
    same_size: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def size(self) -> int:
        """Bytes to move."""
        return sum(step.size for step in self.steps)

    def add(self, other: Plan) -> None:
        """Do that too."""
        self.steps += other.steps
        self.same += other.same
        self.same_size += other.same_size
        self.problems += other.problems
        self.notes += other.notes


def compare(source: Tree, target: Tree) -> Draft:
    """What *source* has that *target* has not, and the reverse."""
    draft = Draft()
    blocked = set[Parts]()
    for parts in sorted(source):
        found = source[parts]
        if _is_below(parts, blocked):
            continue
        if found.refused:
            draft.problems.append(("/".join(parts), found.refused))
            blocked.add(parts)
        elif not _takes(found):
            draft.notes.append(("/".join(parts), _why_not(found)))
            blocked.add(parts)
        elif (there := target.get(parts)) is not None:
            if _is_blocked(draft, parts, found, there):
                blocked.add(parts)
        else:
            (draft.folders if found.entry.is_folder else draft.new).append(parts)
    _find_gone(draft, source, target)
    return draft


def _is_blocked(draft: Draft, parts: Parts, found: Found, there: Found) -> bool:
    """Whether what is at the target is in the way."""
    if there.refused or (there.is_link and (found.entry.is_folder or there.entry.is_folder)):
        draft.problems.append(("/".join(parts), "A link is in its way at the target."))
        return True
    if found.entry.is_folder != there.entry.is_folder:
        what = "file" if found.entry.is_folder else "folder"
        draft.problems.append(("/".join(parts), f"A {what} is in its way at the target."))
        return True
    if not found.entry.is_folder:
        draft.both.append(Pair(parts, found, there))
    return False


def _takes(found: Found) -> bool:
    return not (found.is_link and found.entry.is_folder) and (
        found.entry.is_folder or bool(found.entry.flags)
    )


def _why_not(found: Found) -> str:
    if found.is_link:
        return "a link to a folder, or to nothing"
    return "neither file nor folder"


def _find_gone(draft: Draft, source: Tree, target: Tree) -> None:
    gone = set[Parts]()
    for parts in sorted(target):
        # A thing with a name that is none cannot be addressed; it stays.
        if parts not in source and not _is_below(parts, gone) and not target[parts].refused:
            gone.add(parts)
            draft.gone.append(parts)


def _is_below(parts: Parts, some: set[Parts]) -> bool:
    return any(parts[:count] in some for count in range(1, len(parts) + 1))


def needed_folders(folders: Iterable[Parts], files: Iterable[Parts]) -> list[Parts]:
    """Those folders that no other step makes on its way: what is written makes its parents."""
    folders = list(folders)
    made = {parts[:count] for parts in files for count in range(1, len(parts))}
    made |= {parts[:count] for parts in folders for count in range(1, len(parts))}
    return [parts for parts in folders if parts not in made]
