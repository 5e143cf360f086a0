"""Bodies that arrive in parts, in any order and at once, before a command commits them."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from downstage.content.dialects.nucleus.status import InvalidContentId, LengthMismatch
from downstage.content.model import Caller
from downstage.kernel.clock import Clock
from downstage.kernel.errors import InvalidField, OutOfSpace, TooLarge, TooMany
from downstage.kernel.logging import get_logger

__all__ = ["MAX_PART", "MAX_SIZE", "Spool", "Upload"]

MAX_PART = 24 * 1024 * 1024
"""Bytes of one part; clients send at most 20 MiB."""
MAX_SIZE = 1 << 40
MOST_UPLOADS = 32
"""Open uploads of one person; as many again as clients have in flight."""
MOST_GAPS = 1024
"""Stretches of one upload that do not touch yet: parts in flight, with room."""
EXPIRY_S = 3600.0
"""An upload that nothing was added to for so long is dropped."""
SWEEP_S = 60.0
STEP = 1024 * 1024
NO_SPACE = frozenset({28, 122})
"""ENOSPC and EDQUOT."""
log = get_logger(__name__)


@dataclass
class Upload:
    """One body on its way."""

    id: int
    path: str
    """Where it will be committed, and nowhere else."""
    owner: tuple[str, str]
    """Tenant and subject of who began it; nobody else may add or commit."""
    file: Path
    touched_at: float
    stretches: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """What has arrived: half-open, sorted, apart from each other."""
    writers: int = 0
    """Parts that are being written just now."""

    @property
    def size(self) -> int:
        """Bytes.

        Raises:
            LengthMismatch: parts are missing, or still arriving.
        """
        if self.writers:
            raise LengthMismatch("Parts of this upload are still arriving.")
        if len(self.stretches) != 1 or self.stretches[0][0] != 0:
            raise LengthMismatch("Parts of this upload are missing.")
        return self.stretches[0][1]

    def add(self, start: int, stop: int) -> None:
        """Note that *start* to *stop* has arrived; twice is as once."""
        joined = list[tuple[int, int]]()
        for low, high in sorted([*self.stretches, (start, stop)]):
            if joined and low <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
            else:
                joined.append((low, high))
        self.stretches = joined

    async def pieces(self) -> AsyncIterator[bytes]:
        """The whole body, in order."""
        async with await anyio.open_file(self.file, "rb") as file:
            while piece := await file.read(STEP):
                yield piece


class Spool:
    """Uploads in files of a folder of their own; a restart drops them.

    Args:
        folder: made if it is not there; what is in it is removed.
        clock: of the platform.
        check_room: refuses so many bytes more with `OutOfSpace`, where the rest of the server needs
            what is left of the disk; called in a thread.
    """

    def __init__(
        self, folder: Path, clock: Clock, check_room: Callable[[int], None] = lambda _: None
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._check_room = check_room
        self._uploads: dict[int, Upload] = {}
        self._is_ready = False

    def __len__(self) -> int:
        return len(self._uploads)

    async def mint(self, caller: Caller, path: str) -> Upload:
        """Begin an upload of *path*.

        Raises:
            TooMany: this person has too many open.
        """
        owner = (caller.tenant, caller.subject)
        if sum(upload.owner == owner for upload in self._uploads.values()) >= MOST_UPLOADS:
            raise TooMany("Too many uploads are open. Commit some, or wait.", retry_after_s=60)
        upload_id = secrets.randbits(53) + 1
        now = self._clock.monotonic()
        upload = Upload(upload_id, path, owner, self._folder / f"{upload_id}.part", now)
        self._uploads[upload_id] = upload
        try:
            await anyio.to_thread.run_sync(self._create, upload.file)
        except OSError as error:
            del self._uploads[upload_id]
            raise _space(error) from error
        return upload

    def find(self, caller: Caller, upload_id: int, path: str | None = None) -> Upload:
        """An upload of *caller*, for *path* where one is given.

        Raises:
            InvalidContentId: there is none such; which of it is wrong is not told.
        """
        upload = self._uploads.get(upload_id)
        is_theirs = upload is not None and upload.owner == (caller.tenant, caller.subject)
        if upload is None or not is_theirs or path not in (None, upload.path):
            raise InvalidContentId("There is no such upload.")
        return upload

    async def put(self, upload: Upload, start: int, body: AsyncIterator[bytes]) -> None:
        """Write one part.

        Raises:
            InvalidField: it begins outside of any file.
            TooLarge: it has more than `MAX_PART` bytes.
            LengthMismatch: too many parts that do not touch.
            OutOfSpace: the disk is full.
        """
        if not 0 <= start <= MAX_SIZE - MAX_PART:
            raise InvalidField("Content-Start", "Content-Start: an offset within a file.")
        if len(upload.stretches) >= MOST_GAPS:
            raise LengthMismatch("Too many parts of this upload are apart from each other.")
        upload.writers += 1
        try:
            stop = await self._write(upload.file, start, body)
        except OSError as error:
            raise _space(error) from error
        finally:
            upload.writers -= 1
        upload.add(start, stop)
        upload.touched_at = self._clock.monotonic()

    async def drop(self, upload: Upload) -> None:
        """Forget *upload* and its bytes."""
        self._uploads.pop(upload.id, None)
        await anyio.to_thread.run_sync(lambda: upload.file.unlink(missing_ok=True))

    async def run(self) -> None:
        """Drop what has expired, until cancelled."""
        while True:
            await anyio.sleep(SWEEP_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Drop uploads that nothing was added to for `EXPIRY_S` seconds."""
        oldest = self._clock.monotonic() - EXPIRY_S
        stale = [u for u in self._uploads.values() if u.touched_at < oldest and not u.writers]
        for upload in stale:
            await self.drop(upload)
        if stale:
            log.info("uploads.expired", number=len(stale))

    def _create(self, file: Path) -> None:
        if not self._is_ready:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(mode=0o700, parents=True)
            self._is_ready = True
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    async def _write(self, file: Path, start: int, body: AsyncIterator[bytes]) -> int:
        descriptor = await anyio.to_thread.run_sync(os.open, file, os.O_WRONLY)
        try:
            end = start
            waiting = bytearray()
            async for piece in body:
                waiting += piece
                if end + len(waiting) - start > MAX_PART:
                    raise TooLarge(f"A part has at most {MAX_PART} bytes.")
                if len(waiting) >= STEP:
                    end += await self._write_all(descriptor, waiting, end)
                    waiting = bytearray()
            return end + await self._write_all(descriptor, waiting, end)
        finally:
            os.close(descriptor)

    async def _write_all(self, descriptor: int, data: bytearray, offset: int) -> int:
        def write() -> int:
            self._check_room(len(data))
            done = 0
            with memoryview(data) as view:
                while done < len(view):
                    done += os.pwrite(descriptor, view[done:], offset + done)
            return done

        return await anyio.to_thread.run_sync(write)


def _space(error: OSError) -> Exception:
    if error.errno in NO_SPACE:
        return OutOfSpace("The disk is full; nothing was written.")
    return error
