"""One recording while it runs: from a subscription into a file, chunk by chunk.

What was taken and is not on the disk yet is the open chunk: about a megabyte, or a second. A disk
that is slower than that holds up the reading, not the streams: the subscription then reads from its
own place in the store, and what the store has dropped meanwhile is written down as a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import anyio
import anyio.lowlevel
import anyio.to_thread

from downstage.kernel.errors import (
    DeadlineExceeded,
    Lagged,
    NotFound,
    OutOfSpace,
    PlatformError,
    QuotaReached,
    Unavailable,
)
from downstage.kernel.logging import get_logger
from downstage.streams import names
from downstage.streams.model import ZERO, Caller, EntryId, StreamSpec
from downstage.streams.reading import MOST_STREAMS, Cursor, Row, Wish
from downstage.streams.recordings.chunks import Compression
from downstage.streams.recordings.ledger import Ledger
from downstage.streams.recordings.writer import Entry, RecordingFile, compression_for
from downstage.streams.service import Streams

__all__ = ["CHUNK_BYTES", "CHUNK_S", "SHUTDOWN", "Recorder"]

CHUNK_BYTES: Final = 1 << 20
CHUNK_S: Final = 1.0
TOGETHER: Final = 256
"""Entries of one stream that are read at once."""
TURN: Final = 2000
"""Entries that are taken before others have a turn: a few milliseconds."""
PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
CATCH_UP_S: Final = 10.0
"""How long a recording that is stopped may take for what was stored until then."""
GAP: Final = "downstage.gap"
SHUTDOWN: Final = "shutdown"
"""Why a recording ended that the end of the service has ended."""
log = get_logger(__name__)


class Recorder:
    """Records until it is stopped, or cannot go on.

    Args:
        streams: where it reads.
        caller: by whose rights.
        patterns: names and patterns of streams.
        file: where it writes; it is closed in the end.
        threads: that may write.

    Attributes:
        failed: why it ended before it was stopped.
        gaps: times that entries were gone before they could be read.
    """

    def __init__(
        self,
        streams: Streams,
        caller: Caller,
        patterns: Sequence[str],
        file: RecordingFile,
        threads: anyio.CapacityLimiter,
    ) -> None:
        self.failed: str = ""
        self.gaps = 0
        self._streams = streams
        self._caller = caller
        self._patterns = tuple(patterns)
        self._file = file
        self._threads = threads
        self._last: dict[str, EntryId] = {}
        self._packing: dict[str, Compression] = {}
        self._pending: dict[Compression, list[Entry]] = {}
        self._pending_bytes = 0
        self._due = anyio.Event()
        self._room = anyio.Event()
        self._took = anyio.Event()
        self._following = anyio.Event()
        self._disk = anyio.Lock()
        self._scope: anyio.CancelScope | None = None
        self._ends = False

    @property
    def ledger(self) -> Ledger:
        """What is on the disk."""
        return self._file.ledger

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    async def begin(self) -> None:
        """Fix where reading begins: everything that is stored from now on.

        Raises:
            Unavailable: the engine does not answer.
        """
        for info in await self._streams.list(self._caller, details=True):
            if info.last is not None and self._wants(info.name):
                self._last[info.name] = info.last

    async def run(self) -> None:
        """Record until `stop`; the file is closed then, whatever happened."""
        try:
            with anyio.CancelScope() as self._scope:
                if self._ends:  # before it began
                    self._scope.cancel()
                await self._record()
        finally:
            if not self._ends and not self.failed:
                self.failed = SHUTDOWN
            with anyio.CancelScope(shield=True):
                await self._close()

    async def _record(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._follow)
                tasks.start_soon(self._keep_writing)
        except* PlatformError as group:
            self.failed = _first(group).code
        except* OSError:
            self.failed = "disk-error"
            log.exception("recordings.write_failed")
        except* Exception:  # nothing of one recording may end the others
            self.failed = "internal"
            log.exception("recordings.recorder_failed")

    async def stop(self) -> None:
        """Take what is stored by now, then end `run`."""
        with anyio.move_on_after(CATCH_UP_S):
            try:
                await self._catch_up()
            except PlatformError as error:
                log.info("recordings.stopped_without_engine", why=error.code)
        self.cancel()

    def cancel(self) -> None:
        """End `run` with what was taken until now."""
        self._ends = True
        if self._scope is not None:
            self._scope.cancel()

    async def _catch_up(self) -> None:
        infos = await self._streams.list(self._caller, details=True)
        ends = {i.name: i.last for i in infos if i.last is not None and self._wants(i.name)}
        while any(self._last.get(name, ZERO) < end for name, end in ends.items()):
            self._took = anyio.Event()
            await self._took.wait()

    def _wants(self, stream: str) -> bool:
        return any(
            stream == pattern
            or (names.is_pattern(pattern) and names.matcher(pattern).match(stream) is not None)
            for pattern in self._patterns
        )

    # Reading.

    async def _follow(self) -> None:
        pause = PAUSE_S
        while True:
            try:
                async with self._streams.reading(self._caller, self._wish()) as deliveries:
                    async for delivery in deliveries:
                        pause = PAUSE_S
                        while deliveries.gaps:
                            stream, lost, after = deliveries.gaps.popleft()
                            await self._note_gap(stream, after, lost=str(lost or "unknown"))
                        await self._take(delivery.rows)
            except Lagged:
                await self._write_down_gap()
            except (Unavailable, DeadlineExceeded) as error:
                log.info("recordings.engine_missed", why=error.code)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _wish(self) -> Wish:
        """From where it stands, in every stream it has; new ones from their first entry."""
        cursors: dict[str, Cursor] = dict(list(self._last.items())[:MOST_STREAMS])
        rest = list(self._last.values())[MOST_STREAMS:]
        # What is read twice is left out by `_take`.
        return Wish(cursors, self._patterns, min(rest, default=ZERO), count=TOGETHER)

    async def _take(self, rows: Sequence[Row]) -> None:
        for number, (stream, id_, data) in enumerate(rows):
            if number % TURN == TURN - 1:
                await anyio.lowlevel.checkpoint()  # others have a turn
            ms, _, seq = id_.partition(b"-")
            entry = EntryId(int(ms), int(seq))
            if entry <= self._last.get(stream, EntryId(-1)):
                continue
            packing = self._packing.get(stream)
            if packing is None:
                packing = await self._meet(stream)
            self._last[stream] = entry
            self._pending.setdefault(packing, []).append((stream, entry, data))
            self._pending_bytes += len(data)
        self._took.set()
        if self._pending_bytes >= CHUNK_BYTES:
            self._due.set()
        while self._pending_bytes >= 2 * CHUNK_BYTES:
            self._room = anyio.Event()
            await self._room.wait()

    async def _meet(self, stream: str) -> Compression:
        """A stream's first entry: what it is described as goes into the file before it."""
        try:
            spec = (await self._streams.info(self._caller, stream)).spec
        except NotFound:  # deleted meanwhile; what it held is here
            spec = StreamSpec()
        self._file.describe(stream, spec)
        packing = self._packing[stream] = compression_for(spec.content_type)
        return packing

    async def _write_down_gap(self) -> None:
        """Some entries were dropped by the store before they were read: say which."""
        for stream, last in list(self._last.items()):
            try:
                info = await self._streams.info(self._caller, stream)
            except NotFound:
                continue
            if info.first is None or info.first <= last.next():
                continue
            await self._note_gap(stream, last, before=str(info.first))

    async def _note_gap(self, stream: str, after: EntryId, **more: str) -> None:
        self.gaps += 1
        fields = {"stream": stream, "after": str(after), **more}
        log.warning("recordings.gap_found", **fields)
        await self._write()
        async with self._disk:
            await self._in_thread(partial(self._file.note, GAP, fields))

    # Writing.

    async def _keep_writing(self) -> None:
        while True:
            with anyio.move_on_after(CHUNK_S):
                await self._due.wait()
            self._due = anyio.Event()
            await self._write()

    async def _write(self) -> None:
        with anyio.CancelScope(shield=True):  # taken is taken: it is written, or the file ends
            async with self._disk:
                pending, self._pending = self._pending, {}
                self._pending_bytes = 0
                self._room.set()
                if pending:
                    await self._in_thread(lambda: self._write_chunks(pending))

    def _write_chunks(self, pending: Mapping[Compression, list[Entry]]) -> None:
        for packing, entries in pending.items():
            for some in _cut(entries):
                self._file.write_chunk(some, packing)

    async def _close(self) -> None:
        try:
            if self.failed in ("", SHUTDOWN):  # else the disk takes nothing more
                await self._write()
        except (OutOfSpace, QuotaReached) as error:
            self.failed = error.code
        except OSError:
            self.failed = "disk-error"
            log.exception("recordings.write_failed")
        try:
            await self._in_thread(self._file.finish)
        except OSError:  # mended at the next start
            self.failed = self.failed or "disk-error"
            log.exception("recordings.end_not_written")

    async def _in_thread(self, job: Callable[[], object]) -> None:
        await anyio.to_thread.run_sync(job, limiter=self._threads)


def _cut(entries: list[Entry]) -> list[list[Entry]]:
    """Pieces of about `CHUNK_BYTES`."""
    found: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        if size >= CHUNK_BYTES:
            found.append([])
            size = 0
        found[-1].append(entry)
        size += len(entry[2])
    return found


def _first(group: BaseExceptionGroup[PlatformError]) -> PlatformError:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, PlatformError)  # noqa: S101 - that is what the group was split by
    return found
