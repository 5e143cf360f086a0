"""One operation inside the writer's transaction, and the events that it leaves."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from downstage.content.folders import Folders
from downstage.content.locks import Moment
from downstage.content.model import EventKind

__all__ = ["Change", "Recorded", "store"]


class Recorded(NamedTuple):
    """An event as it is stored; chains are ids from the root down to the node itself."""

    seq: int
    kind: EventKind
    node: int
    chain: tuple[int, ...]
    path: str
    old_chain: tuple[int, ...]
    old_path: str
    by: str
    at: int
    row: tuple[Any, ...] | None
    """The node after the operation; None: read it when it is needed."""


class Change:
    """One operation inside the transaction: its connection, its time, what it did.

    Args:
        db: the connection.
        now: the time of everything that this operation does.
        seq: of the newest event.
        stale: see the attribute.
        folders: of the writer; None: nothing is going to be changed.
    """

    __slots__ = ("at", "bare", "events", "folders", "moves", "now", "seq", "stale")

    def __init__(
        self,
        db: sqlite3.Connection,
        now: Moment,
        seq: int,
        stale: set[str],
        folders: Folders | None = None,
    ) -> None:
        self.bare = db
        """The connection, for who knows what `folders` puts off."""
        self.now = now
        self.at = now.ns
        """Nanoseconds since the epoch."""
        self.seq = seq
        self.events: list[Recorded] = []
        self.stale = stale
        """What is held in memory and was changed so far: ``lock``, ``acl``, ``mount``."""
        self.folders = folders
        self.moves = False
        """Set when a folder that was there is somewhere else, or gone."""

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, everything written that was put off."""
        if self.folders is not None:
            self.folders.settle()
        return self.bare

    def next_seq(self) -> int:
        """The number of the next event; give it to `record`."""
        self.seq += 1
        return self.seq

    def drop(self, seq: int) -> None:
        """It was refused, and did nothing: *seq* is again the newest."""
        self.events.clear()
        self.moves = False
        self.seq = seq


def store(db: sqlite3.Connection, events: Sequence[Recorded]) -> None:
    """Write *events* down."""
    db.executemany(
        "INSERT INTO event (seq, kind, node, chain, path, old_chain, old_path, by, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(e.seq, e.kind, e.node, _text(e.chain), e.path, _text(e.old_chain)),
                *(e.old_path, e.by, e.at),
            )
            for e in events
        ],
    )


def _text(chain: tuple[int, ...]) -> str:
    return " ".join(map(str, chain))
