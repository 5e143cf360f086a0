"""Files of packages: uploads as they come, versions as they lie.

::

    <root>/uploads/<random>              an archive on its way in
    <root>/applications/<id>/<number>/   a version, complete: it came here by one rename
    <root>/applications/<id>/.new-…      a version being unpacked
    <root>/addons/…                      the same

A version is there whole or not at all, whenever the machine stops; what has no row in the database
is removed at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from downstage.kernel.errors import InvalidField, OutOfSpace, TooLarge
from downstage.kernel.ids import new_secret
from downstage.manager.catalogue.archives import Package, inspect, unpack
from downstage.manager.catalogue.manifest import MAX_FILE
from downstage.manager.catalogue.members import Limits
from downstage.manager.catalogue.store import Kind

__all__ = ["Shelf", "Upload"]

DIGEST = re.compile(r"[0-9a-f]{64}")
FOLDERS = {"application": "applications", "addon": "addons"}
PIECE = 1 << 20
AT_ONCE = 2
"""Archives that are looked at or unpacked at the same time."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An archive that has arrived whole; somebody takes it, or it is discarded."""

    file: Path
    size: int
    digest: str
    """SHA-256, hexadecimal."""


class Shelf:
    """All files of the catalogue, below *root*.

    Args:
        root: its folder; others may not look into it.
        max_upload: bytes of an archive.
        limits: what an archive may unfold to.
    """

    def __init__(self, root: Path, *, max_upload: int, limits: Limits) -> None:
        self._root, self._max_upload, self._limits = root, max_upload, limits
        self._uploads = root / "uploads"
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def receive(self, pieces: AsyncIterable[bytes], digest: str | None) -> Upload:
        """Take an archive to the disk.

        Raises:
            InvalidField: *digest* is none, or another one; nothing is left.
            TooLarge: more than may come.
            OutOfSpace: the disk is full.
        """
        if digest is not None and not DIGEST.fullmatch(digest.lower()):
            raise InvalidField("digest", "A digest is SHA-256 in 64 hexadecimal digits.")
        file = self._uploads / new_secret()
        try:
            upload = await self._take(pieces, file)
            _check_digest(upload, digest)
        except OSError as error:
            await self._drop(file)
            raise OutOfSpace(f"The archive cannot be stored: {error.strerror}.") from error
        except BaseException:
            await self._drop(file)
            raise
        return upload

    async def _take(self, pieces: AsyncIterable[bytes], file: Path) -> Upload:
        self._uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
        sha, size, waiting = hashlib.sha256(), 0, bytearray()
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as written:

            def write() -> None:
                sha.update(waiting)
                written.write(waiting)
                waiting.clear()

            async for piece in pieces:
                size += len(piece)
                if size > self._max_upload:
                    raise TooLarge(
                        f"An archive has at most {self._max_upload} bytes.", limit=self._max_upload
                    )
                waiting += piece
                if len(waiting) >= PIECE:
                    await anyio.to_thread.run_sync(write)
            await anyio.to_thread.run_sync(write)
        return Upload(file, size, sha.hexdigest())

    async def discard(self, upload: Upload) -> None:
        """Remove an upload; safe to repeat."""
        await self._drop(upload.file)

    async def _drop(self, file: Path) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: file.unlink(missing_ok=True))

    async def inspect(self, upload: Upload, wanted: tuple[str, ...]) -> Package:
        """Look at an upload; see `archives.inspect`."""
        return await anyio.to_thread.run_sync(
            lambda: inspect(upload.file, wanted, self._limits, most_text=MAX_FILE),
            limiter=self._limiter,
        )

    def folder(self, kind: Kind, package_id: str, number: int) -> Path:
        """Where a version lies."""
        return self._root / FOLDERS[kind] / package_id / str(number)

    async def put(self, upload: Upload, top: str, kind: Kind, package_id: str, number: int) -> None:
        """Unpack *upload* as that version.

        Raises:
            InvalidField: it is not what it was when it was looked at.
            OSError: it cannot be written.
        """
        target = self.folder(kind, package_id, number)
        await anyio.to_thread.run_sync(
            lambda: self._put(upload.file, top, target), limiter=self._limiter
        )

    def _put(self, archive: Path, top: str, target: Path) -> None:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = target.with_name(f".new-{new_secret()}")
        try:
            unpack(archive, top, draft, self._limits)
            draft.rename(target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def has(self, kind: Kind, package_id: str, number: int) -> bool:
        """Whether that version lies there, which is whole then."""
        return self.folder(kind, package_id, number).is_dir()

    async def remove(self, kind: Kind, package_id: str, number: int) -> None:
        """Remove that version's files; absent is fine."""

        def remove() -> None:
            folder = self.folder(kind, package_id, number)
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()  # if it was the last

        await anyio.to_thread.run_sync(remove)

    async def sweep(self, known: Collection[tuple[Kind, str, int]]) -> None:
        """At the start: remove uploads, what was not unpacked whole, and versions not *known*."""
        await anyio.to_thread.run_sync(self._sweep, frozenset(known))

    def _sweep(self, known: frozenset[tuple[Kind, str, int]]) -> None:
        shutil.rmtree(self._uploads, ignore_errors=True)
        kinds: tuple[Kind, ...] = ("application", "addon")
        for kind in kinds:
            for package in _folders(self._root / FOLDERS[kind]):
                for version in _folders(package):
                    number = int(version.name) if version.name.isdecimal() else -1
                    if (kind, package.name, number) not in known:
                        shutil.rmtree(version, ignore_errors=True)
                with contextlib.suppress(OSError):
                    package.rmdir()  # if it is empty


def _check_digest(upload: Upload, said: str | None) -> None:
    if said is not None and upload.digest != said.lower():
        raise InvalidField(
            "digest", f"What came has the SHA-256 {upload.digest}, not {said.lower()}."
        )


def _folders(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from [path for path in folder.iterdir() if path.is_dir()]
