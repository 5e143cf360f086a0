"""One reader's place in its streams, and how it is given what comes.

It begins by catching up from the store, until it is level with the live readers; then it is live.
When its sink holds too many bytes it leaves live mode and catches up again once they have left. A
sink that is not ready (it waits for an acknowledgement, or its rate is limited) stays live with a
small backlog of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from downstage.kernel.errors import PlatformError
from downstage.streams.gaps import Gap
from downstage.streams.model import Caller, EntryId
from downstage.streams.reading import Delivery, Row, Sink, Wish
from downstage.streams.reads import Thin
from downstage.streams.stats import Totals
from downstage.streams.watching import Group, Watch, cut, id_key

if TYPE_CHECKING:
    from downstage.streams.ahead import Ahead
    from downstage.streams.catchup import CatchUp
    from downstage.streams.part import Part

__all__ = ["Followed", "Subscription"]

BACKLOG_BYTES = 256 * 1024
BACKLOG = 64
GUESS = 64 * 1024


class Followed:
    """One stream of a subscription."""

    __slots__ = (
        "anchored",
        "cursor",
        "floor",
        "key",
        "mean",
        "name",
        "ordinal",
        "part",
        "thin",
        "watch",
    )

    def __init__(
        self, name: str, part: Part, key: bytes, cursor: bytes, max_fps: float | None
    ) -> None:
        self.name = name
        self.part = part
        self.key = key
        self.cursor = cursor
        """The last id that was given, or let go; meant while the subscription is not in a group."""
        self.anchored = False
        """Whether that is the id of an entry that was there."""
        self.ordinal = 0
        """What `Watch.ordinal` was at the cursor."""
        self.mean = GUESS
        """Bytes of an entry, about."""
        self.floor: tuple[int, int] | None = None
        """Rows up to this id are left out: the live reader is behind, or all was synchronized."""
        self.thin = Thin(1, max_fps) if max_fps is not None else None
        self.watch: Watch | None = None


class Subscription:
    """What a sink is delivered from, until it is closed. Made by `Streams.subscribe`."""

    def __init__(
        self, caller: Caller, wish: Wish, sink: Sink, catch_up: CatchUp, totals: Totals
    ) -> None:
        self.caller = caller
        self.delivered = 0
        """Entries that were given."""
        self.skipped = 0
        """Entries that were left out, as the wish allows (``latest``)."""
        self.wish = wish
        self.sink = sink
        self.streams: dict[str, Followed] = {}
        self.is_closed = False
        self.on_end: Callable[[], None] | None = None
        self.free = asyncio.Event()
        """Set when the sink may have become free, or ready."""
        self.group: Group | None = None
        self.ahead: Ahead | None = None
        """What is read next, while it catches up."""
        self.is_live = False
        self.is_catching_up = False
        self.was_over = False
        """Whether it left live mode because its sink held too much."""
        self._backlog: deque[Delivery] = deque()
        self._backlog_bytes = 0
        self._untold = 0
        """Skipped entries that no delivery has told of yet."""
        self._catch_up = catch_up
        self._totals = totals
        self._limit = catch_up.limit
        sink.on_drained = self._drained

    # --- what the owner of the sink uses -------------------------------------------------------

    @property
    def cursors(self) -> Mapping[str, EntryId]:
        """The last id that was given, of each stream: begin again after these."""
        if self.group is not None:
            return {watch.name: EntryId.parse(watch.position) for watch in self.group.watches}
        return {name: EntryId.parse(stream.cursor) for name, stream in self.streams.items()}

    @property
    def lag(self) -> int:
        """Entries that are stored and were not given yet, about."""
        waiting = sum(len(delivery.rows) for delivery in self._backlog)
        if self.group is not None:
            return waiting
        return waiting + sum(
            max(0, stream.watch.ordinal - stream.ordinal)
            for stream in self.streams.values()
            if stream.watch is not None
        )

    def lag_of(self, watch: Watch) -> int:
        """Entries of one stream that were read by the live reader and not by this one, about."""
        stream = self.streams.get(watch.name)
        if self.group is not None or stream is None or stream.watch is not watch:
            return 0
        return max(0, watch.ordinal - stream.ordinal)

    def wake(self) -> None:
        """The sink is ready again."""
        self.free.set()
        self.sink.ready()  # a sink before the reader's own wakes by that
        self.unload()

    async def close(self) -> None:
        """As `end`."""
        self.end()
        await asyncio.sleep(0)

    def end(self) -> None:
        """End; nothing is delivered once this has been called. Safe to repeat."""
        if not self.is_closed:
            self._end()

    def fail(self, error: PlatformError) -> None:
        """End it because of *error*."""
        if not self.is_closed:
            self._end()
            self.sink.failed(error)

    def crashed(self) -> None:
        """Its sink has raised: it is ended, the sink is not called any more."""
        if not self.is_closed:
            self._end()

    def _end(self) -> None:
        self.is_closed = True
        self.free.set()
        self.leave()
        self._backlog.clear()
        self.sink.on_drained = None
        self._catch_up.forget(self)
        if self.on_end is not None:
            self.on_end()

    def _drained(self) -> None:
        self.free.set()

    # --- live ------------------------------------------------------------------------------------

    @property
    def is_plain(self) -> bool:
        """Whether it can share deliveries with others that want the same."""
        wish = self.wish
        return (
            wish.max_fps is None
            and wish.sync_to is None
            and all(stream.floor is None for stream in self.streams.values())
        )

    def join(self, group: Group | None) -> None:
        """Be given what comes: as one of *group*, or, None, for itself."""
        self.is_live = True
        self._totals.live += 1
        if group is not None:
            self.group = group
            group.members[self] = None
        else:
            for stream in self.streams.values():
                if stream.watch is not None:
                    stream.watch.singles.add(self)

    def leave(self) -> None:
        """Be live no longer; where this is in the middle of a round, nothing of it counts."""
        if not self.is_live:
            return
        self.is_live = False
        self._totals.live -= 1
        group, self.group = self.group, None
        for stream in self.streams.values():
            watch = stream.watch
            if watch is None:
                continue
            watch.singles.discard(self)
            if group is not None:
                stream.cursor, stream.ordinal = watch.position, watch.ordinal
                stream.anchored = stream.anchored or watch.ordinal > 0
        if group is not None:
            group.members.pop(self, None)
            self._catch_up.drop_group(group)

    def take(self, deliveries: list[Delivery], size: int) -> None:
        """Be given *deliveries* of *size* bytes, as a member of a group."""
        sink = self.sink
        if not self.is_live:
            return  # one that was given this before has ended it
        if sink.buffered() > self._limit:
            self._slow()
            return
        given = 0
        for at, delivery in enumerate(deliveries):
            if self._untold or not sink.ready():
                self._go_alone(deliveries[:at], deliveries[at:])
                return
            sink.deliver(delivery)
            given += len(delivery.rows)
            if self.is_closed:
                break
        self._count(given, size)

    def _count(self, entries: int, size: int) -> None:
        self.delivered += entries
        self._totals.entries_out += entries
        self._totals.bytes_out += size

    def _slow(self) -> None:
        self.was_over = self.sink.buffered() > self._limit
        self._totals.slow += 1
        self.leave()
        self._catch_up.start(self)

    def _go_alone(self, done: list[Delivery], left: list[Delivery]) -> None:
        """Leave the group in the middle of a round: the sink is not ready."""
        for delivery in done:
            self._count(len(delivery.rows), delivery.size)
        self.leave()
        self._advance(done)
        self._advance(left)
        self.join(None)
        for delivery in left:
            self._stash(delivery)
        self.unload()

    def feed(self, parts: list[tuple[Watch, list[Row]]]) -> None:
        """Be given the new rows of some streams, while live for itself."""
        if not self.is_live or self.group is not None:
            return
        if self.sink.buffered() > self._limit or self._backlog_is_full():
            self._slow()
            return
        fresh: list[list[Row]] = []
        for watch, rows in parts:
            stream = self.streams.get(watch.name)
            if stream is not None and stream.watch is watch:
                mine = self.filter(stream, rows)
                stream.cursor, stream.anchored = rows[-1][1], True
                stream.ordinal = watch.ordinal + len(rows)
                if mine:
                    fresh.append(mine)
        for delivery in self.cut(fresh):
            self._stash(delivery)
        self.unload()
        if self._may_share():
            self._catch_up.share(self)

    def _may_share(self) -> bool:
        return not self._backlog and not self._untold and self.is_live and self.is_plain

    def _advance(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            for name, id_, _ in delivery.rows:
                stream = self.streams[name]
                stream.cursor, stream.anchored = id_, True
                stream.ordinal += 1
                # The round that goes on may come once more, by `feed`.
                stream.floor = id_key(id_)

    # --- giving ----------------------------------------------------------------------------------

    def filter(self, stream: Followed, rows: list[Row]) -> list[Row]:
        """Those of *rows* that are to be given."""
        if stream.floor is not None:
            floor = stream.floor
            rows = [row for row in rows if id_key(row[1]) > floor]
            if rows:
                stream.floor = None
        if stream.thin is not None:
            rows = [row for row in rows if stream.thin.takes(id_key(row[1])[0])]
        return rows

    def cut(self, fresh: list[list[Row]]) -> list[Delivery]:
        """Rows as deliveries, as the wish has it."""
        wish = self.wish
        if not fresh:
            return []
        if wish.sync_to is None:
            return cut(fresh, wish.count, one_by_one=wish.one_by_one)
        return self._synchronized(fresh, wish.sync_to)

    def _synchronized(self, fresh: list[list[Row]], leader: str) -> list[Delivery]:
        """After each delivery with entries of *leader* nothing older of the others follows."""
        left = {rows[0][0]: rows for rows in sorted(fresh, key=lambda rows: rows[0][0])}
        deliveries: list[Delivery] = []
        while left:
            now = {name: rows[: self.wish.count] for name, rows in left.items()}
            left = {name: rows[self.wish.count :] for name, rows in left.items()}
            deliveries += cut(list(now.values()), self.wish.count, one_by_one=self.wish.one_by_one)
            if leader in now:
                level = id_key(now[leader][-1][1])
                for name, stream in self.streams.items():
                    if name != leader:
                        stream.floor = max(stream.floor or level, level)
                        if name in left:
                            left[name] = [row for row in left[name] if id_key(row[1]) > level]
            left = {name: rows for name, rows in left.items() if rows}
        return deliveries

    def _stash(self, delivery: Delivery) -> None:
        self._backlog.append(delivery)
        self._backlog_bytes += delivery.size

    def _backlog_is_full(self) -> bool:
        return len(self._backlog) > BACKLOG or self._backlog_bytes > BACKLOG_BYTES

    def unload(self) -> None:
        """Give what waits, as long as the sink is ready."""
        backlog, sink = self._backlog, self.sink
        while backlog and not self.is_closed and sink.ready():
            delivery = backlog.popleft()
            self._backlog_bytes -= delivery.size
            if self._untold:
                delivery = Delivery(delivery.rows, self._untold)
                self._untold = 0
            sink.deliver(delivery)
            self._count(len(delivery.rows), delivery.size)

    @property
    def is_free(self) -> bool:
        """Whether the sink can take more from the store now."""
        return not self._backlog and self.sink.ready() and self.sink.buffered() <= self._limit // 4

    def give(self, deliveries: list[Delivery]) -> None:
        """Give what was read from the store."""
        for delivery in deliveries:
            self._stash(delivery)
        self.unload()

    def skip(self, entries: int) -> None:
        """*entries* are not given."""
        self.skipped += entries
        self._untold += entries
        self._totals.skipped += entries

    def lost(self, watch: Watch, gap: Gap) -> None:
        """The engine has lost entries of a stream."""
        stream = self.streams.get(watch.name)
        if stream is None or self.is_closed:
            return
        if id_key(stream.cursor) > id_key(gap.position):
            stream.cursor, stream.anchored = gap.position, False
        if stream.floor is not None and stream.floor > id_key(gap.position):
            stream.floor = None
        self.sink.gap(watch.name, gap.lost, EntryId.parse(gap.after))

    def reset(self, watch: Watch) -> None:
        """A stream was deleted: what comes of it is new, whatever its ids."""
        stream = self.streams.get(watch.name)
        if stream is not None:
            stream.cursor, stream.anchored, stream.floor = b"0-0", False, None
            stream.ordinal = 0
