"""Looking at every stored byte from time to time, slowly, so that damage is found before use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import blake3

from downstage.content.blobs import ledger
from downstage.content.blobs.intake import in_worker
from downstage.content.blobs.protocol import BlobRef
from downstage.content.blobs.reading import PIECE
from downstage.content.blobs.store import DiskBlobs
from downstage.kernel.errors import Damaged, NotFound
from downstage.kernel.logging import get_logger

__all__ = ["RATE", "Scrub"]

log = get_logger(__name__)

RATE = 32 * 1024 * 1024
"""Bytes a second: a terabyte in nine hours, unnoticed by those who work."""
BATCH = 100
LISTED = 1000


@dataclass(frozen=True, slots=True)
class _Next:
    id: int
    ref: BlobRef
    bad: bool


class Scrub:
    """Verifies all contents, one behind the other; damaged ones are refused from then on.

    Where it stands is remembered, so that restarts do not keep it from ever reaching the end.

    Args:
        store: whose.
        rate: bytes a second; 0: as fast as it goes.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        store: DiskBlobs,
        *,
        rate: int = RATE,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._store = store
        self.rate = rate
        self._sleep = sleep
        self.checked = 0
        """Contents looked at since the start."""
        self.checked_bytes = 0
        self.rounds = 0
        """Times that all were looked at."""

    async def run_once(self) -> int:
        """Go on to the end of everything; how many contents are known to be damaged."""
        last = await in_worker(self._store.pool, self._where)
        while batch := await in_worker(self._store.pool, lambda: self._batch(last)):  # noqa: B023
            for item in batch:
                await self._check(item)
                last = item.id
            await self._remember(last)
        await self._remember(0)
        self.rounds += 1
        return len(await self.damaged())

    async def size(self) -> int:
        """Bytes of all contents."""

        def read() -> int:
            with self._store.database.read() as db:
                return db.execute("SELECT coalesce(sum(size), 0) FROM blob").fetchone()[0]

        return await in_worker(self._store.pool, read)

    async def damaged(self) -> list[BlobRef]:
        """The contents known to be damaged; at most 1000."""
        return await in_worker(self._store.pool, self._bad)

    def _where(self) -> int:
        with self._store.database.read() as db:
            row = db.execute("SELECT last FROM scrub").fetchone()
        return 0 if row is None else row[0]

    async def _remember(self, last: int) -> None:
        await self._store.database.write(
            lambda db: db.execute("INSERT OR REPLACE INTO scrub (id, last) VALUES (0, ?)", (last,))
        )

    def _bad(self) -> list[BlobRef]:
        with self._store.database.read() as db:
            rows = db.execute("SELECT hash, size FROM blob WHERE bad = 1 LIMIT ?", (LISTED,))
            return [BlobRef(*row) for row in rows]

    def _batch(self, after: int) -> list[_Next]:
        query = "SELECT id, hash, size, bad FROM blob WHERE id > ? ORDER BY id LIMIT ?"
        with self._store.database.read() as db:
            rows = db.execute(query, (after, BATCH)).fetchall()
        return [_Next(row[0], BlobRef(row[1], row[2]), bool(row[3])) for row in rows]

    async def _check(self, item: _Next) -> None:
        try:
            right = await self._is_right(item.ref)
        except NotFound:
            return  # collected meanwhile
        self.checked += 1
        if right == item.bad:
            bad = not right
            await self._store.database.write(lambda db: ledger.mark_bad(db, item.ref.hash, bad=bad))
        if not right:
            log.error("content.blob_damaged", hash=item.ref.hash, bytes=item.ref.size)

    async def _is_right(self, ref: BlobRef) -> bool:
        digest = blake3.blake3()
        try:
            reading = await in_worker(self._store.pool, lambda: self._store.open_now(ref, bad=True))
        except Damaged:
            return False
        async with reading:
            for start in range(0, ref.size, PIECE):
                size = min(PIECE, ref.size - start)
                try:
                    piece = await in_worker(self._store.pool, lambda: reading.read_at(start, size))  # noqa: B023
                except Damaged:
                    return False
                digest.update(piece)
                await self._pause(size)
        return digest.hexdigest() == ref.hash

    async def _pause(self, size: int) -> None:
        self.checked_bytes += size
        if self.rate:
            await self._sleep(size / self.rate)
