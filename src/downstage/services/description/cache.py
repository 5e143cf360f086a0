"""Descriptions on disk, for programs that live shortly: one file for each service and caller."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MAX_FILES", "Kept", "Shelf", "default_folder", "key_of"]

MAX_FILES = 256
MAX_FILE = 9 * 1024 * 1024
NEUTRAL = frozenset(
    {"accept", "traceparent", "tracestate", "user-agent", "x-request-id", "x-request-timeout-ms"}
)
"""Headers that say nothing about who asks. Any other may be a credential."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A document as it came, and how to ask whether it still holds."""

    etag: str
    body: bytes


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/downstage/openapi``; by default below ``~/.cache``."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(named) if Path(named).is_absolute() else Path("~/.cache").expanduser()
    return root / "downstage" / "openapi"


def key_of(base: str, headers: Mapping[str, str]) -> str:
    """Names the entry of the service at *base* for the caller with *headers*; tells neither."""
    who = sorted((k.lower(), v) for k, v in headers.items() if k.lower() not in NEUTRAL)
    return hashlib.sha256(json.dumps([base.rstrip("/"), who]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Shelf:
    """The place of one entry. A cache that fails is no cache: nothing here raises."""

    folder: Path
    key: str

    @property
    def path(self) -> Path:
        """The entry's file: a line with the ETag and a digest, then the document as it came."""
        return self.folder / f"{self.key}.json"

    def read(self) -> Kept | None:
        """What is kept; None where it is missing, damaged, or another user's."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                about = os.fstat(descriptor)
                is_ours = about.st_uid == os.geteuid() and not about.st_mode & 0o022
                if not is_ours or not stat.S_ISREG(about.st_mode) or about.st_size > MAX_FILE:
                    return None
                head = json.loads(file.readline(1024))
                body = file.read()
            if hashlib.sha256(body).hexdigest() != head["sha256"]:
                return None
            return Kept(str(head["etag"]), body)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def write(self, kept: Kept) -> None:
        """Keep *kept*, in one step; the oldest entries beyond `MAX_FILES` go."""
        head = {"etag": kept.etag, "sha256": hashlib.sha256(kept.body).hexdigest()}
        line = json.dumps(head).encode()
        if len(line) > 1000:  # noqa: PLR2004 - no ETag that we would send
            return
        with contextlib.suppress(OSError, RuntimeError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")  # mode 0600
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(line + b"\n" + kept.body)
                Path(name).replace(self.path)
            except OSError:
                Path(name).unlink(missing_ok=True)
            self._prune()

    def _prune(self) -> None:
        found = [entry for entry in os.scandir(self.folder) if entry.is_file(follow_symlinks=False)]
        if len(found) > MAX_FILES:
            found.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime_ns)
            for entry in found[:-MAX_FILES]:
                Path(entry.path).unlink(missing_ok=True)
