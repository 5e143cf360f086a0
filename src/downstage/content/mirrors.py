"""What nearly every answer needs, held in memory: rights, locks, and whether there are mounts.

The writer renews them after a commit, before it answers who changed them.
"""

from __future__ import annotations

import sqlite3

from downstage.content import acl, locks

__all__ = ["Mirrors"]


ANY_MOUNT = "SELECT 1 FROM node WHERE kind = 'mount' LIMIT 1"


class Mirrors:
    """Replaced whole, so that readers need no lock."""

    def __init__(self) -> None:
        self.rights: acl.Entries = {}
        self.held: dict[int, locks.Held] = {}
        self.has_mounts = False
        """Whether a path may lead through one; deleted ones count until they are swept."""

    def renew(self, db: sqlite3.Connection, stale: set[str]) -> None:
        """Load what changed."""
        if "acl" in stale:
            self.rights = acl.load(db)
        if "lock" in stale:
            self.held = locks.everything(db)
        if "mount" in stale:
            self.has_mounts = db.execute(ANY_MOUNT).fetchone() is not None
