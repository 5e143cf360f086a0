"""The two tables that nearly every answer needs, rights and locks, held in memory.

The writer renews them after a commit, before it answers who changed them.
"""

from __future__ import annotations

import sqlite3

from downstage.content import acl, locks

__all__ = ["Mirrors"]


class Mirrors:
    """Rights and locks; replaced whole, so that readers need no lock."""

    def __init__(self) -> None:
        self.rights: acl.Entries = {}
        self.held: dict[int, locks.Held] = {}

    def renew(self, db: sqlite3.Connection, stale: set[str]) -> None:
        """Load what changed."""
        if "acl" in stale:
            self.rights = acl.load(db)
        if "lock" in stale:
            self.held = locks.everything(db)
