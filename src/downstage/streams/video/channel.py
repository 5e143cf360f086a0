"""One source on air: reads its streams while somebody watches, keeps a minute of segments.

Decoding and coding run on threads, one entry after the other; a source that is quicker than this
machine is read from its newest entry on, so nothing piles up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

import anyio
import anyio.to_thread

from downstage.contracts.video import Unit
from downstage.kernel.errors import Lagged, NotFound, PlatformError, UnsupportedMedia
from downstage.kernel.logging import get_logger
from downstage.media.hls.coded import CodedSource
from downstage.media.hls.cutter import Cutter, Pacing
from downstage.media.hls.images import ImageCoder
from downstage.media.hls.sound import SoundCodec
from downstage.media.hls.window import Window
from downstage.streams.model import ZERO, Caller, Entry, EntryId
from downstage.streams.reading import LAST, NEWEST, Cursor
from downstage.streams.service import Streams, Wish
from downstage.streams.video.sources import CodedStreams, ImageStream, Source
from downstage.streams.video.timing import WallClock, first_of

__all__ = ["FAREWELL_S", "IDLE_S", "Channel"]

log = get_logger(__name__)
_Result = TypeVar("_Result")

IDLE_S = 15.0
"""Nobody asked for so long: it goes off the air."""
FAREWELL_S = 10.0
REPEAT_S = 0.25
"""A picture that stays is repeated so often, so that parts go on."""
SILENT_S, ENDED_S = 20.0, 3.0
"""Coded pictures that come no more for so long have ended; the second, where the source said that
it goes: a publisher who lost the line may be back by then."""
LOOK_S = 0.25
BACK_MS = 6000
"""Coded pictures are read from so long before the last one: a player finds whole segments."""
COUNT = 64
FOREIGN = Pacing(longest_s=6.0)
"""Publishers choose their key frames themselves."""
MOST_BAD = 50
"""Entries in a row that cannot be read, before it is given up."""


class Channel:
    """One source on air.

    Args:
        streams: where it is read.
        reader: who reads.
        name: of the source, for the log.
        source: what it is.
        limiter: how many are coded at once.
    """

    def __init__(
        self,
        streams: Streams,
        reader: Caller,
        name: str,
        source: Source,
        limiter: anyio.CapacityLimiter,
    ) -> None:
        self._streams, self._reader, self._name = streams, reader, name
        self.source = source
        self._limiter = limiter
        self.window = Window()
        foreign = isinstance(source, CodedStreams) and not source.own
        self.pacing = FOREIGN if foreign else Pacing()
        self._cutter = Cutter(self.window, self.pacing)
        self._asked_at = time.monotonic()
        self._bad = 0
        self._seen = dict[str, EntryId]()
        self.error: PlatformError | None = None
        """Why it went off the air, where that was no end."""
        self._over_at: float | None = None

    def touch(self) -> None:
        """Somebody asked for something of it."""
        self._asked_at = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether nobody asked for a while."""
        return time.monotonic() - self._asked_at > IDLE_S

    @property
    def is_over(self) -> bool:
        """Whether it is off the air, and who asks for the playlist needs another.

        For a moment players are still told that it ended.
        """
        if self._over_at is None:
            return False
        return self.error is not None or time.monotonic() - self._over_at > FAREWELL_S

    async def run(self) -> None:
        """Be on air until nobody watches, or the source has ended."""
        log.info("channel.started", stream=self._name)
        try:
            if isinstance(self.source, ImageStream):
                await self._run_images(self.source)
            else:
                await self._run_coded(self.source)
        except PlatformError as error:
            self.error = error
            log.warning("channel.failed", stream=self._name, error_code=error.code)
        except Exception:  # the edge: others go on, and whoever asks again begins anew
            self.error = PlatformError("An error of ours; the log has it.")
            log.exception("channel.crashed", stream=self._name)
        finally:
            self._over_at = time.monotonic()
            self.window.end()
            log.info("channel.stopped", stream=self._name)

    # Images

    async def _run_images(self, source: ImageStream) -> None:
        coder, clock = ImageCoder(source.raw), WallClock()
        wish = Wish({source.stream: NEWEST}, latest=True)
        newest: Entry | None = None
        arrived = anyio.Event()

        async def read() -> None:
            nonlocal newest
            async with self._streams.reading(self._reader, wish) as deliveries:
                async for delivery in deliveries:
                    newest = delivery.entries[-1]
                    arrived.set()

        async def code() -> None:
            nonlocal newest, arrived
            while not self.is_idle:
                if newest is None:
                    with anyio.move_on_after(REPEAT_S):
                        await arrived.wait()
                arrived, entry, newest = anyio.Event(), newest, None
                await self._thread(lambda entry=entry: self._image(coder, clock, entry))

        await first_of(read, code)

    def _image(self, coder: ImageCoder, clock: WallClock, entry: Entry | None) -> None:
        if entry is None:
            pictures = coder.repeat(*clock.now())
        else:
            try:
                pictures = coder.push(entry.data, *clock.of(entry.id.ms))
            except UnsupportedMedia:
                self._bad += 1
                if self._bad >= MOST_BAD or not coder.shown:
                    raise
                return
            self._bad = 0
        for picture in pictures:
            if coder.format is not None and picture.key:
                self._cutter.configure(coder.format, None)
            self._cutter.picture(picture)

    # Coded pictures and sound

    async def _run_coded(self, source: CodedStreams) -> None:
        coded = CodedSource(self._cutter, cast("SoundCodec | None", source.sound))
        last, patience_s = time.monotonic(), SILENT_S

        async def read() -> None:
            nonlocal last, patience_s
            cursor = await self._some_seconds_back(source.video)
            while True:
                wish = Wish(dict.fromkeys(source.streams, cursor), count=COUNT)
                try:
                    async with self._streams.reading(self._reader, wish) as deliveries:
                        async for delivery in deliveries:
                            last = time.monotonic()
                            entries = delivery.entries
                            over = await self._thread(
                                lambda e=entries: self._units(coded, source, e)
                            )
                            patience_s = ENDED_S if over else SILENT_S
                except Lagged:
                    log.info("channel.lagged", stream=self._name)
                    coded.interrupt()  # too slow for a moment: on from the newest
                    cursor = NEWEST

        async def watch() -> None:
            while not self.is_idle and time.monotonic() - last < patience_s:
                await anyio.sleep(LOOK_S)

        await first_of(read, watch)

    async def _some_seconds_back(self, stream: str) -> Cursor:
        try:
            last = (await self._streams.info(self._reader, stream)).last
        except NotFound:
            return LAST
        if last is None or abs(last.ms - time.time() * 1000) > BACK_MS:
            return LAST
        return EntryId(max(0, last.ms - BACK_MS))

    def _units(self, coded: CodedSource, source: CodedStreams, entries: Iterable[Entry]) -> bool:
        """Feed one delivery; returns whether the source said last that it has ended."""
        found = [(Unit.unpack(entry.data), entry) for entry in self._unseen(entries)]
        units = [(unit, entry) for unit, entry in found if unit is not None]
        if not any(unit.restart for unit, _ in units):
            # By their own times, so that sound and pictures of one delivery come in order.
            units.sort(key=lambda pair: (pair[0].end, pair[0].at_us))
        for unit, entry in units:
            if unit.end:
                coded.interrupt()
                continue
            if entry.stream == source.video:
                coded.video(unit, entry.id.ms)
                continue
            if source.sound is None:
                coded.hear_of("aac" if unit.data[:1] == b"\xff" else "opus")
            coded.audio(unit)
        return bool(units) and units[-1][0].end

    def _unseen(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """What is newer than what came before: reading again from a place repeats some."""
        for entry in entries:
            if entry.id > self._seen.get(entry.stream, ZERO):
                self._seen[entry.stream] = entry.id
                yield entry

    async def _thread(self, job: Callable[[], _Result]) -> _Result:
        return await anyio.to_thread.run_sync(job, limiter=self._limiter)
