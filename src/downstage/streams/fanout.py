"""The live way out: one blocking read for each part of the store, handed to all who listen.

A reader follows at most so many streams; where there are more there is another reader. What it
waits with is a read that blocks; a bell, which is a stream of its own, wakes it when streams come
to be followed.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import anyio
import anyio.abc

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.streams.engine import Lane, NotReady, encode
from downstage.streams.gaps import find_gap
from downstage.streams.overtaking import is_suspect, look_behind
from downstage.streams.part import Part
from downstage.streams.reading import Row
from downstage.streams.reads import FIELD, payload
from downstage.streams.stats import Figures
from downstage.streams.subscription import Subscription
from downstage.streams.watching import Group, Watch

__all__ = ["Fanout"]

MOST_WATCHES = 1024
BLOCK_MS = 5000
DEADLINE_S = 15.0
LOOK_S = 5.0
FIRST_COUNT = 16
MOST_COUNT = 512
CHUNK_BYTES = 4 << 20
BURST_BYTES = 64 << 20
MOST_CALLS = 8192
"""Deliveries of one round, about: so that the loop is not kept for long."""
BELL_S = 3600
PAUSE_S = 0.05
Ended = asyncio.Future[None]
log = get_logger(__name__)


class Fanout:
    """Readers, what they follow, and groups of those who want the same."""

    def __init__(self, figures: Figures, tasks: anyio.abc.TaskGroup) -> None:
        self.figures = figures
        self._tasks = tasks
        self._readers: dict[Part, list[Reader]] = {}
        self._watches: dict[bytes, tuple[Reader, Watch]] = {}
        self._groups: dict[tuple[Any, ...], Group] = {}

    def find(self, part: Part, key: bytes) -> Watch | None:
        """The watch of a stream that is followed already."""
        found = self._watches.get(key)
        return found[1] if found is not None and found[1].part is part else None

    def watch(self, part: Part, key: bytes, tenant: str, name: str, position: bytes) -> Watch:
        """Follow a stream; *position* counts where nobody followed it before."""
        found = self.find(part, key)
        if found is not None:
            return found
        reader = self._reader(part)
        watch = Watch(part, key, position, self.figures.of(tenant, name))
        self._watches[key] = (reader, watch)
        reader.add(watch)
        return watch

    def note_lags(self) -> None:
        """Bring the figures of how far subscribers are behind up to date."""
        for _, watch in self._watches.values():
            watch.figures.lag = sum(user.lag_of(watch) for user in watch.users)

    def release(self, watch: Watch) -> None:
        """Follow it no longer, if nobody needs it."""
        if watch.users or self.find(watch.part, watch.key) is not watch:
            return
        reader, _ = self._watches.pop(watch.key)
        watch.figures.lag = 0
        reader.drop(watch)

    def restart(self, watch: Watch) -> None:
        """Read *watch* from its beginning from now on."""
        watch.position = watch.begin = b"0-0"
        watch.ordinal = 0
        watch.recent.clear()
        reader, _ = self._watches[watch.key]
        reader.wake()

    def group(self, watches: list[Watch], count: int, *, one_by_one: bool) -> Group:
        """Those who want the same."""
        key = (count, one_by_one, *map(id, watches))
        found = self._groups.get(key)
        if found is None:
            found = self._groups[key] = Group(watches, count, one_by_one=one_by_one)
            for watch in watches:
                watch.groups.add(found)
        return found

    def drop_group(self, group: Group) -> None:
        """Forget it, if it has no members."""
        if group.members:
            return
        key = (group.count, group.one_by_one, *map(id, group.watches))
        if self._groups.get(key) is group:
            del self._groups[key]
            for watch in group.watches:
                watch.groups.discard(group)

    def _reader(self, part: Part) -> Reader:
        readers = self._readers.setdefault(part, [])
        for reader in readers:
            if reader.has_room:
                return reader
        made = Reader(part, self)
        readers.append(made)
        self._tasks.start_soon(made.run)
        return made


class Reader:
    """One blocking read after another."""

    def __init__(self, part: Part, fanout: Fanout) -> None:
        self._part = part
        self._fanout = fanout
        self._watches: dict[bytes, Watch] = {}
        self._added = anyio.Event()
        self._bell = part.keys.bell(uuid.uuid4().hex)
        self._rung = b"0-0"
        self._is_blocked = False
        self._count = FIRST_COUNT
        self._active = 1.0
        """Streams that had something in one read lately."""
        self._run_id = ""

    @property
    def has_room(self) -> bool:
        """Whether it can follow one more."""
        return len(self._watches) < MOST_WATCHES

    def add(self, watch: Watch) -> None:
        """Follow it from the next read on, and let that begin now."""
        self._watches[watch.key] = watch
        self._added.set()
        self.wake()

    def wake(self) -> None:
        """Begin the next read now: what is to be read has changed."""
        if self._is_blocked:
            self._is_blocked = False
            self._ring()

    def _ring(self) -> None:
        try:
            lane = self._part.command
        except PlatformError:
            return  # it is about to learn that by itself
        ring = encode("XADD", self._bell, "MAXLEN", 1, "*", "d", "")
        lane.send([ring, encode("EXPIRE", self._bell, BELL_S)], 2, _ignore)

    def drop(self, watch: Watch) -> None:
        """Follow it no longer."""
        self._watches.pop(watch.key, None)

    async def run(self) -> None:
        """Read until cancelled; breaks of the engine are pauses."""
        while True:
            if not self._watches:
                self._added = anyio.Event()
                await self._added.wait()
            lane: Lane | None = None
            try:
                await self._part.wait_up()
                lane = await self._part.shard.new_lane()
                await self._after_break()
                await self._follow(lane)
            except PlatformError as error:
                log.debug("streams.reader_paused", why=error.detail)
                await anyio.sleep(PAUSE_S)
            finally:
                if lane is not None:
                    lane.abort()

    async def _after_break(self) -> None:
        """Where the engine is another one than before: see whether it lost something."""
        run_id = self._part.shard.run_id
        if self._run_id and run_id != self._run_id:
            for watch in tuple(self._watches.values()):
                gap = await find_gap(self._part.command, watch)
                if gap is None:
                    continue
                self._fanout.figures.totals.gaps += 1
                watch.recent.clear()
                watch.begin = gap.position
                for user in tuple(watch.users):
                    user.lost(watch, gap)
                watch.position = gap.position
        self._run_id = run_id

    async def _follow(self, lane: Lane) -> None:
        """Read by *lane* as long as anything is followed.

        What comes is handed on, and the next read is asked for, where the answer arrives: a task
        that had to be woken for each would add a turn of the loop to every delivery.
        """
        ended: Ended = asyncio.get_running_loop().create_future()
        self._ask(lane, ended)
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=LOOK_S)
                if lane.stalled_s > DEADLINE_S:
                    raise NotReady(f"The engine did not answer within {DEADLINE_S:g} s.")
            ended.result()
        finally:
            ended.cancel()

    def _ask(self, lane: Lane, ended: Ended) -> None:
        """Ask for the next read, if there is one."""
        watches = list(self._watches.values())
        if not watches:
            ended.set_result(None)
            return
        asked = {watch.key: (watch, watch.position) for watch in watches}
        command = encode(
            "XREAD",
            "COUNT",
            self._count,
            "BLOCK",
            BLOCK_MS,
            "STREAMS",
            *[watch.key for watch in watches],
            self._bell,
            *[watch.position for watch in watches],
            self._rung,
        )
        self._is_blocked = True
        lane.send([command], 1, lambda replies: self._took(lane, ended, replies[0], asked))

    def _took(
        self, lane: Lane, ended: Ended, reply: Any, asked: dict[bytes, tuple[Watch, bytes]]
    ) -> None:
        if ended.done():
            return
        self._is_blocked = False
        try:
            if isinstance(reply, PlatformError):
                ended.set_exception(reply)
                return
            suspects = self._dispatch(reply, asked) if reply else []
            for watch, before in suspects:
                look_behind(lane, watch, before, self._fanout.figures)
            self._ask(lane, ended)
        except Exception as error:  # noqa: BLE001 - the task that waits raises it
            ended.set_exception(error)

    def _dispatch(
        self, reply: list[Any], asked: dict[bytes, tuple[Watch, bytes]]
    ) -> list[tuple[Watch, bytes]]:
        """Hand on what was read; returns streams that may have lost some, and their last ids."""
        suspects: list[tuple[Watch, bytes]] = []
        shared: dict[Group, list[list[Row]]] = {}
        read: list[tuple[Watch, list[Row]]] = []
        entries_in = bytes_in = calls = 0
        for key, entries in reply:
            if key == self._bell:
                self._rung = entries[-1][0]
                continue
            watch, position = asked[key]
            if self._watches.get(key) is not watch or watch.position != position:
                # Followed anew since, from another place: the next read is for that one.
                continue
            name = watch.name
            rows: list[Row] = [
                (name, id_, fields[1] if fields[0] == FIELD else payload(fields))
                for id_, fields in entries
            ]
            read.append((watch, rows))
            size = sum([len(row[2]) for row in rows])
            entries_in += len(rows)
            bytes_in += size
            watch.figures.entries_seen += len(rows)
            watch.figures.bytes_seen += size
            heard = len(watch.singles)
            for group in watch.groups:
                shared.setdefault(group, []).append(rows)
                heard += len(group.members)
            calls += heard
            watch.figures.entries_out += heard * len(rows)
            watch.figures.bytes_out += heard * size
        for group, fresh in shared.items():
            group.deliver(fresh)
        self._feed_singles(read)
        for watch, rows in read:
            if watch.recent and is_suspect(len(rows), self._count):
                suspects.append((watch, watch.position))
            watch.position = rows[-1][1]
            watch.ordinal += len(rows)
            watch.recent.extend([row[1] for row in rows])
        if entries_in:
            self._measure(entries_in, bytes_in, len(read), calls)
        return suspects

    def _feed_singles(self, read: list[tuple[Watch, list[Row]]]) -> None:
        fed: dict[Subscription, list[tuple[Watch, list[Row]]]] = {}
        for watch, rows in read:
            for single in watch.singles:
                fed.setdefault(single, []).append((watch, rows))
        for single, parts in fed.items():
            try:
                single.feed(parts)
            except Exception:  # one sink's defect is not the others'
                log.exception("streams.sink_failed")
                single.crashed()

    def _measure(self, entries: int, size: int, streams: int, calls: int) -> None:
        """How many to read at once the next time: some megabytes, some thousand calls.

        Not too many either if all streams should have some at once, as after a pause.
        """
        mean = size // entries + 64
        self._active = max(streams, 0.9 * self._active)
        fitting = int(CHUNK_BYTES / (mean * self._active))
        bursting = BURST_BYTES // (mean * max(len(self._watches), 1))
        calling = max(8, MOST_CALLS // (calls + 1))
        self._count = max(1, min(fitting, bursting, calling, MOST_COUNT))


def _ignore(replies: list[Any]) -> None:
    del replies
