"""Uploads that survive: a lost connection, a restart, parts in any order.

An upload belongs to one person and one path. What has arrived is on disk before it is
acknowledged; `finish` gives the bytes staged, for the tree to commit::

    upload = await uploads.create(caller, "/a.usd", size=n)
    await uploads.append(caller, upload.id, upload.offset, body)     # again and again
    async with uploads.finished(caller, upload.id) as staged:
        await content.write(caller, upload.path, staged)
"""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

import anyio

from downstage.content import upload_rows as rows
from downstage.content.blobs.intake import in_worker
from downstage.content.blobs.protocol import BlobRef
from downstage.content.blobs.staging import Staging
from downstage.content.blobs.store import DiskBlobs
from downstage.content.model import Caller
from downstage.content.upload_files import UploadFiles
from downstage.content.upload_rows import Part, Shape, Upload
from downstage.content.upload_senders import Senders
from downstage.kernel.chaos import point
from downstage.kernel.errors import Conflict, InvalidField, NotFound, QuotaReached, TooMany
from downstage.kernel.logging import get_logger

__all__ = ["LIFE_S", "MOST", "MOST_PARTS", "Gate", "Part", "Upload", "Uploads"]

log = get_logger(__name__)

LIFE_S = 24 * 3600
"""Seconds after the last byte that an upload is kept; the collector's grace is longer."""
MOST = 256
"""Uploads of one person at a time."""
MOST_PARTS = 10_000
"""Numbers of parts, as S3 counts them."""


class Gate(Protocol):
    """What the tree says about an upload before it begins."""

    async def check_upload(self, caller: Caller, path: str, size: int | None) -> None:
        """Raise what writing *size* bytes to *path* would raise now: rights, locks, quota."""
        ...

    async def spare(self, caller: Caller, path: str) -> int | None:
        """Bytes that a file at *path* may have as things stand; None: no bound."""
        ...


