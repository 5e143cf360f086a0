"""What instances leave on the disk: their logs, and how long those stay. All of it blocks.

Of instances that ended in order the logs of the last few are kept; of those that failed, for a time
and up to a number of bytes, so that somebody can see why and the disk does not fill up.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from downstage.spawners.plan import Report, read_json

__all__ = ["LOGS", "Keep", "KeptElsewhere", "KeptLog", "kept_logs", "prune", "read_kept"]

LOGS = ("app.log", "hooks.log", "streamer.log", "keeper.log")
"""What an instance may have written, the most telling first."""
KEPT_FOLDERS = 20
UNBORN_S = 3600.0
"""A folder without a report is of an instance that is about to start, or never will."""
FAILED = frozenset(
    [
        "display-died",
        "display-failed",
        "disk-limit",
        "hook-failed",
        "lost",
        "never-drew",
        "not-adopted",
        "out-of-memory",
        "start-failed",
        "streamer-died",
        "streamer-failed",
    ]
)
"""Reasons that are nobody's wish; an application that exits with another code than 0 failed too."""


@dataclass(frozen=True, slots=True)
class KeptLog:
    """One log, its older half included."""

    name: str
    size: int
    modified: float
    """Seconds since 1970."""


@runtime_checkable
class KeptElsewhere(Protocol):
    """Logs that are not on this machine, or not for us to open."""

    async def kept(self, instance_id: str) -> list[KeptLog]:
        """The logs that are left of an instance, ended or not."""
        ...

    async def read(self, instance_id: str, name: str, most: int) -> bytes | None:
        """The last *most* bytes of one of them; None: there is no such log."""
        ...


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of failed instances stays."""

    seconds: float = 86400.0
    bytes: int = 1 << 30


def kept_logs(folder: Path) -> list[KeptLog]:
    """The logs in an instance's folder; none where it is gone."""
    found = list[KeptLog]()
    for name in LOGS:
        parts = _parts(folder, name)
        if parts:
            size = sum(part.stat().st_size for part in parts)
            found.append(KeptLog(name, size, parts[-1].stat().st_mtime))
    return found


def read_kept(folder: Path, name: str, most: int) -> bytes | None:
    """The last *most* bytes of a log, from the begin of a line; None: there is no such log."""
    if name not in LOGS:
        return None
    parts = _parts(folder, name)
    if not parts:
        return None
    text, left = b"", most
    for part in reversed(parts):
        with part.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - left))
            text = file.read(left) + text
            if size > left:
                return text.partition(b"\n")[2]
            left -= size
    return text


def _parts(folder: Path, name: str) -> list[Path]:
    """Older half and present file, those that are there."""
    pair = (folder / f"{name}.1", folder / name)
    return [path for path in pair if path.is_file() and not path.is_symlink()]


def prune(runs: Path, keep: Keep, now: float) -> None:
    """Remove what instances left that ended: see the module."""
    ended = [path for path in runs.iterdir() if _has_ended(path, now)]
    ended.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    failed = [path for path in ended if _has_failed(path)]
    orderly = [path for path in ended if path not in failed]
    for path in [*orderly[KEPT_FOLDERS:], *_too_many(failed, keep, now)]:
        shutil.rmtree(path, ignore_errors=True)


def _has_ended(folder: Path, now: float) -> bool:
    if (folder / "keeper.sock").exists():
        return False
    # The report comes after the socket: many may be starting at once, and have neither.
    return (folder / "report.json").exists() or now - folder.stat().st_mtime > UNBORN_S


def _too_many(failed: Sequence[Path], keep: Keep, now: float) -> list[Path]:
    """Those of *failed*, newest first, that are too old or no longer fit."""
    found, size = list[Path](), 0
    for path in failed:
        size += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if size > keep.bytes or now - path.stat().st_mtime > keep.seconds:
            found.append(path)
    return found


def _has_failed(folder: Path) -> bool:
    try:
        report = read_json(folder / "report.json", Report)
    except (OSError, ValueError):
        return False
    return report.reason in FAILED or report.exit_code not in (None, 0)
