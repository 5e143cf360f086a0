"""How much a stream keeps: the account that turns a bound of bytes into one of entries.

The engine trims by number of entries alone. So what this process appends is kept account of in
blocks, and the number of entries that fit into the bytes that a stream may keep goes with every
append. Entries that other processes append have sizes alike; the keeper looks at the truth from
time to time and corrects.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta

from downstage.kernel.settings import Streams as Settings
from downstage.streams.model import Retention

__all__ = ["Account", "Bounds", "bounds"]

BLOCKS = 64
"""Into how many blocks the kept bytes are divided: how exactly they are kept."""
PER_ENTRY = 24
"""Bytes that the engine needs for an entry besides its payload, about."""
MOST = 1 << 40


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a stream keeps, settled: its own wish, else the platform's."""

    count: int
    bytes: int
    age_ms: int
    """0: no limit."""
    refuse: bool
    """Refuse what does not fit, in place of letting the oldest go."""


def bounds(retention: Retention, settings: Settings) -> Bounds:
    """What a stream with *retention* keeps."""
    age = settings.keep_age if retention.age is None else retention.age
    return Bounds(
        settings.keep_count if retention.count is None else retention.count,
        settings.keep_bytes if retention.bytes is None else retention.bytes,
        age // timedelta(milliseconds=1),
        retention.when_full == "refuse-new",
    )


class Account:
    """Sizes of the newest entries of one stream, the oldest forgotten as they go."""

    __slots__ = ("_block", "_blocks", "bounds", "entries", "size")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.entries = 0
        """Entries that are kept, as far as is known here."""
        self.size = 0
        """Bytes of them."""
        self._blocks: deque[list[int]] = deque()
        self._block = [0, 0]
        self._blocks.append(self._block)

    def start(self, entries: int, size: int) -> None:
        """Begin with what is stored already."""
        self._blocks.clear()
        self._block = [entries, size]
        self._blocks.append(self._block)
        self.entries, self.size = entries, size
        self._forget()

    def add(self, entries: int, size: int) -> bool:
        """Count *entries* that take *size* bytes together; whether `keep` may have changed."""
        size += entries * PER_ENTRY
        block = self._block
        block[0] += entries
        block[1] += size
        self.entries += entries
        self.size += size
        bounds = self.bounds
        if block[1] * BLOCKS > bounds.bytes or block[0] * BLOCKS > bounds.count + BLOCKS:
            self._block = [0, 0]
            self._blocks.append(self._block)
        return self.size > bounds.bytes or self.entries > bounds.count

    @property
    def keep(self) -> int:
        """The number of entries to keep now."""
        self._forget()
        bounds = self.bounds
        if self.size <= bounds.bytes:
            # Below the bound of bytes: how many there are is bounded by number alone.
            return bounds.count
        return max(1, min(bounds.count, self._fitting()))

    def _forget(self) -> None:
        """Let go of blocks that neither bound can need."""
        blocks, bounds = self._blocks, self.bounds
        while len(blocks) > 1 and (
            self.entries - blocks[0][0] >= bounds.count or self.size - blocks[0][1] >= bounds.bytes
        ):
            entries, size = blocks.popleft()
            self.entries -= entries
            self.size -= size

    def _fitting(self) -> int:
        """Entries of the newest blocks that fit; a part of the oldest one, by its mean size."""
        over = self.size - self.bounds.bytes
        entries, size = self._blocks[0]
        if not entries or not size:
            return self.entries
        return self.entries - min(entries, -(-over * entries // size))
