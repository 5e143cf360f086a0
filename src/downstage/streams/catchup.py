"""Subscriptions catch up from the store until they are level with the live readers.

The step from one to the other has no gap and no duplicate: no other code runs between the look at
how far the reader is and the moment from which the subscription is given what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from downstage.kernel.errors import Lagged, PlatformError, Unavailable
from downstage.kernel.logging import get_logger
from downstage.streams import names
from downstage.streams.ahead import ask_ahead
from downstage.streams.arrivals import Arrivals
from downstage.streams.engine import NotReady, encode
from downstage.streams.fanout import Fanout
from downstage.streams.index import Index
from downstage.streams.model import Caller, EntryId, Right
from downstage.streams.part import Part
from downstage.streams.parts import Parts
from downstage.streams.pipeline import transact
from downstage.streams.reading import LAST, MOST_STREAMS, NEWEST, Cursor, Row, Sink, Wish
from downstage.streams.reads import FIELD, payload
from downstage.streams.subscription import Followed, Subscription
from downstage.streams.tail import last_id
from downstage.streams.watching import Group, id_key

__all__ = ["CatchUp"]

CHUNK_BYTES = 2 << 20
MOST_CHUNK = 512
AT_ONCE = 32
"""Streams of one read."""
LOOK_S = 1.0
AWAY_S = 60.0
"""Seconds without the engine after which a subscription is ended."""
PAUSE_S = 0.05
ZERO = b"0-0"
Spawn = Callable[[Coroutine[Any, Any, None]], None]
log = get_logger(__name__)


class CatchUp:
    """Opens subscriptions and keeps them going."""

    def __init__(
        self, parts: Parts, index: Index, fanout: Fanout, limit: int, spawn: Spawn
    ) -> None:
        self.limit = limit
        """Bytes that may wait in a sink."""
        self._parts = parts
        self._index = index
        self._fanout = fanout
        self.spawn = spawn
        self._totals = fanout.figures.totals
        self.all: dict[Subscription, None] = {}
        """Those that have not ended."""
        self._arrivals = Arrivals(parts, index, fanout, self)

    def open(self, caller: Caller, wish: Wish, sink: Sink) -> Subscription:
        """See `Streams.subscribe`."""
        for name in wish.cursors:
            names.check(name)
            caller.need(name, Right.READ)
        for pattern in wish.patterns:
            names.check_pattern(pattern)
        subscription = Subscription(caller, wish, sink, self, self._totals)
        self.all[subscription] = None
        self._totals.subscriptions += 1
        self.start(subscription, begin=True)
        return subscription

    def start(self, subscription: Subscription, *, begin: bool = False) -> None:
        """Let it catch up, from where it is."""
        if not subscription.is_catching_up and not subscription.is_closed:
            subscription.is_catching_up = True
            self.spawn(self._run(subscription, begin=begin))

    def close(self, error: PlatformError) -> None:
        """End all subscriptions."""
        for subscription in tuple(self.all):
            subscription.fail(error)

    # --- what subscriptions call ---------------------------------------------------------------

    def forget(self, subscription: Subscription) -> None:
        """It has ended."""
        if self.all.pop(subscription, 0) == 0:
            return
        self._totals.subscriptions -= 1
        for stream in subscription.streams.values():
            self.unfollow(subscription, stream)

    def unfollow(self, subscription: Subscription, stream: Followed) -> None:
        """One stream is not followed any more."""
        watch, stream.watch = stream.watch, None
        if watch is not None:
            watch.users.discard(subscription)
            watch.singles.discard(subscription)
            watch.figures.subscribers -= 1
            self._fanout.release(watch)

    def drop_group(self, group: Group) -> None:
        """It may have lost its last member."""
        self._fanout.drop_group(group)

    def share(self, subscription: Subscription) -> None:
        """It may share deliveries from now on."""
        watches = [
            stream.watch
            for _, stream in sorted(subscription.streams.items())
            if stream.watch is not None
        ]
        wish = subscription.wish
        subscription.leave()
        subscription.join(self._fanout.group(watches, wish.count, one_by_one=wish.one_by_one))

    # --- the task ------------------------------------------------------------------------------

    async def _run(self, subscription: Subscription, *, begin: bool) -> None:
        away_since: float | None = None
        try:
            while not subscription.is_closed:
                try:
                    if begin:
                        await self._begin(subscription)
                        begin = False
                    if await self._level(subscription):
                        return
                    away_since = None
                except NotReady as error:
                    now = anyio.current_time()
                    away_since = away_since or now
                    if now - away_since > AWAY_S:
                        raise Unavailable(error.detail) from error
                    await anyio.sleep(PAUSE_S)
        except PlatformError as error:
            if isinstance(error, Lagged):
                self._totals.lagged += 1
            subscription.fail(error)
        except Exception:  # one sink's defect is not the others'
            log.exception("streams.sink_failed")
            subscription.crashed()
        finally:
            subscription.is_catching_up = False

    async def _level(self, subscription: Subscription) -> bool:
        """One step; whether it is live then, or closed."""
        if not subscription.is_free:
            await self._until_free(subscription)
            return subscription.is_closed
        if subscription.was_over and subscription.wish.latest:
            await self._skip(subscription)
        subscription.was_over = False
        is_level = await self._step(subscription)
        if subscription.is_closed:
            return True
        return is_level and self._join(subscription)

    async def _until_free(self, subscription: Subscription) -> None:
        subscription.free.clear()
        subscription.unload()
        if not subscription.is_free:
            with anyio.move_on_after(LOOK_S):
                await subscription.free.wait()

    def _join(self, subscription: Subscription) -> bool:
        """Go live, unless the reader is ahead in one of the streams. Must not wait."""
        if not subscription.is_free:
            return False
        is_behind = False
        for stream in subscription.streams.values():
            watch = stream.watch
            if watch is None:
                watch = self._fanout.watch(
                    stream.part, stream.key, subscription.caller.tenant, stream.name, stream.cursor
                )
                watch.users.add(subscription)
                watch.figures.subscribers += 1
                stream.watch, stream.ordinal = watch, watch.ordinal
            own, reader = id_key(stream.cursor), id_key(watch.position)
            if own < reader:
                is_behind = True
            elif own > reader:
                stream.floor = max(stream.floor or own, own)
        if is_behind:
            return False
        if subscription.is_plain:
            self.share(subscription)
        else:
            subscription.join(None)
        return True

    # --- the beginning -------------------------------------------------------------------------

    async def _begin(self, subscription: Subscription) -> None:
        """Settle where each stream begins."""
        wish, caller = subscription.wish, subscription.caller
        catalog = await self._index.catalog(caller.tenant)
        wanted: dict[str, Cursor] = {}
        for pattern in wish.patterns:
            matcher = names.matcher(pattern)
            for name in catalog.made:
                if matcher.match(name) and Right.READ in caller.rights(name):
                    wanted[name] = wish.start
        wanted |= wish.cursors
        rows: list[list[Row]] = []
        for name in sorted(wanted)[: 2 * MOST_STREAMS]:
            if name in subscription.streams:
                continue  # settled before a break, or made meanwhile
            part = self._parts.of(caller.tenant, name, catalog.spec(name))
            key = part.keys.stream(caller.tenant, name)
            try:
                stream, newest = await settle(part, key, name, wanted[name], wish)
            except PlatformError:
                subscription.give(subscription.cut(rows))  # those are settled
                raise
            subscription.streams[name] = stream
            if newest is not None:
                rows.append([newest])
        subscription.give(subscription.cut(rows))

    # --- reading -------------------------------------------------------------------------------

    async def _step(self, subscription: Subscription) -> bool:
        """Read some more of each stream and give it; whether that was all there is."""
        behind = [
            stream
            for stream in subscription.streams.values()
            if stream.watch is None or id_key(stream.cursor) < id_key(stream.watch.position)
        ]
        is_all = True
        for at in range(0, len(behind), AT_ONCE):
            is_all = await self._some(subscription, behind[at : at + AT_ONCE]) and is_all
            if not subscription.is_free:
                return False
        return is_all

    async def _some(self, subscription: Subscription, streams: list[Followed]) -> bool:
        count, is_all = self._chunk(streams), True
        tops = {stream.name: stream.watch.position for stream in streams if stream.watch}
        fresh: list[list[Row]] = []
        for stream, rows in await self._read(subscription, streams, count):
            is_all = is_all and len(rows) < count
            if not rows and stream.name in tops:
                # What the reader has had is gone already.
                stream.cursor, stream.anchored = tops[stream.name], False
            if rows:
                mine = subscription.filter(stream, rows)
                stream.cursor, stream.anchored = rows[-1][1], True
                stream.ordinal += len(rows)
                if mine:
                    fresh.append(mine)
                    _count(stream, mine)
        if not is_all and len(streams) == 1:
            # The engine reads on while this is encoded and sent.
            command = _command(streams[0], self._chunk(streams))
            subscription.ahead = ask_ahead(streams[0].part, command)
        subscription.give(subscription.cut(fresh))
        return is_all

    def _chunk(self, streams: list[Followed]) -> int:
        sizes: list[int] = []
        for stream in streams:
            figures = stream.watch.figures if stream.watch else None
            seen = figures.entries_seen if figures else 0
            sizes.append(figures.bytes_seen // seen + 64 if figures and seen else stream.mean)
        return max(1, min(CHUNK_BYTES // max(sum(sizes), 1), MOST_CHUNK))

    async def _read(
        self, subscription: Subscription, streams: list[Followed], count: int
    ) -> list[tuple[Followed, list[Row]]]:
        """Up to *count* rows after the cursor of each of *streams*.

        Raises:
            Lagged: what comes next of one of them is not kept any more.
        """
        by_part: dict[Part, list[Followed]] = {}
        for stream in streams:
            by_part.setdefault(stream.part, []).append(stream)
        replies: list[tuple[Followed, list[Any]]] = []
        for part, mine in by_part.items():
            commands = [_command(stream, count) for stream in mine]
            replies += zip(mine, await self._ask(subscription, part, commands), strict=True)
        found: list[tuple[Followed, list[Row]]] = []
        for stream, reply in replies:
            name = stream.name
            rows: list[Row] = [
                (name, id_, fields[1] if fields[0] == FIELD else payload(fields))
                for id_, fields in reply
            ]
            if rows:
                stream.mean = sum([len(row[2]) for row in rows]) // len(rows) + 64
            if stream.anchored:
                if rows and rows[0][1] == stream.cursor:
                    del rows[0]
                elif rows or stream.watch is not None:
                    rows = await self._fallen_out(subscription, stream)
            found.append((stream, rows))
        return found

    @staticmethod
    async def _ask(subscription: Subscription, part: Part, commands: list[bytes]) -> list[Any]:
        ahead, subscription.ahead = subscription.ahead, None
        if ahead is not None and ahead.is_for(part, commands):
            return await ahead.replies()
        return await transact(part.command, commands)

    async def _fallen_out(self, subscription: Subscription, stream: Followed) -> list[Row]:
        if not subscription.wish.latest:
            raise Lagged(
                f"What comes next of {stream.name} is not kept any more: this reader was too slow.",
                stream=stream.name,
                after=stream.cursor.decode(),
            )
        return await self._newest(subscription, stream)

    async def _newest(self, subscription: Subscription, stream: Followed) -> list[Row]:
        """The newest rows of a stream; those between are skipped and counted."""
        watch = stream.watch
        top = watch.position if watch is not None else b"+"
        ordinal = watch.ordinal if watch is not None else 0
        count = subscription.wish.count
        command = encode("XREVRANGE", stream.key, top, b"(" + stream.cursor, "COUNT", count)
        (reply,) = await transact(stream.part.command, [command])
        rows: list[Row] = [(stream.name, id_, payload(fields)) for id_, fields in reversed(reply)]
        if watch is not None:
            skipped = max(0, ordinal - stream.ordinal - len(rows))
            subscription.skip(skipped)
            watch.figures.skipped += skipped
            stream.ordinal = ordinal - len(rows)
            stream.cursor = top if top != b"+" and not rows else stream.cursor
        return rows

    async def _skip(self, subscription: Subscription) -> None:
        """Go to the newest rows of all streams."""
        fresh: list[list[Row]] = []
        for stream in list(subscription.streams.values()):
            watch = stream.watch
            if watch is None or id_key(stream.cursor) >= id_key(watch.position):
                continue
            rows = await self._newest(subscription, stream)
            if rows:
                mine = subscription.filter(stream, rows)
                stream.cursor, stream.anchored = rows[-1][1], True
                stream.ordinal += len(rows)
                if mine:
                    fresh.append(mine)
        subscription.give(subscription.cut(fresh))


async def settle(
    part: Part, key: bytes, name: str, cursor: Cursor, wish: Wish
) -> tuple[Followed, Row | None]:
    """A stream from *cursor* on, and the entry that is to be given at once.

    Raises:
        NotReady: the engine does not answer.
    """
    stream = Followed(name, part, key, ZERO, wish.max_fps)
    if isinstance(cursor, EntryId):
        stream.cursor = bytes(cursor)
        return stream, None
    if cursor is LAST:
        stream.cursor = bytes(await last_id(part.command, key))
        stream.anchored = stream.cursor != ZERO
        return stream, None
    assert cursor is NEWEST  # noqa: S101 - there is no other
    newest = await part.command.call("XREVRANGE", key, "+", "-", "COUNT", 1)
    if not newest:
        return stream, None
    id_, fields = newest[0]
    stream.cursor, stream.anchored = id_, True
    return stream, (name, id_, payload(fields))


def _count(stream: Followed, rows: list[Row]) -> None:
    """Count what one subscriber is given from the store."""
    if stream.watch is not None:
        stream.watch.figures.entries_out += len(rows)
        stream.watch.figures.bytes_out += sum([len(row[2]) for row in rows])


def _command(stream: Followed, count: int) -> bytes:
    """What reads after the cursor: an entry more, the one at it, where there should be one.

    Where that is still there nothing is missing.
    """
    if stream.anchored:
        return encode("XRANGE", stream.key, stream.cursor, "+", "COUNT", count + 1)
    return encode("XRANGE", stream.key, b"(" + stream.cursor, "+", "COUNT", count)
