"""Bytes by their hash, on this machine's disk: staged, opened, never stored twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import blake3

from downstage.content.blobs import ledger
from downstage.content.blobs.chunks import Recent
from downstage.content.blobs.difference import LARGE, DifferenceSink, Earlier, chunks_of
from downstage.content.blobs.intake import BATCH, Budget, Intake, Paced, Target, in_worker
from downstage.content.blobs.layout import RESERVE, Layout
from downstage.content.blobs.packs import Packs
from downstage.content.blobs.pins import Hold, Pins
from downstage.content.blobs.protocol import INLINE_MAX, BlobRef, Body, Database, Extent
from downstage.content.blobs.reading import ExtentReading, InlineReading, open_sources
from downstage.content.blobs.sinks import FileSink, Sink, WholeSink
from downstage.content.blobs.staging import Staging, Strays
from downstage.kernel.errors import Damaged, NotFound, TooLarge
from downstage.kernel.logging import get_logger

log = get_logger(__name__)

__all__ = ["IDLE_S", "DiskBlobs"]

IDLE_S = 60.0
"""Seconds without a byte after which a body is given up."""
WORKERS = 8
IN_FLIGHT = 64 * 1024 * 1024
"""Bytes of bodies that may wait in memory before batches shrink."""
OPEN_TRIES = 3
"""How often an opening may find that the bytes were moved meanwhile."""


class DiskBlobs:
    """See `protocol.BlobStore`.

    Args:
        folder: of all content.
        database: whose tables are those of `schema`.
        reserve: bytes to leave free on the disk.
        idle_s: seconds that a sender may be silent.
        large: bytes from which a body may be stored as its differences.
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        *,
        reserve: int = RESERVE,
        idle_s: float = IDLE_S,
        large: int = LARGE,
    ) -> None:
        self.layout = Layout(folder, reserve=reserve)
        self.database = database
        self.pins = Pins()
        self.strays = Strays()
        self.packs = Packs(self.layout)
        self.pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="content-bytes")
        self._budget = Budget(IN_FLIGHT)
        self._idle_s = idle_s
        self._large = large
        self._recent = Recent()

    async def start(self) -> None:
        """Make the folders, and drop what a crash left of stagings; before anything else."""
        await in_worker(self.pool, self._recover)

    async def close(self) -> None:
        """End the workers; nothing may be staged or read any more."""
        await anyio.to_thread.run_sync(self.pool.shutdown)

    def _recover(self) -> None:
        self.layout.prepare()
        for path in self.layout.tmp.iterdir():
            path.unlink()
        with self.database.read() as db:
            rows = db.execute("SELECT name, size FROM source WHERE name LIKE 'packs/%'").fetchall()
        freed = self.packs.recover(dict(rows))
        if freed:
            log.info("content.packs_trimmed", freed_bytes=freed)

    async def stage(
        self,
        body: Body,
        *,
        previous: BlobRef | None = None,
        size_hint: int | None = None,
        max_size: int | None = None,
        idle_s: float | None = None,
    ) -> Staging:
        """See `protocol.BlobStore`."""
        if isinstance(body, bytes):
            size_hint = len(body)
            body = _once(body)
        if size_hint is not None and max_size is not None and size_hint > max_size:
            raise TooLarge("The body is larger than allowed.", max_bytes=max_size)
        rest = Paced(body, self._idle_s if idle_s is None else idle_s)
        first = await _beginning(rest)
        if len(first) <= INLINE_MAX:
            if max_size is not None and len(first) > max_size:
                raise TooLarge("The body is larger than allowed.", max_bytes=max_size)
            self.layout.check_room(len(first))
            data = bytes(first)
            return Staging(blake3.blake3(data).hexdigest(), len(data), inline=data)
        self.layout.check_room(max(size_hint or 0, len(first)))
        return await self._stage_large(first, rest, previous, size_hint, max_size)

    async def stage_file(self, path: Path, *, previous: BlobRef | None = None) -> Staging:
        """Stage a file on the same disk without copying it; it may be removed afterwards.

        Args:
            path: nobody may write to it any more: what is stored *is* that file.
            previous: see `stage`.

        Raises:
            OutOfSpace: the disk is full.
        """
        size = (await in_worker(self.pool, path.stat)).st_size
        as_differences = previous is not None and min(previous.size, size) >= self._large
        if size <= INLINE_MAX or as_differences:
            return await self.stage(
                _file_pieces(self.pool, path), previous=previous, size_hint=size
            )
        hold = Hold(self.pins)
        sink = FileSink(self.layout, path)
        try:
            return await in_worker(
                self.pool, lambda: self._settle(sink, size, hold), undo=Staging.release
            )
        except BaseException:
            hold.release()
            raise
        finally:
            await in_worker(self.pool, sink.abort)

    async def take(
        self,
        body: AsyncIterator[bytes],
        target: Target,
        *,
        max_size: int | None = None,
        idle_s: float | None = None,
        keep_partial: bool = False,
    ) -> int:
        """Pass a body on to *target*, within the bounds that hold for all; its size, bytes.

        Args:
            body: the pieces as they come.
            target: takes them.
            max_size: bytes allowed.
            idle_s: see `stage`.
            keep_partial: pass on also what came before a failure.
        """
        intake = Intake(
            self.pool,
            self._budget,
            target,
            max_size,
            self.layout.check_room,
            keep_partial=keep_partial,
        )
        await intake.pump(b"", Paced(body, self._idle_s if idle_s is None else idle_s))
        return intake.size

    async def open(self, ref: BlobRef) -> InlineReading | ExtentReading:
        """See `protocol.BlobStore`."""
        return await in_worker(
            self.pool, lambda: self.open_now(ref), undo=lambda reading: reading.close()
        )

    def open_staged(self, staging: Staging) -> InlineReading | ExtentReading:
        """Bytes that are staged and not released; few, or on this disk anyway."""
        ref = BlobRef(staging.hash, staging.size)
        if staging.inline is not None:
            return InlineReading(ref, staging.inline)
        if staging.extents is None:
            return self.open_now(ref)
        sources = open_sources(self.layout.folder, staging.extents)
        return ExtentReading(ref, staging.extents, sources, None, self.pool)

    def open_now(self, ref: BlobRef, *, bad: bool = False) -> InlineReading | ExtentReading:
        """The same in this thread; small bodies need no disk but the database's.

        Args:
            ref: what to open.
            bad: even what is known to be damaged, to look at it again.
        """
        for _ in range(OPEN_TRIES):
            with self.database.read() as db:
                row = ledger.find(db, ref.hash)
                extents = [] if row is None or row.data is not None else ledger.extents(db, row.id)
            if row is None:
                raise NotFound("No such bytes are stored here.", hash=ref.hash)
            if row.bad and not bad:
                raise Damaged("These bytes changed on the server's disk.", hash=ref.hash)
            if row.data is not None:
                return _inline(row.hash, row.data, bad=bad)
            reading = self._open_extents(row, extents)
            if reading is not None:
                return reading
        raise Damaged("A file is missing on the server's disk.", hash=ref.hash)

    def _open_extents(self, row: ledger.Row, extents: list[Extent]) -> ExtentReading | None:
        """None: they were moved meanwhile, look again."""
        try:
            descriptors = open_sources(self.layout.folder, extents)
        except FileNotFoundError:
            return None
        name = self.layout.blob_name(row.hash)
        whole = extents == [Extent(name, 0, row.size)]
        return ExtentReading(
            BlobRef(row.hash, row.size),
            extents,
            descriptors,
            self.layout.of(name) if whole else None,
            self.pool,
        )

    async def _stage_large(
        self,
        first: bytes | bytearray,
        rest: AsyncIterator[bytes],
        previous: BlobRef | None,
        size_hint: int | None,
        max_size: int | None,
    ) -> Staging:
        hold = Hold(self.pins)
        kept = False
        try:
            sink = await self._sink(previous, size_hint, hold)
            try:
                intake = Intake(self.pool, self._budget, sink, max_size, self.layout.check_room)
                await intake.pump(first, rest)
                staging = await in_worker(
                    self.pool, lambda: self._settle(sink, intake.size, hold), undo=Staging.release
                )
                kept = True
                return staging
            finally:
                await in_worker(self.pool, sink.abort)
        finally:
            if not kept:
                hold.release()

    async def _sink(self, previous: BlobRef | None, size_hint: int | None, hold: Hold) -> Sink:
        """As differences, where that pays: both large, and the earlier one readable."""
        announced = self._large if size_hint is None else size_hint
        if previous is not None and min(previous.size, announced) >= self._large:
            earlier = await in_worker(self.pool, lambda: self._earlier(previous, hold))
            if earlier is not None:
                return DifferenceSink(self.layout, self.packs, earlier, hold, self._recent)
        return await in_worker(self.pool, lambda: WholeSink(self.layout), undo=WholeSink.abort)

    def _earlier(self, previous: BlobRef, hold: Hold) -> Earlier | None:
        """The version before, its sources held; None: it is not to be had, or small."""
        try:
            reading = self.open_now(previous)
        except (NotFound, Damaged):
            return None
        if isinstance(reading, InlineReading):
            return None
        try:
            hold.keep(extent.source for extent in reading.extents)
            with self.database.read() as db:
                row = ledger.find(db, previous.hash)
                if row is None or ledger.extents(db, row.id) != reading.extents:
                    return None
            chunks, target = chunks_of(reading, self._recent)
        except Damaged:
            return None
        finally:
            reading.close()
        return Earlier(reading.extents, chunks, target)

    def _settle(self, sink: Sink, size: int, hold: Hold) -> Staging:
        """Durable, unless the bytes are here already; held first, looked at then."""
        digest = sink.digest()
        hold.keep((digest, self.layout.blob_name(digest)))
        with self.database.read() as db:
            known = ledger.find(db, digest)
        if known is not None and not known.bad:
            return Staging(digest, size, hold=hold)
        extents = sink.settle()
        return Staging(digest, size, extents=extents, hold=hold, strays=self.strays)


async def _file_pieces(pool: ThreadPoolExecutor, path: Path) -> AsyncIterator[bytes]:
    with path.open("rb", 0) as file:
        while piece := await in_worker(pool, lambda: file.read(BATCH)):
            yield piece


async def _once(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), BATCH):
        yield body[start : start + BATCH]


async def _beginning(body: AsyncIterator[bytes]) -> bytes | bytearray:
    """The first pieces, until there are too many for the database, or all."""
    first = b""
    async for piece in body:
        first = first + piece if first else piece
        if len(first) > INLINE_MAX:
            break
    return first


def _inline(digest: str, data: bytes, *, bad: bool) -> InlineReading:
    if not bad and blake3.blake3(data).hexdigest() != digest:
        raise Damaged("These bytes changed in the server's database.", hash=digest)
    return InlineReading(BlobRef(digest, len(data)), data)
