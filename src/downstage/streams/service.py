"""Streams: the one door to the store, for every dialect.

Every method checks what the caller may do; a stream that it may not read looks absent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, overload

from downstage.bus import Bus
from downstage.kernel.settings import Streams as Settings
from downstage.streams.append import Data, Item, Producer
from downstage.streams.consumers import Consumers
from downstage.streams.model import (
    Caller,
    Durability,
    Entry,
    EntryId,
    Receipt,
    StreamInfo,
)
from downstage.streams.reading import (
    LAST,
    NEWEST,
    Cursor,
    Delivery,
    How,
    Sink,
    Wish,
)
from downstage.streams.stats import StreamFigures, Totals
from downstage.streams.subscription import Subscription

__all__ = [
    "LAST",
    "NEWEST",
    "Change",
    "Cursor",
    "Data",
    "Deleted",
    "Delivery",
    "Item",
    "Producer",
    "Sink",
    "Streams",
    "Subscription",
    "Wish",
    "open_streams",
]


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted of one stream."""

    described: bool
    """There was a description."""
    entries: int
    existed: bool
    """It held entries, or had held some."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to the index of streams, in any process."""

    tenant: str
    stream: str
    what: Literal["made", "described", "gone", "gap"]
    """``gap``: changes may have been missed; list again. Tenant and stream are empty then."""


class Streams:
    """Streams of every tenant; made by `open_streams`."""

    consumers: Consumers
    totals: Totals

    # --- append

    async def append(
        self,
        caller: Caller,
        items: Sequence[Item],
        *,
        key: str | None = None,
        want: Durability | None = None,
    ) -> Receipt:
        """Store all of *items* or none of them; unknown streams are made.

        Args:
            caller: may write these streams.
            items: in order; all of them or none is stored.
            key: of this push; the same key again, within two minutes, stores nothing and answers
                with the same ids (`Receipt.repeated`). At most 128 characters.
            want: the least that is to be promised; None: what each stream has.

        Raises:
            BadId: an id is malformed or not newer than what is there.
            Forbidden: not into one of these streams.
            InvalidField: a name or the key is out of form.
            StoreFull, QuotaReached: no room in the engine, or not for another stream.
            DurabilityUnavailable: *want* cannot be had for one of these streams.
            Unavailable: the engine does not answer; push again, with the same key.
        """
        raise NotImplementedError

    def producer(self, caller: Caller, streams: Collection[str] | None = None) -> Producer:
        """A producer into *streams*, whose right is checked now; None: each at its first use."""
        raise NotImplementedError

    # --- read

    async def read(
        self,
        caller: Caller,
        cursors: Mapping[str, Cursor],
        *,
        count: int = 1,
        order: Literal["after", "newest"] = "after",
    ) -> list[Entry]:
        """What is stored now, sorted by stream, then by id; never blocks.

        Args:
            caller: may read these streams.
            cursors: streams, and where each begins; ignored for ``newest``.
            count: entries of each stream, at most.
            order: ``after``: the first ones strictly after the cursor; ``newest``: the newest.

        Raises:
            NotFound: the caller may not read one of them. (One that does not exist has no
                entries.)
        """
        raise NotImplementedError

    async def range(
        self,
        caller: Caller,
        stream: str,
        start: EntryId | None,
        stop: EntryId | None,
        *,
        count: int = 100,
        reverse: bool = False,
        every: int = 1,
        max_fps: float | None = None,
    ) -> list[Entry]:
        """Entries of one stream between two ids.

        Args:
            caller: may read it.
            stream: its name.
            start: the first id that counts; None: the oldest kept.
            stop: the last id that counts; None: the newest.
            count: entries in the answer, at most.
            reverse: begin with the newest.
            every: only each so manieth.
            max_fps: only so many a second, by the time in their ids.
        """
        raise NotImplementedError

    async def at(
        self,
        caller: Caller,
        streams: Collection[str],
        time: EntryId,
        *,
        how: How = "nearest",
        tolerance_ms: int | None = None,
    ) -> dict[str, Entry | None]:
        """What each stream held at *time*; None: nothing within the tolerance.

        ``interpolate`` makes numeric JSON and arrays of the entries on both sides; where they are
        not numeric it gives the nearer one.
        """
        raise NotImplementedError

    def subscribe(self, caller: Caller, wish: Wish, sink: Sink) -> Subscription:
        """Deliver what *wish* says to *sink*, from now on, without a gap or a duplicate.

        Raises:
            NotFound: the caller may not read one of the streams.
        """
        raise NotImplementedError

    def reading(
        self, caller: Caller, wish: Wish, *, buffer: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """A subscription as an iterator, for readers that wait for each delivery.

        The iterator raises `Lagged`, `Unavailable`, … where a sink would be told `failed`.
        """
        raise NotImplementedError

    # --- streams

    @overload
    async def list(
        self,
        caller: Caller,
        *,
        pattern: str = "*",
        details: Literal[False] = False,
        everything: bool = False,
    ) -> list[str]: ...
    @overload
    async def list(
        self,
        caller: Caller,
        *,
        pattern: str = "*",
        details: Literal[True],
        everything: bool = False,
    ) -> list[StreamInfo]: ...
    async def list(
        self,
        caller: Caller,
        *,
        pattern: str = "*",
        details: bool = False,
        everything: bool = False,
    ) -> list[str] | list[StreamInfo]:
        """Streams that the caller may read, sorted; *everything*: without entries, too."""
        raise NotImplementedError

    async def info(self, caller: Caller, stream: str) -> StreamInfo:
        """One stream.

        Raises:
            NotFound: there is none, or it may not be read.
        """
        raise NotImplementedError

    async def describe(
        self,
        caller: Caller,
        stream: str,
        changes: Mapping[str, Any],
        *,
        replace: bool = False,
    ) -> StreamInfo:
        """Change what a stream is described as; makes the description, not the stream.

        Args:
            caller: may write it.
            stream: its name.
            changes: fields of `StreamSpec` by name; `retention` a mapping of its fields (``age``
                in seconds).
            replace: what is not named goes back to its default.

        Raises:
            Conflict: `durability` of a stream that holds entries cannot change.
            DurabilityUnavailable: this engine cannot promise that.
        """
        raise NotImplementedError

    async def delete(self, caller: Caller, stream: str) -> Deleted:
        """Delete description and entries."""
        raise NotImplementedError

    async def trim(
        self,
        caller: Caller,
        stream: str,
        *,
        count: int | None = None,
        before: EntryId | None = None,
    ) -> int:
        """Remove the oldest: all but *count*, or those older than *before*; says how many went."""
        raise NotImplementedError

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """What happens to the index, in any process; hints: see `Change.what`."""
        raise NotImplementedError

    # --- figures

    def figures(self) -> list[StreamFigures]:
        """Of the streams that were used here lately; bounded."""
        raise NotImplementedError


@asynccontextmanager
async def open_streams(engine: Any, bus: Bus, settings: Settings) -> AsyncIterator[Streams]:
    """Streams in *engine*, until the block is left; *bus* tells other processes what changed."""
    del engine, bus, settings
    yield Streams()
