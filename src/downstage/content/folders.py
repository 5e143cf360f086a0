"""Folders that the writer has lately been in: the way there, what they hold, their last event.

Thousands of small files are written to few folders. Each of them would walk the same way, and
rewrite the same rows of the folders above; here the way is remembered, and the rows are written
once for all operations of a transaction. Who asks `Change.db` for the connection finds everything
written, so that only what knows of this class may overlook it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from downstage.content.tree import Node, Trail
from downstage.kernel.errors import QuotaReached

__all__ = ["Folders"]

MAX_WAYS = 4096
MAX_COUNTS = 4096

FORGETTING = (
    "CREATE TEMP TRIGGER folder_moved AFTER UPDATE OF id, parent, name, kind, deleted_at ON node"
    " WHEN old.kind <> 'file' BEGIN SELECT folder_moved(); END",
    "CREATE TEMP TRIGGER folder_removed AFTER DELETE ON node"
    " WHEN old.kind <> 'file' BEGIN SELECT folder_moved(); END",
)
"""Whoever writes the statement: no remembered way outlives it."""


@dataclass(slots=True)
class _Count:
    """What a folder holds, and may hold."""

    bytes: int
    nodes: int
    max_bytes: int | None
    max_nodes: int | None

    def is_over(self, size: int, nodes: int) -> bool:
        """Whether so much more is too much; fewer never is."""
        return (size > 0 and self.max_bytes is not None and self.bytes + size > self.max_bytes) or (
            nodes > 0 and self.max_nodes is not None and self.nodes + nodes > self.max_nodes
        )


class Folders:
    """For the writer's thread alone.

    Args:
        db: the writer's connection.

    Attributes:
        changes: grows with everything that was put off.
        written: rows, of what was put off and written since.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._ways: dict[tuple[str, tuple[str, ...]], tuple[Node, ...]] = {}
        self._counts: dict[int, _Count] = {}
        self._counted = set[int]()
        self._touched: dict[int, tuple[int, int, str, int]] = {}
        self.changes = 0
        self.written = 0
        db.create_function("folder_moved", 0, self._ways.clear)
        for trigger in FORGETTING:
            db.execute(trigger)

    # Ways.

    def way(self, tenant: str, names: tuple[str, ...]) -> tuple[Node, ...] | None:
        """The nodes from the root down to a folder, if they are remembered.

        Their names and places are as they are now; times and events may be older.
        """
        return self._ways.get((tenant, names))

    def remember(self, tenant: str, names: tuple[str, ...], trail: Trail) -> None:
        """Remember the folder that holds the end of *names*, if *trail* reached it."""
        nodes = trail.nodes[: len(names)]
        if len(nodes) < len(names) or any(node.kind != "folder" for node in nodes):
            return
        if len(self._ways) >= MAX_WAYS:
            self._ways.clear()
        self._ways[(tenant, names[:-1])] = nodes

    # Rows.

    def add(self, folders: Sequence[int], size: int, nodes: int) -> None:
        """`quota.add`, put off.

        Raises:
            QuotaReached: one of them may not hold that much; nothing was counted.
        """
        if not (size or nodes):
            return
        known = self._counts
        if not all(folder in known for folder in folders):
            self._load(folders)
        counts = [known[folder] for folder in folders if folder in known]
        if any(count.is_over(size, nodes) for count in counts):
            raise QuotaReached("That is more than this folder may hold.", bytes=size, nodes=nodes)
        for count in counts:
            count.bytes += size
            count.nodes += nodes
        self._counted.update(folders)
        self.changes += 1

    def touch(self, folder: int, seq: int, at: int, by: str) -> None:
        """What a folder holds was changed by event *seq*; put off."""
        self._touched[folder] = (seq, at, by, folder)
        self.changes += 1

    def write(self) -> None:
        """Write what was put off."""
        before = self._db.total_changes
        if self._counted:
            counts = [(n, self._counts[n]) for n in self._counted if n in self._counts]
            self._db.executemany(
                "UPDATE folder SET bytes = ?, nodes = ? WHERE node = ?",
                [(count.bytes, count.nodes, node) for node, count in counts],
            )
            self._counted.clear()
        if self._touched:
            self._db.executemany(
                "UPDATE node SET seq = ?, modified_at = ?, modified_by = ? WHERE id = ?",
                list(self._touched.values()),
            )
            self._touched.clear()
        self.written += self._db.total_changes - before
        if len(self._counts) > MAX_COUNTS:
            self._counts.clear()

    def settle(self) -> None:
        """Write what was put off; from now on others may change these rows."""
        if self._counts or self._touched:
            self.write()
            self._counts.clear()

    def forget(self) -> None:
        """Everything since the transaction, or the savepoint, began is undone."""
        self._ways.clear()
        self._counts.clear()
        self._counted.clear()
        self._touched.clear()

    def _load(self, folders: Sequence[int]) -> None:
        missing = [folder for folder in folders if folder not in self._counts]
        marks = ",".join("?" * len(missing))
        rows = self._db.execute(
            "SELECT node, bytes, nodes, max_bytes, max_nodes FROM folder"  # noqa: S608 - question marks
            f" WHERE node IN ({marks})",
            missing,
        )
        self._counts |= {row[0]: _Count(*row[1:]) for row in rows}
