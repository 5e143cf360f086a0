"""Fetching a large file to this machine so that an interruption costs only what was on its way.

The bytes gather in a hidden file beside the target, whose name says of which version they are; it
becomes the target at once and whole when all of them are there and right.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat as modes
from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from downstage.client.logs import log
from downstage.client.places import Place
from downstage.client.providers.disk import (
    PART,
    hidden_name,
    keep_mode,
    os_errors,
    target_of,
)
from downstage.client.providers.hops import in_thread
from downstage.client.providers.provider import Progress, Provider
from downstage.client.types import ListEntry, LogLevel
from downstage.kernel import errors

__all__ = ["CONTINUED", "fetch_file"]

CONTINUED = 8 * 1024 * 1024
"""Bytes from which a file is fetched so that it can be continued."""
TRIES = 5
"""Interruptions without progress that one call survives."""
PIECE = 4 * 1024 * 1024
DIGEST = 16


async def fetch_file(
    provider: Provider, source: Place, entry: ListEntry, path: str, progress: Progress
) -> None:
    """Bring the file *source* of *provider* to *path*, whatever is there now.

    Args:
        provider: of the source.
        source: the file.
        entry: what it is just now.
        path: on this machine.
        progress: told how far it is.

    Raises:
        Conflict: another program fetches it just now.
        Upstream: what arrived is not what the server has.
    """
    part = await asyncio.to_thread(_part_of, source, entry, path)
    with _opened(part) as handle:
        download = _Download(provider, source, entry, handle, progress)
        if await download.run():
            await asyncio.to_thread(_finish, part, handle, path)
            return
        await asyncio.to_thread(part.unlink, missing_ok=True)
    raise errors.Upstream("What arrived is not what the server has; try again.")


class _Download:
    def __init__(
        self, provider: Provider, source: Place, entry: ListEntry, handle: int, progress: Progress
    ) -> None:
        self._provider = provider
        self._source = source
        self._entry = entry
        self._handle = handle
        self._progress = progress
        self._done = os.fstat(handle).st_size

    async def run(self) -> bool:
        """Fetch what is missing; whether all that is there now is right."""
        size, tries = self._entry.size, 0
        if self._done > size:
            self._restart()
        while self._done < size:
            before = self._done
            try:
                await self._some()
            except errors.VersionMismatch:
                if not before:
                    raise
                self._restart()
            except errors.Unavailable as error:
                tries = 0 if self._done > before else tries + 1
                if tries >= TRIES:
                    raise
                log(LogLevel.INFO, "client.read_interrupted", offset=self._done, why=error.detail)
                await asyncio.sleep(min(2.0, 0.1 * 2**tries))
        return await asyncio.to_thread(self._is_right)

    async def _some(self) -> None:
        provider, source = self._provider, self._source
        opened = (
            provider.rest(source, self._done, self._entry)
            if self._done
            else provider.incoming(source)
        )
        self._progress(self._done, self._entry.size)
        async with opened as incoming:
            async for piece in incoming.pieces:
                if self._done + len(piece) > self._entry.size:
                    raise errors.Upstream("The server sent more than the file has.")
                await in_thread(lambda piece=piece: self._write(piece))
                self._progress(self._done, self._entry.size)
        if self._done < self._entry.size:
            raise errors.Unavailable("The answer was cut short.")

    def _write(self, piece: bytes | memoryview) -> None:
        view = memoryview(piece).cast("B")
        with os_errors():
            while view:
                count = os.pwrite(self._handle, view, self._done)
                self._done += count
                view = view[count:]

    def _restart(self) -> None:
        os.ftruncate(self._handle, 0)
        self._done = 0

    def _is_right(self) -> bool:
        if not self._entry.hash:
            return True
        from blake3 import blake3

        hasher, done = blake3(max_threads=blake3.AUTO), 0
        while piece := os.pread(self._handle, PIECE, done):
            hasher.update(piece)
            done += len(piece)
        return hasher.hexdigest() == self._entry.hash


def _part_of(source: Place, entry: ListEntry, path: str) -> Path:
    """The hidden file; others of the same target, of versions that are past, are removed."""
    with os_errors():
        target = Path(target_of(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        version = entry.hash or entry.version or ""
        facts = f"{source.url}\0{source.query}\0{version}\0{entry.size}"
        digest = blake2b(facts.encode(errors="surrogateescape"), digest_size=8).hexdigest()
        part = target.with_name(hidden_name(target.name, digest))
        stem, end = part.name.removesuffix(digest + PART), PART
        for name in os.listdir(target.parent):  # noqa: PTH208 - names, of which few are ours
            between = name.removeprefix(stem).removesuffix(end)
            if name == f"{stem}{between}{end}" and len(between) == DIGEST and name != part.name:
                _remove_free(target.with_name(name))
        return part


def _remove_free(part: Path) -> None:
    """Remove it unless somebody writes to it."""
    try:
        handle = os.open(part, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()
    except OSError:
        return
    finally:
        os.close(handle)


@contextmanager
def _opened(part: Path) -> Generator[int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with os_errors():
        handle = os.open(part, flags, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = part.stat().st_ino == os.fstat(handle).st_ino
        except OSError:
            is_ours = False
        if not is_ours:
            raise errors.Conflict("Another program fetches this file just now.")
        if not _is_private(os.fstat(handle)):
            raise errors.Forbidden(f"{part.name} was left there by somebody else.")
        yield handle
    finally:
        os.close(handle)


def _is_private(found: os.stat_result) -> bool:
    """Whether nobody else could keep it open, and it is no other name of some file."""
    return modes.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1


def _finish(part: Path, handle: int, path: str) -> None:
    with os_errors():
        target = target_of(path)
        keep_mode(handle, target)
        part.replace(target)
