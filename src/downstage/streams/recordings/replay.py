"""One replay: entries of a recording into streams, at any speed, steered while it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import anyio
import anyio.to_thread

from downstage.kernel.errors import InvalidField, Lagged, NotFound, PlatformError, Unavailable
from downstage.kernel.logging import get_logger
from downstage.streams import names
from downstage.streams.append import Item
from downstage.streams.model import AUTO, Caller, Entry, EntryId
from downstage.streams.reading import Cursor, Wish
from downstage.streams.recordings.reader import RecordingReader
from downstage.streams.recordings.timeline import Timeline, check_speed
from downstage.streams.service import Streams

__all__ = ["Progress", "Replay", "ReplayState", "ReplayWish"]

TOGETHER: Final = 256
"""Entries that are read, and pushed, at once."""
TOGETHER_BYTES: Final = 1 << 20
RETRIES: Final = 20
RETRY_S: Final = 0.5
"""For so long an engine that restarts may be away."""
LONGEST_WAIT_S: Final = 60.0
log = get_logger(__name__)


class ReplayState(Enum):
    """Where a replay stands."""

    PLAYING = "playing"
    PAUSED = "paused"
    LIVE = "live"
    """The recording is over; what comes into its streams now goes on into the same targets."""
    ENDED = "ended"
    STOPPED = "stopped"
    FAILED = "failed"


OVER = frozenset({ReplayState.ENDED, ReplayState.STOPPED, ReplayState.FAILED})


@dataclass(frozen=True, slots=True)
class ReplayWish:
    """What is to be replayed, and how."""

    streams: tuple[str, ...]
    prefix: str = ""
    """Put before the name of each stream."""
    speed: float = 1.0
    """Times the recorded speed; 0: as fast as it goes."""
    start_ms: int = 0
    """Where to begin, from the first entry of the recording."""
    stop_ms: int | None = None
    """Where to end, from the same."""
    loop: bool = False
    original_ids: bool = False
    """Push with the recorded ids, and so with their times."""
    live: bool = False
    """Go on with what comes into the recorded streams."""
    paused: bool = False

    def __post_init__(self) -> None:
        check_speed(self.speed)
        for stream in self.streams:
            names.check(self.prefix + stream, "prefix")
        if self.loop and self.original_ids:
            raise InvalidField("loop", "An id is stored once: loop with new ids.")
        if self.loop and self.live:
            raise InvalidField("loop", "What loops never comes to what is live.")
        if self.live and not self.prefix:
            raise InvalidField("prefix", "What goes on live needs other streams to go to.")
        if self.stop_ms is not None and self.stop_ms < self.start_ms:
            raise InvalidField("stop", "It ends before it begins.")


@dataclass(slots=True)
class Progress:
    """How far a replay is; counts only grow."""

    state: ReplayState
    position_ms: int
    """From the first entry of the recording."""
    duration_ms: int
    rounds: int
    counts: dict[str, int] = field(default_factory=dict[str, int])
    current: dict[str, EntryId] = field(default_factory=dict[str, EntryId])
    """The last recorded id that was pushed, of each stream."""
    active: list[str] = field(default_factory=list[str])
    """Streams of which something is still to come."""
    failure: PlatformError | None = None


class Replay:
    """Plays once `run`; steered from the same loop.

    Args:
        streams: where it pushes to.
        caller: by whose rights.
        open_reader: opens the recording, in a thread; closed in the end.
        wish: what, and how.
        clock: passing seconds.
    """

    def __init__(
        self,
        streams: Streams,
        caller: Caller,
        open_reader: Callable[[], RecordingReader],
        wish: ReplayWish,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wish = wish
        self.state = ReplayState.PAUSED if wish.paused else ReplayState.PLAYING
        self.failure: PlatformError | None = None
        self.over = anyio.Event()
        self._streams = streams
        self._caller = caller
        self._open_reader = open_reader
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._current: dict[str, EntryId] = {}
        self._lasts: dict[str, EntryId] = {}
        self._rounds = 0
        self._first_ms = self._last_ms = 0
        self._timeline = Timeline(0, clock(), wish.speed, wish.paused)
        self._steered = anyio.Event()
        self._jump: int | None = None
        self._scope = anyio.CancelScope()

    def progress(self) -> Progress:
        """Where it stands now."""
        at = self._timeline.at(self._clock()) - self._first_ms
        over = self.state in OVER
        active = [s for s, last in self._lasts.items() if self._current.get(s) != last]
        if self.state is ReplayState.LIVE or self.wish.loop:
            active = list(self._lasts)
        return Progress(
            state=self.state,
            position_ms=min(max(int(at), 0), self._last_ms - self._first_ms),
            duration_ms=self._last_ms - self._first_ms,
            rounds=self._rounds,
            counts=dict(self._counts),
            current=dict(self._current),
            active=[] if over else active,
            failure=self.failure,
        )

    @property
    def speed(self) -> float:
        """Times the recorded speed; 0: as fast as it goes."""
        return self._timeline.speed

    @property
    def first_ms(self) -> int:
        """Time of the first entry of the recording."""
        return self._first_ms

    # --- steering

    def set_speed(self, speed: float) -> None:
        """Go on at another speed."""
        self._timeline.set_speed(speed, self._clock())
        self._steer()

    def pause(self) -> None:
        """Stand still, until `resume`."""
        self._timeline.pause(self._clock())
        if self.state is ReplayState.PLAYING:
            self.state = ReplayState.PAUSED
        self._steer()

    def resume(self) -> None:
        """Go on."""
        self._timeline.resume(self._clock())
        if self.state is ReplayState.PAUSED:
            self.state = ReplayState.PLAYING
        self._steer()

    def seek(self, position_ms: int) -> None:
        """Go on from there, counted from the first entry.

        Raises:
            InvalidField: with the recorded ids there is no way back.
        """
        target = max(position_ms, 0) + self._first_ms
        if self.wish.original_ids and target < self._timeline.at(self._clock()):
            raise InvalidField("position", "An id is stored once: seek forwards, or use new ids.")
        self._jump = target
        self._timeline.seek(target, self._clock())
        self._steer()

    def stop(self) -> None:
        """End it now."""
        self._scope.cancel()

    def _steer(self) -> None:
        self._steered.set()

    # --- playing

    async def run(self) -> None:
        """Play to the end, or until it is stopped; never raises for what goes wrong in it."""
        reader: RecordingReader | None = None
        try:
            with self._scope:
                reader = await anyio.to_thread.run_sync(self._open_reader)
                await self._begin(reader)
                await self._play(reader)
                if self.wish.live:
                    await self._go_live()
                self.state = ReplayState.ENDED
            if self._scope.cancelled_caught:
                self.state = ReplayState.STOPPED
        except PlatformError as error:
            self.failure, self.state = error, ReplayState.FAILED
            log.info("recordings.replay_failed", why=error.code)
        finally:
            if self.state not in OVER:
                self.state = ReplayState.STOPPED
            if reader is not None:
                reader.close()
            self.over.set()

    async def _begin(self, reader: RecordingReader) -> None:
        facts = await anyio.to_thread.run_sync(reader.facts)
        held = [s for s in self.wish.streams if s in reader.ledger.places]
        firsts = [f.first.ms for f in facts.values() if f.first is not None]
        self._first_ms = min(firsts, default=0)
        self._last_ms = max((f.last.ms for f in facts.values() if f.last), default=0)
        stop = self._stop_id()
        for stream in held:
            end = await anyio.to_thread.run_sync(
                lambda s=stream: next(reader.entries([s], stop=stop, reverse=True), None)
            )
            if end is not None:
                self._lasts[stream] = end.id
        self._timeline.seek(self._first_ms + self.wish.start_ms, self._clock())
        await self._describe(reader, held)

    async def _describe(self, reader: RecordingReader, held: Sequence[str]) -> None:
        """Let the targets say what they are, unless they do already."""
        for channel in list(reader.ledger.channels.values()):
            kind = channel.metadata.get("content_type")
            if channel.topic not in held or not kind:
                continue
            target = self.wish.prefix + channel.topic
            try:
                known = (await self._streams.info(self._caller, target)).spec.content_type
            except NotFound:
                known = None
            if known is None:
                await self._streams.describe(self._caller, target, {"content_type": kind})

    def _stop_id(self) -> EntryId | None:
        stop = self.wish.stop_ms
        return None if stop is None else EntryId(self._first_ms + stop + 1)

    async def _play(self, reader: RecordingReader) -> None:
        start = self._first_ms + self.wish.start_ms
        while True:
            entries = reader.entries(list(self._lasts), EntryId(start), self._stop_id())
            ended = await self._play_from(entries)
            if ended and not (self.wish.loop and self._counts):
                return
            if ended:
                self._rounds += 1
                self._timeline.seek(self._first_ms + self.wish.start_ms, self._clock())
            start = self._jump if self._jump is not None else self._first_ms + self.wish.start_ms
            self._jump = None

    async def _play_from(self, entries: Iterator[Entry]) -> bool:
        """Play what comes; False: it was told to go on somewhere else."""
        while True:
            some = await anyio.to_thread.run_sync(_some, entries)
            if not some:
                return self._jump is None
            at = 0
            while at < len(some):
                if not await self._wait_for(some[at]):
                    return False
                due = self._due(some[at:])
                await self._push(due)
                at += len(due)

    async def _wait_for(self, entry: Entry) -> bool:
        """Until *entry* is due; False: it was told to go on somewhere else."""
        while self._jump is None:
            wait = self._timeline.wait_s(entry.id.ms, self._clock())
            if wait <= 0:
                return True
            self._steered = anyio.Event()
            with anyio.move_on_after(min(wait, LONGEST_WAIT_S)):
                await self._steered.wait()
        return False

    def _due(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Those that are due together; the first is."""
        now = self._clock()
        for n, entry in enumerate(entries):
            if n and self._timeline.wait_s(entry.id.ms, now) > 0:
                return entries[:n]
        return entries

    async def _push(self, entries: Sequence[Entry]) -> None:
        prefix, original = self.wish.prefix, self.wish.original_ids
        items: list[Item] = [
            (prefix + entry.stream, bytes(entry.id) if original else AUTO, entry.data)
            for entry in entries
        ]
        await self._append(items)
        for entry in entries:
            self._counts[entry.stream] = self._counts.get(entry.stream, 0) + 1
            self._current[entry.stream] = entry.id
        self._timeline.reach(entries[-1].id.ms, self._clock())

    async def _append(self, items: Sequence[Item]) -> None:
        key = f"replay-{id(self):x}-{time.monotonic_ns():x}"
        for attempt in range(RETRIES):
            try:
                await self._streams.append(self._caller, items, key=key)
            except Unavailable:
                if attempt == RETRIES - 1:
                    raise
                await anyio.sleep(RETRY_S)
            else:
                return

    async def _go_live(self) -> None:
        """What comes into the recorded streams after the recording goes on into the targets."""
        self.state = ReplayState.LIVE
        cursors: dict[str, Cursor] = dict(self._lasts)
        wish = Wish(cursors, count=TOGETHER)
        while True:
            try:
                async with self._streams.reading(self._caller, wish) as deliveries:
                    async for delivery in deliveries:
                        await self._push(delivery.entries)
                        cursors.update({entry.stream: entry.id for entry in delivery.entries})
            except Lagged:
                log.warning("recordings.replay_lagged")
                wish = Wish({stream: EntryId(0) for stream in cursors}, count=TOGETHER, latest=True)
            except Unavailable:
                await anyio.sleep(RETRY_S)
                wish = Wish(dict(cursors), count=TOGETHER)


def _some(entries: Iterator[Entry]) -> list[Entry]:
    """The next entries, as many as go together. Blocks."""
    found: list[Entry] = []
    size = 0
    for entry in entries:
        found.append(entry)
        size += len(entry.data)
        if len(found) >= TOGETHER or size >= TOGETHER_BYTES:
            break
    return found
