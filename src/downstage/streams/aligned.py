"""Subscriptions that give, with each entry of one stream, what others held at its time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.streams import names
from downstage.streams.alignment import Alignment
from downstage.streams.bell import Bell
from downstage.streams.engine import NotReady
from downstage.streams.listing import Listing
from downstage.streams.model import Caller, Entry, EntryId, Right
from downstage.streams.reading import LAST, NEWEST, Align, Delivery, Row, Sink, Wish

if TYPE_CHECKING:
    from downstage.streams.catchup import CatchUp
    from downstage.streams.subscription import Subscription

__all__ = ["Aligned", "Aligner"]

PATIENCE_MS = 250
"""How long the next entry of the others is waited for where no tolerance is given."""
MOST_PATIENCE_MS = 1000
PAUSE_S = 0.05
log = get_logger(__name__)
At = Callable[[EntryId], Awaitable[dict[str, Entry | None]]]
Spawn = Callable[[Coroutine[Any, Any, None]], None]
Settled = Callable[[EntryId], Awaitable[bool]]


def _leader_wish(wish: Wish, align: Align) -> Wish:
    """The part of *wish* that is about the stream that says when."""
    cursors = {align.to: wish.cursors.get(align.to, LAST)}
    return replace(wish, cursors=cursors, patterns=(), align=None, sync_to=None)


def _others_wish(wish: Wish, align: Align) -> Wish | None:
    """What rings when the other streams have more; None where there are no others."""
    cursors = {name: NEWEST for name in wish.cursors if name != align.to}
    if not cursors and not wish.patterns:
        return None
    return Wish(cursors, wish.patterns, start=NEWEST, count=64)


class Aligned:
    """A sink that stands before the reader's own.

    Args:
        sink: of the reader.
        at: what the other streams held at a time.
        is_settled: whether all of them have gone past a time.
        align: how.
    """

    def __init__(self, sink: Sink, at: At, is_settled: Settled, align: Align) -> None:
        self.on_drained: Callable[[], None] | None = None
        self.bell = Bell()
        self.subscription: Subscription | None = None
        self._sink = sink
        self._at = at
        self._is_settled = is_settled
        self._align = align
        self._rows: deque[Row] = deque()
        self._bytes = 0
        self._kicked = asyncio.Event()
        self._is_over = False
        sink.on_drained = self._drained

    def _drained(self) -> None:
        self._kicked.set()
        if self.on_drained is not None:
            self.on_drained()

    def deliver(self, delivery: Delivery) -> None:
        """Take entries of the leading stream."""
        self._rows.extend(delivery.rows)
        self._bytes += delivery.size
        self._kicked.set()

    def buffered(self) -> int:
        """Bytes that have not left yet."""
        return self._bytes + self._sink.buffered()

    def ready(self) -> bool:
        """Whether the next may come: once what came has been given."""
        self._kicked.set()
        return not self._rows and self._sink.ready()

    def gap(self, stream: str, lost: int | None, after: EntryId) -> None:
        """Pass it on."""
        self._sink.gap(stream, lost, after)

    def failed(self, error: PlatformError) -> None:
        """Pass it on, and end."""
        self.end()
        self._sink.failed(error)

    def end(self) -> None:
        """Give nothing any more."""
        self._is_over = True
        self._sink.on_drained = None
        self._kicked.set()

    async def run(self) -> None:
        """Give entry after entry, until the end; a break of the engine is a pause."""
        while not self._is_over:
            try:
                await self._give()
            except NotReady:
                await anyio.sleep(PAUSE_S)
            except PlatformError as error:
                if self.subscription is not None:
                    self.subscription.fail(error)
            except Exception:  # one sink's defect; a reader that is given nothing must not stay
                log.exception("streams.sink_failed")
                if self.subscription is not None:
                    self.subscription.crashed()
                self.end()

    async def _give(self) -> None:
        while not self._is_over:
            if not self._rows or not self._sink.ready():
                self._kicked.clear()
                if self._rows and self._sink.ready():
                    continue
                await self._kicked.wait()
                continue
            row = self._rows[0]
            delivery = await self._around(row)
            if self._is_over:
                return
            self._rows.popleft()
            self._bytes -= len(row[2])
            self._sink.deliver(delivery)
            if not self._rows and self.subscription is not None:
                self.subscription.wake()

    async def _around(self, row: Row) -> Delivery:
        """*row* and what the others held then."""
        time = EntryId.parse(row[1])
        if self._align.how != "previous":
            # Something that is yet to come could be nearer.
            patience = min(self._align.tolerance_ms or PATIENCE_MS, MOST_PATIENCE_MS)
            with anyio.move_on_after(patience / 1000):
                while not self._is_over and not await self._is_settled(time):
                    await self.bell.wait()
        found = (await self._at(time)).values()
        others = [(entry.stream, bytes(entry.id), entry.data) for entry in found if entry]
        return Delivery(tuple(sorted([row, *others])))


class Aligner:
    """Opens such subscriptions."""

    def __init__(
        self, catch_up: CatchUp, alignment: Alignment, listing: Listing, spawn: Spawn
    ) -> None:
        self._catch_up = catch_up
        self._alignment = alignment
        self._listing = listing
        self._spawn = spawn

    def open(self, caller: Caller, wish: Wish, sink: Sink, align: Align) -> Subscription:
        """See `Streams.subscribe`.

        Raises:
            NotFound: the caller may not read one of the streams.
        """
        for name in wish.cursors:
            names.check(name)
            caller.need(name, Right.READ)

        async def others() -> list[str]:
            found = set(wish.cursors)
            for pattern in wish.patterns:
                found |= set(await self._listing.names(caller, pattern, everything=False))
            return sorted(found - {align.to})

        async def at(time: EntryId) -> dict[str, Entry | None]:
            return await self._alignment.at(
                caller.tenant, await others(), time, how=align.how, tolerance_ms=align.tolerance_ms
            )

        async def is_settled(time: EntryId) -> bool:
            return await self._alignment.is_past(caller.tenant, await others(), time)

        aligned = Aligned(sink, at, is_settled, align)
        leader = self._catch_up.open(caller, _leader_wish(wish, align), aligned)
        wanted = _others_wish(wish, align)
        ring = self._catch_up.open(caller, wanted, aligned.bell) if wanted is not None else None

        def end() -> None:
            aligned.end()
            if ring is not None:
                ring.end()

        aligned.subscription, leader.on_end = leader, end
        self._spawn(aligned.run())
        return leader
