"""What is known of uploads that did not end: small files in the cache's folder, one an upload."""

from __future__ import annotations

import os
import time
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex

import msgspec

__all__ = ["Note", "UploadNotes"]

KEPT_S = 7 * 24 * 3600
"""Seconds after which a note is thrown away; servers forget sooner."""
MAX_NOTE = 64 * 1024


class Note(msgspec.Struct, frozen=True):
    """An upload, and the file that it sends as it was when it began."""

    url: str
    """Of the upload at the server."""
    target: str
    path: str
    size: int
    mtime_ns: int
    inode: int
    message: str = ""

    def is_of(self, seen: os.stat_result, message: str) -> bool:
        """Whether the file is still that one, and is meant in the same way."""
        now = (seen.st_size, seen.st_mtime_ns, seen.st_ino, message)
        return now == (self.size, self.mtime_ns, self.inode, self.message)


class UploadNotes:
    """Every call blocks for a moment; what cannot be noted only cannot be continued.

    Args:
        folder: private to the user; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, target: str, path: str) -> Note | None:
        """What is known of sending *path* to the address *target*."""
        try:
            with self._file(target, path).open("rb") as file:
                note = msgspec.json.decode(file.read(MAX_NOTE), type=Note)
        except (OSError, msgspec.DecodeError):
            return None
        return note if (note.target, note.path) == (target, path) else None

    def keep(self, note: Note) -> None:
        """Note it."""
        file = self._file(note.target, note.path)
        temporary = file.with_suffix(f".{token_hex(6)}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(msgspec.json.encode(note))
            temporary.replace(file)
            self._tidy()
        except OSError:
            temporary.unlink(missing_ok=True)

    def drop(self, target: str, path: str) -> None:
        """Forget it."""
        try:
            self._file(target, path).unlink(missing_ok=True)
        except OSError:
            return

    def _tidy(self) -> None:
        oldest = time.time() - KEPT_S
        for file in self._folder.glob("*.*"):
            try:
                if file.stat().st_mtime < oldest:
                    file.unlink()
            except OSError:
                continue

    def _file(self, target: str, path: str) -> Path:
        key = f"{target}\0{path}".encode(errors="surrogateescape")
        return self._folder / f"{blake2b(key, digest_size=16).hexdigest()}.json"