class Uploads:
    """All uploads in progress.

    Args:
        store: takes the bytes in the end.
        gate: of the tree.
        now_s: seconds since the epoch.
        life_s: seconds without a byte after which an upload is dropped.
        most: uploads of one person at a time.
    """

    def __init__(
        self,
        store: DiskBlobs,
        gate: Gate,
        now_s: Callable[[], int],
        *,
        life_s: int = LIFE_S,
        most: int = MOST,
    ) -> None:
        self._store = store
        self._files = UploadFiles(store)
        self._gate = gate
        self._now_s = now_s
        self._life_s = life_s
        self._most = most
        self._senders = Senders()
        self._writers = Counter[str]()
        self._finishing = set[str]()

    async def create(
        self,
        caller: Caller,
        path: str,
        *,
        size: int | None = None,
        shape: Shape = "range",
        message: str = "",
    ) -> Upload:
        """Begin one.

        Args:
            caller: whose it is; only they may go on with it.
            path: where it will be written.
            size: bytes announced.
            shape: ``range``: bytes by offset; ``parts``: numbered parts.
            message: of the checkpoint to be.

        Raises:
            TooMany: this person has too many in progress.
            OutOfSpace: it cannot fit.
        """
        await self._gate.check_upload(caller, path, size)
        self._store.layout.check_room(size or 0)
        now = self._now_s()
        upload = Upload(
            secrets.token_urlsafe(24), caller.tenant, caller.subject, path, shape, size, message,
            now, now,
        )  # fmt: skip

        def insert(db: sqlite3.Connection) -> bool:
            if len(rows.owned(db, caller.tenant, caller.subject)) >= self._most:
                return False
            rows.insert(db, upload)
            return True

        if not await self._store.database.write(insert):
            raise TooMany("Finish or abort uploads first.", most=self._most)
        return upload

    async def head(self, caller: Caller, upload_id: str, *, path: str | None = None) -> Upload:
        """An upload and what has arrived.

        Args:
            caller: who began it.
            upload_id: its id.
            path: where it is meant for, if the dialect says that again.

        Raises:
            NotFound: no such upload, or another's, or for another path.
        """

        def read() -> Upload | None:
            with self._store.database.read() as db:
                return rows.find(db, upload_id)

        upload = await in_worker(self._store.pool, read)
        mine = upload is not None and (upload.tenant, upload.subject) == (
            caller.tenant,
            caller.subject,
        )
        if upload is None or not mine or path not in (None, upload.path):
            raise NotFound("There is no such upload.")
        return upload

    async def at_rest(self, caller: Caller, upload_id: str) -> Upload:
        """The same, once all that arrived is counted: where to go on. Who still sends is cut off.

        Raises:
            NotFound: no such upload, or another's.
        """
        await self.head(caller, upload_id)
        await self._senders.at_rest(upload_id)
        return await self.head(caller, upload_id)

    async def mine(self, caller: Caller) -> list[Upload]:
        """Those of a person, oldest first; without what has arrived."""
        return await self._owned(caller)

    async def append(
        self,
        caller: Caller,
        upload_id: str,
        offset: int,
        body: AsyncIterator[bytes],
        *,
        idle_s: float | None = None,
    ) -> Upload:
        """The next bytes in order. Who still sends an earlier part of them is cut off.

        Whatever arrived before a failure counts: ask `at_rest` for the offset to go on from.

        Raises:
            Conflict: not the offset that comes next, which the error tells; or a later sender
                took over.
            TooLarge: more than was announced.
        """
        await self.head(caller, upload_id)
        async with self._senders.taking_over(upload_id) as sender:
            upload = await self.head(caller, upload_id)
            if offset != upload.offset:
                raise Conflict("That is not where to go on.", offset=upload.offset)
            with sender.scope:
                await self._write(caller, upload, offset, body, idle_s)
            if sender.scope.cancelled_caught:
                raise Conflict("Another request goes on with this upload.")
        return await self.head(caller, upload_id)

    async def put_range(
        self,
        caller: Caller,
        upload_id: str,
        start: int,
        body: AsyncIterator[bytes],
        *,
        idle_s: float | None = None,
    ) -> Upload:
        """Bytes anywhere, in any order, several at a time.

        Raises:
            Conflict: it is being finished.
            TooLarge: beyond what was announced.
        """
        upload = await self.head(caller, upload_id)
        await self._write(caller, upload, start, body, idle_s)
        return await self.head(caller, upload_id)

    async def put_part(
        self,
        caller: Caller,
        upload_id: str,
        number: int,
        body: AsyncIterator[bytes],
        *,
        max_size: int | None = None,
        idle_s: float | None = None,
    ) -> Part:
        """A numbered part, whole or not at all; again replaces it.

        Raises:
            InvalidField: the number is not 1 … 10000.
        """
        if not 1 <= number <= MOST_PARTS:
            raise InvalidField("part", f"Parts are numbered 1 to {MOST_PARTS}.")
        upload = await self.head(caller, upload_id)
        rows.check_shape(upload, "parts")
        before = sum(part.size for part in upload.parts if part.n == number)
        room = await self._room(caller, upload, before)
        if room is not None:
            max_size = room if max_size is None else min(max_size, room)
        with self._writing(upload):
            part = await self._files.write_part(
                upload.id, number, body, max_size=max_size, idle_s=idle_s
            )
            await self._record(upload, lambda db: rows.add_part(db, upload.id, part, self._now_s()))
        return part

    async def abort(self, caller: Caller, upload_id: str) -> None:
        """Drop it with all that has arrived; who still sends is cut off.

        Raises:
            NotFound: no such upload, or another's.
        """
        upload = await self.head(caller, upload_id)
        self._senders.cut_off(upload.id)
        await self._drop([upload.id])

    @asynccontextmanager
    async def finished(
        self,
        caller: Caller,
        upload_id: str,
        *,
        parts: Sequence[tuple[int, str]] | None = None,
        previous: BlobRef | None = None,
    ) -> AsyncGenerator[Staging]:
        """All of it, staged, to be written inside the block; then the upload is over.

        If the block raises, the upload stays and can be finished again.

        Args:
            caller: who began it.
            upload_id: its id.
            parts: number and etag of those to take, ascending; None: all, without a gap.
            previous: see `BlobStore.stage`.

        Raises:
            Conflict: bytes are missing; ``offset`` says where. Or it is being finished.
            InvalidField: *parts* names one that is not there.
        """
        upload = await self.head(caller, upload_id)
        if upload.id in self._finishing or self._writers[upload.id]:
            raise Conflict("Bytes of this upload are still coming in.")
        self._finishing.add(upload.id)
        try:
            staged = await self._staged(upload, parts, previous)
            try:
                yield staged
            finally:
                staged.release()
            point("content.upload.committed")
            await self._drop([upload.id])
        finally:
            self._finishing.discard(upload.id)

    async def expire(self) -> int:
        """Drop those that nothing comes for; how many."""
        before = self._now_s() - self._life_s

        def read() -> list[str]:
            with self._store.database.read() as db:
                return rows.stale(db, before)

        busy = self._finishing | {name for name, count in self._writers.items() if count}
        stale = [name for name in await in_worker(self._store.pool, read) if name not in busy]
        if stale:
            await self._drop(stale)
            log.info("content.uploads_expired", uploads=len(stale))
        return len(stale)

    async def start(self) -> None:
        """Remove files of uploads that are no more; before any other call."""
        await self._files.sweep()

    async def _owned(self, caller: Caller) -> list[Upload]:
        def read() -> list[Upload]:
            with self._store.database.read() as db:
                return rows.owned(db, caller.tenant, caller.subject)

        return await in_worker(self._store.pool, read)

    async def _room(self, caller: Caller, upload: Upload, before: int = 0) -> int | None:
        """Bytes that may come: what a person's uploads hold counts like files; None: any.

        *before*: bytes in whose place they come.

        Raises:
            QuotaReached: none.
        """
        spare = await self._gate.spare(caller, upload.path)
        if spare is None:
            return None

        def read() -> int:
            with self._store.database.read() as db:
                return rows.received(db, caller.tenant, caller.subject)

        room = spare + before - await in_worker(self._store.pool, read)
        if room <= 0 and upload.size != 0:
            raise QuotaReached("Your uploads hold all that may come there.", bytes=spare)
        return max(0, room)

    async def _write(
        self,
        caller: Caller,
        upload: Upload,
        start: int,
        body: AsyncIterator[bytes],
        idle_s: float | None,
    ) -> None:
        """What arrives is on disk and in the rows, also if the rest never comes."""
        rows.check_shape(upload, "range")
        room = None if upload.size is None else upload.size - start
        if start < 0 or (room is not None and room < 0):
            raise InvalidField("offset", "That offset is outside of the upload.")
        if room != 0:
            most = await self._room(caller, upload)
            room = most if room is None else room if most is None else min(room, most)
        with self._writing(upload):
            sink = self._files.range(upload.id, start)
            try:
                async with sink:
                    await self._store.take(
                        body, sink, max_size=room, idle_s=idle_s, keep_partial=True
                    )
            finally:
                size = sink.durable - start
                with anyio.CancelScope(shield=True):
                    await self._record(
                        upload,
                        lambda db: rows.add_range(db, upload.id, start, size, self._now_s()),
                    )

    async def _record(self, upload: Upload, job: Callable[[sqlite3.Connection], bool]) -> None:
        if not await self._store.database.write(job):
            await self._files.remove({upload.id})  # it was made anew after the upload was dropped
            raise NotFound("There is no such upload.")

    @contextmanager
    def _writing(self, upload: Upload) -> Generator[None]:
        if upload.id in self._finishing:
            raise Conflict("This upload is being finished.")
        self._writers[upload.id] += 1
        try:
            yield
        finally:
            self._writers[upload.id] -= 1
            if not self._writers[upload.id]:
                del self._writers[upload.id]

    async def _staged(
        self,
        upload: Upload,
        parts: Sequence[tuple[int, str]] | None,
        previous: BlobRef | None,
    ) -> Staging:
        if upload.shape == "range":
            rows.check_complete(upload)
            if not upload.parts:
                return await self._store.stage(b"")
            return await self._store.stage_file(self._files.whole(upload.id), previous=previous)
        numbers = rows.chosen(upload, parts)
        size = sum(part.size for part in upload.parts if part.n in numbers)
        body = self._files.joined(upload.id, numbers)
        return await self._store.stage(body, previous=previous, size_hint=size)

    async def _drop(self, upload_ids: Sequence[str]) -> None:
        await self._store.database.write(lambda db: rows.delete(db, upload_ids))
        point("content.upload.forgotten")
        await self._files.remove(frozenset(upload_ids))
