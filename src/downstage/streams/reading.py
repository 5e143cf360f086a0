"""What a reader asks for and what it is given: wishes, deliveries, sinks. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Final, Literal, Protocol

from downstage.kernel.errors import BadId, InvalidField, PlatformError
from downstage.streams.model import Entry, EntryId

__all__ = [
    "LAST",
    "MOST_COUNT",
    "MOST_STREAMS",
    "NEWEST",
    "Align",
    "Cursor",
    "Delivery",
    "From",
    "How",
    "Row",
    "Sink",
    "Wish",
    "read_cursor",
]

MOST_COUNT: Final = 4096
"""Entries of one stream in one delivery, and of one answer; asking for more gives so many."""
MOST_STREAMS: Final = 1024
"""Streams that one reader may name; patterns find as many more."""

Row = tuple[str, bytes, bytes]
"""One entry as it came: stream, id, payload."""

How = Literal["nearest", "previous", "interpolate"]


class From(Enum):
    """A place in a stream that has no id of its own."""

    LAST = "$"
    NEWEST = "-"


LAST: Final = From.LAST
"""``$``: what comes after the last entry that the store holds now. No clock is asked."""
NEWEST: Final = From.NEWEST
"""``-``: the newest entry that is stored at once, then what comes."""

Cursor = From | EntryId
"""Where reading begins: `LAST`, `NEWEST`, or strictly after an id (`ZERO`: all that is kept)."""


def read_cursor(text: str) -> Cursor:
    """``$``, ``-``, ``*`` (as ``-``), ``0``, ``ms`` or ``ms-seq``.

    Raises:
        BadId: it is none of them.
    """
    if text == "$":
        return LAST
    if text in {"-", "*"}:
        return NEWEST
    try:
        return EntryId.parse(text)
    except BadId as error:
        raise BadId("last_entry_id", "Say $, -, *, or an id: ms or ms-seq.") from error


@dataclass(frozen=True, slots=True)
class Align:
    """Give what other streams held at the time of each entry of one stream."""

    to: str
    """The stream whose entries say when."""
    how: How = "nearest"
    tolerance_ms: int | None = None
    """How far off an entry may be; None: any distance."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What one subscriber wants."""

    cursors: Mapping[str, Cursor] = field(default_factory=dict[str, Cursor])
    """Streams and where each begins; one that does not exist yet may be named."""
    patterns: tuple[str, ...] = ()
    """Streams by pattern; those that are made later join by themselves, from their first entry."""
    start: Cursor = LAST
    """Where the streams begin that are there already and that a pattern found."""
    count: int = 1
    """Entries of each stream in one delivery, at most."""
    latest: bool = False
    """When this reader is too slow, skip to the newest entries and count what was skipped."""
    sync_to: str | None = None
    """After each delivery that holds entries of this stream, all cursors go to its last id."""
    one_by_one: bool = False
    """One stream in each delivery."""
    max_fps: float | None = None
    """Entries of one stream a second, at most, by the time in their ids; the others are left
    out."""
    align: Align | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InvalidField("count", "Ask for at least one entry.")
        if len(self.cursors) > MOST_STREAMS or len(self.patterns) > MOST_STREAMS:
            raise InvalidField("stream", f"Name at most {MOST_STREAMS} streams.")
        if not self.cursors and not self.patterns:
            raise InvalidField("stream", "Name a stream.")
        if self.max_fps is not None and not self.max_fps > 0:
            raise InvalidField("max_fps", "Say how many a second, above 0.")


class Delivery:
    """Entries that go to a reader at once: at most `Wish.count` of each stream.

    One and the same object goes to every subscriber that is to get the same, so an encoding that
    is put into `cache` is made once, however many they are.
    """

    __slots__ = ("__dict__", "cache", "rows", "skipped")

    def __init__(self, rows: tuple[Row, ...], skipped: int = 0) -> None:
        self.rows = rows
        """``(stream, id, payload)``, sorted by stream, then by id."""
        self.cache: dict[Any, Any] = {}
        """For encodings; the key names the encoding."""
        self.skipped = skipped
        """Entries that this reader was not given since the delivery before (``latest``)."""

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The same as entries; made when asked for."""
        return tuple(Entry(stream, EntryId.parse(id_), data) for stream, id_, data in self.rows)

    @cached_property
    def size(self) -> int:
        """Bytes of all payloads."""
        return sum([len(row[2]) for row in self.rows])


class Sink(Protocol):
    """Where a subscription delivers to; called on the event loop, and must not block it."""

    on_drained: Callable[[], None] | None
    """Set by the subscription; the sink calls it when what waited in it has left."""

    def deliver(self, delivery: Delivery) -> None:
        """Take entries; never waits (see `buffered`)."""
        ...

    def buffered(self) -> int:
        """Bytes that were delivered and have not left yet."""
        ...

    def ready(self) -> bool:
        """Whether the next delivery may come; after False, call `Subscription.wake` when so."""
        ...

    def gap(self, stream: str, lost: int | None, after: EntryId) -> None:
        """Entries after *after* were lost by the engine (*lost* of them, where that is known)."""
        ...

    def failed(self, error: PlatformError) -> None:
        """The subscription has ended; nothing follows."""
        ...
