"""Who needs bytes that no row names yet, against the collector that deletes what no row names."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from downstage.kernel.errors import Unavailable

__all__ = ["Hold", "Pins"]

PATIENCE_S = 30.0
"""How long a pin waits for a deletion that is under way."""


class Pins:
    """Counts of those who need a thing; a thing that is being deleted cannot be pinned.

    A name is *doomed* before its row goes and *buried* after its file went. Who pins it in
    between waits, and then finds neither: never a row without a file. For any thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._counts = Counter[str]()
        self._dying = set[str]()

    def pin(self, names: Iterable[str]) -> None:
        """Keep *names* until `unpin`; waits while one of them is being deleted.

        Raises:
            Unavailable: that takes too long.
        """
        wanted = frozenset(names)
        with self._changed:
            if not self._changed.wait_for(lambda: not wanted & self._dying, PATIENCE_S):
                raise Unavailable("The store is busy deleting these bytes.")
            self._counts.update(wanted)

    def unpin(self, names: Iterable[str]) -> None:
        """The inverse of `pin`, by the same names."""
        with self._changed:
            for name in frozenset(names):
                self._counts[name] -= 1
                if self._counts[name] <= 0:
                    del self._counts[name]

    def doom(self, names: Iterable[str]) -> frozenset[str]:
        """Those of *names* that nobody needs; they can be pinned again when buried."""
        with self._changed:
            dying = frozenset(
                name for name in names if name not in self._counts and name not in self._dying
            )
            self._dying |= dying
            return dying

    def bury(self, names: Iterable[str]) -> None:
        """The deletion is over, done or not."""
        with self._changed:
            self._dying.difference_update(names)
            self._changed.notify_all()


class Hold:
    """What one staging needs; all let go at once."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._names = set[str]()

    def keep(self, names: Iterable[str]) -> None:
        """Pin those of *names* that are not held yet; see `Pins.pin`."""
        fresh = set(names) - self._names
        self._pins.pin(fresh)
        self._names |= fresh

    def release(self) -> None:
        """Unpin everything; idempotent."""
        names, self._names = self._names, set[str]()
        self._pins.unpin(names)
