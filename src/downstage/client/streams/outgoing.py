"""Entries on their way to a server: in batches, each known by a key until it is acknowledged."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from downstage.client.streams.model import Receipt

__all__ = ["Batch", "Item", "Outgoing", "Sizes"]

MOST = 1024
"""Entries of one batch."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bounds of batches, and of what waits."""

    entries: int = 64
    """Of one batch."""
    bytes: int = 1 << 20
    """Of one batch; an entry that is larger goes alone."""
    linger_s: float = 0.0
    """How long a batch that is not full waits for more."""
    in_flight: int = 32 << 20
    """Bytes that wait or are not acknowledged; with more, `send` waits."""


Told = Callable[[Receipt | Exception], None]


@dataclass(slots=True)
class Item:
    """One entry."""

    stream: str
    data: bytes | memoryview
    id: str | None = None
    told: Told | None = None
    """Hears what became of it."""

    @property
    def size(self) -> int:
        """Bytes that it takes while it waits."""
        return len(self.data) + 64


@dataclass(slots=True)
class Batch:
    """Entries that are stored together, or not at all."""

    key: str
    items: list[Item]
    sent_at: float | None = None
    """When it was first sent; None: never."""
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(item.size for item in self.items)

    def header(self, *, keyed: bool) -> str:
        """What says what the body holds."""
        rows, end = list[list[str | int]](), 0
        for item in self.items:
            end += len(item.data)
            rows.append([item.stream, end] if item.id is None else [item.stream, item.id, end])
        said = {"entries": rows, "offsets": "end", **({"key": self.key} if keyed else {})}
        return msgspec.json.encode(said).decode()

    def body(self) -> bytes | memoryview:
        """All payloads, one after the other."""
        if len(self.items) == 1:
            return self.items[0].data
        return b"".join([item.data for item in self.items])


class Outgoing:
    """What waits, and what was sent and is not acknowledged.

    Attributes:
        waiting: entries that belong to no batch yet.
        pending: batches that were sent, in order, by key.
        bytes: of all of them.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.waiting: deque[Item] = deque()
        self.pending: OrderedDict[str, Batch] = OrderedDict()
        self.bytes = 0
        self._sizes = sizes
        self._name = secrets.token_hex(8)
        self._count = 0

    @property
    def is_empty(self) -> bool:
        """Whether all is done."""
        return not self.waiting and not self.pending

    @property
    def is_full(self) -> bool:
        """Whether no more should come now."""
        return self.bytes >= self._sizes.in_flight

    def has_batch(self) -> bool:
        """Whether what waits fills a batch."""
        if len(self.waiting) >= min(self._sizes.entries, MOST):
            return True
        return sum(item.size for item in self.waiting) >= self._sizes.bytes

    def add(self, item: Item) -> None:
        """One more entry."""
        self.waiting.append(item)
        self.bytes += item.size

    def next_batch(self) -> Batch:
        """What is sent next; it is pending then.

        Entries with ids of their own and those without are not mixed: servers refuse that.
        """
        first = self.waiting.popleft()
        items, size = [first], first.size
        most = min(self._sizes.entries, MOST)
        while self.waiting and len(items) < most:
            item = self.waiting[0]
            if (item.id is None) != (first.id is None) or size + item.size > self._sizes.bytes:
                break
            items.append(self.waiting.popleft())
            size += item.size
        self._count += 1
        batch = Batch(f"{self._name}-{self._count}", items)
        self.pending[batch.key] = batch
        return batch

    def done(self, batch: Batch) -> None:
        """It is stored, or never will be."""
        if self.pending.pop(batch.key, None) is not None:
            self.bytes -= batch.size

    def drop_oldest(self) -> Item | None:
        """Give up the oldest entry that was not sent; None: all were."""
        if not self.waiting:
            return None
        item = self.waiting.popleft()
        self.bytes -= item.size
        return item
