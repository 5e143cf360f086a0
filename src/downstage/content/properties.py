"""Properties: small named texts on anything, for dialects and people."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from downstage.content.edit import Edit, check
from downstage.content.model import ANY, Access, Condition, Family
from downstage.content.tree import Trail
from downstage.kernel.errors import InvalidField

__all__ = ["MAX_BYTES", "MAX_PROPERTIES", "give_family", "patch", "properties_of"]

MAX_PROPERTIES = 256
"""Of one thing."""
MAX_NAME = 1024
MAX_BYTES = 64 * 1024
"""Of all names and values of one thing, UTF-8."""


def properties_of(db: sqlite3.Connection, node: int) -> dict[str, str]:
    """All of a node, by name."""
    rows = db.execute("SELECT name, value FROM property WHERE node = ? ORDER BY name", (node,))
    return dict(rows.fetchall())


def patch(
    edit: Edit,
    path: str,
    put: Mapping[str, str],
    remove: Sequence[str],
    condition: Condition = ANY,
) -> None:
    """Set some, remove others; all or nothing.

    Raises:
        InvalidField: more, or larger ones, than are kept.
        VersionMismatch: *condition* does not hold.
        Locked: by somebody else.
    """
    trail = edit.find(path, Access.WRITE)
    check(condition, trail.node)
    edit.refuse_locked(trail)
    _change(edit, trail, put, remove)


def give_family(edit: Edit, trail: Trail, family: Family) -> Trail:
    """Let a thing that may be written have the properties of *family*; the way to it, as it is now.

    Raises:
        InvalidField: more, or larger ones, than are kept.
    """
    before = properties_of(edit.db, trail.node.id)
    put = {name: value for name, value in family.values.items() if before.get(name) != value}
    gone = [
        name for name in before if name.startswith(family.beginnings) and name not in family.values
    ]
    return _change(edit, trail, put, gone) if put or gone else trail


def _change(edit: Edit, trail: Trail, put: Mapping[str, str], remove: Sequence[str]) -> Trail:
    node = trail.node.id
    edit.db.executemany(
        "DELETE FROM property WHERE node = ? AND name = ?", [(node, name) for name in remove]
    )
    edit.db.executemany(
        "INSERT OR REPLACE INTO property (node, name, value) VALUES (?, ?, ?)",
        [(node, name, value) for name, value in put.items()],
    )
    _refuse_too_much(properties_of(edit.db, node))
    seq = edit.change.next_seq()
    edit.db.execute("UPDATE node SET seq = ? WHERE id = ?", (seq, node))
    after = edit.refreshed(trail)
    edit.record("metadata", after, seq)
    return after


def _refuse_too_much(found: Mapping[str, str]) -> None:
    if len(found) > MAX_PROPERTIES:
        raise InvalidField("properties", f"at most {MAX_PROPERTIES} properties")
    if any(not name or len(name) > MAX_NAME for name in found):
        raise InvalidField("properties", f"a name has 1 to {MAX_NAME} characters")
    if sum(len(name.encode()) + len(value.encode()) for name, value in found.items()) > MAX_BYTES:
        raise InvalidField("properties", f"at most {MAX_BYTES} bytes in all")
