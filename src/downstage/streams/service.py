"""Streams: the one door to the store, for every dialect.

Every method checks what the caller may do; a stream that it may not read looks absent.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, overload

import anyio
import anyio.abc

from downstage.bus import Bus
from downstage.kernel.errors import Unavailable
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.kernel.settings import Streams as Settings
from downstage.streams import names
from downstage.streams.aligned import Aligner
from downstage.streams.alignment import Alignment
from downstage.streams.append import Producer
from downstage.streams.catchup import CatchUp
from downstage.streams.consumers import Consumers
from downstage.streams.engine import Engine
from downstage.streams.fanout import Fanout
from downstage.streams.index import Change, Index
from downstage.streams.iterating import Queue, reading
from downstage.streams.keeper import Keeper
from downstage.streams.listing import Deleted, Listing
from downstage.streams.model import (
    Caller,
    Durability,
    Entry,
    EntryId,
    Receipt,
    Right,
    StreamInfo,
)
from downstage.streams.outlets import Outlets
from downstage.streams.parts import Parts
from downstage.streams.reading import (
    LAST,
    NEWEST,
    Align,
    Cursor,
    Delivery,
    How,
    Sink,
    Wish,
)
from downstage.streams.reads import Reads
from downstage.streams.sending import append
from downstage.streams.stats import Figures, StreamFigures, Totals
from downstage.streams.subscription import Subscription
from downstage.streams.words import Data, Item

__all__ = [
    "LAST",
    "NEWEST",
    "Align",
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

END_S = 3.0
log = get_logger(__name__)


class Streams:
    """Streams of every tenant; made by `open_streams`."""

    def __init__(
        self, engine: Engine, bus: Bus, settings: Settings, tasks: anyio.abc.TaskGroup
    ) -> None:
        process = new_id("streams")
        self._tasks = tasks
        self._figures = Figures()
        self._parts = Parts(engine, process, settings.in_flight, tasks)
        self._index = Index(self._parts, bus, process, settings.max_streams)
        self._outlets = Outlets(self._parts, self._index, self._figures, settings)
        self._listing = Listing(self._parts, self._index, self._figures)
        self._reads = Reads(self._parts, self._index)
        self._fanout = Fanout(self._figures, tasks)
        self._catch_up = CatchUp(
            self._parts, self._index, self._fanout, settings.buffer, self._spawn
        )
        self._alignment = Alignment(self._reads)
        self._aligner = Aligner(self._catch_up, self._alignment, self._listing, self._spawn)
        self._keeper = Keeper(self._parts, self._index, self._outlets, self._figures, settings)
        self.consumers = Consumers(self._parts, self._index, self.subscribe)
        """Named consumers."""

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.start_soon(self._watched, work)

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # one subscription's or producer's defect must not end all others
            log.exception("streams.task_crashed")

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
        return await append(self._outlets, caller, items, key=key, want=want)

    def producer(self, caller: Caller, streams: Collection[str] | None = None) -> Producer:
        """A producer into *streams*, whose right is checked now; None: each at its first use."""
        return Producer(caller, streams, self._outlets, self._spawn)

    # --- read

    async def read(
        self,
        caller: Caller,
        cursors: Mapping[str, Cursor],
        *,
        count: int = 1,
        order: Literal["after", "newest"] = "after",
    ) -> builtins.list[Entry]:
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
        for name in cursors:
            names.check(name)
            caller.need(name, Right.READ)
        return await self._reads.read(caller.tenant, cursors, count, newest=order == "newest")

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
    ) -> builtins.list[Entry]:
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
        names.check(stream)
        caller.need(stream, Right.READ)
        return await self._reads.range(
            caller.tenant,
            stream,
            start,
            stop,
            count=count,
            reverse=reverse,
            every=every,
            max_fps=max_fps,
        )

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
        for name in streams:
            names.check(name)
            caller.need(name, Right.READ)
        return await self._alignment.at(
            caller.tenant, streams, time, how=how, tolerance_ms=tolerance_ms
        )

    def subscribe(self, caller: Caller, wish: Wish, sink: Sink) -> Subscription:
        """Deliver what *wish* says to *sink*, from now on, without a gap or a duplicate.

        Raises:
            NotFound: the caller may not read one of the streams.
        """
        if wish.align is None:
            return self._catch_up.open(caller, wish, sink)
        return self._aligner.open(caller, wish, sink, wish.align)

    def reading(self, caller: Caller, wish: Wish) -> AbstractAsyncContextManager[Queue]:
        """A subscription as an iterator, for readers that wait for each delivery.

        The iterator raises `Lagged`, `Unavailable`, … where a sink would be told `failed`.
        """
        return reading(self.subscribe, caller, wish)

    # --- streams

    @overload
    async def list(
        self,
        caller: Caller,
        *,
        pattern: str = "*",
        details: Literal[False] = False,
        everything: bool = False,
    ) -> builtins.list[str]: ...
    @overload
    async def list(
        self,
        caller: Caller,
        *,
        pattern: str = "*",
        details: Literal[True],
        everything: bool = False,
    ) -> builtins.list[StreamInfo]: ...
    async def list(
        self,
        caller: Caller,
        *,
        pattern: str = "*",
        details: bool = False,
        everything: bool = False,
    ) -> builtins.list[str] | builtins.list[StreamInfo]:
        """Streams that the caller may read, sorted; *everything*: without entries, too."""
        found = await self._listing.names(caller, pattern, everything=everything)
        return await self._listing.infos(caller, found) if details else found

    async def info(self, caller: Caller, stream: str) -> StreamInfo:
        """One stream.

        Raises:
            NotFound: there is none, or it may not be read.
        """
        return await self._listing.info(caller, stream)

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
        return await self._listing.describe(caller, stream, changes, replace=replace)

    async def delete(self, caller: Caller, stream: str) -> Deleted:
        """Delete description and entries."""
        return await self._listing.delete(caller, stream)

    async def trim(
        self,
        caller: Caller,
        stream: str,
        *,
        count: int | None = None,
        before: EntryId | None = None,
    ) -> int:
        """Remove the oldest: all but *count*, or those older than *before*; says how many went."""
        return await self._listing.trim(caller, stream, count=count, before=before)

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """What happens to the index, in any process; hints: see `Change.what`."""
        return self._index.changes()

    # --- figures

    @property
    def totals(self) -> Totals:
        """Figures of this process."""
        totals = self._figures.totals
        totals.in_flight, totals.unknown = self._parts.in_flight, self._parts.lost
        return totals

    def figures(self) -> builtins.list[StreamFigures]:
        """Of the streams that were used here lately; bounded."""
        self._fanout.note_lags()
        return self._figures.all()

    async def look(self, tenant: str) -> None:
        """Know what other processes have changed until now.

        Raises:
            Unavailable: the engine does not answer.
        """
        await self._index.fresh(tenant)

    def stored_elsewhere(self, tenant: str, stream: str, entries: int, size: int) -> None:
        """Another process of this service stored so much: rates tell it, counters do not."""
        figures = self._figures.of(tenant, stream)
        figures.entries_elsewhere += entries
        figures.bytes_elsewhere += size

    # --- running -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep index, rates and retention up to date, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._index.listen)
            tasks.start_soon(self._index.poll)
            tasks.start_soon(self._keeper.tick)
            tasks.start_soon(self._keeper.trim)

    async def end(self) -> None:
        """Tell subscribers, and wait a little until what was pushed is answered."""
        self._catch_up.close(Unavailable("The service of streams is ending."))
        with anyio.move_on_after(END_S):
            while self._parts.in_flight:
                await anyio.sleep(0.01)
        self._parts.close()


@asynccontextmanager
async def open_streams(engine: Engine, bus: Bus, settings: Settings) -> AsyncGenerator[Streams]:
    """Streams in *engine*, until the block is left; *bus* tells other processes what changed.

    Raises:
        Unavailable: it is not known yet what the engine is.
    """
    async with anyio.create_task_group() as tasks:
        streams = Streams(engine, bus, settings, tasks)
        tasks.start_soon(streams.run)
        try:
            yield streams
        finally:
            with anyio.CancelScope(shield=True):
                await streams.end()
            tasks.cancel_scope.cancel()
