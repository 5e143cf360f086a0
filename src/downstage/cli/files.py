"""``downstage logs``, ``backup`` and ``restore``: what lies in the data folder."""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import anyio
from rich.console import Console
from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

from downstage.cli.engine_logs import copy_engine_logs, is_in_log
from downstage.cli.facts import find_platform
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.services.facilities.sqlite import copy_database

__all__ = ["make_backup", "restore_backup", "show_log"]

KEPT_ASIDE = "before-restore"
SKIPPED = frozenset({"run", "log", "monitoring"})
"""Folders that mean nothing in another place: sockets, processes, logs."""
UNFINISHED = ("content", "tmp")
MAX_MEMBER = 16 * 1024**3


async def show_log(settings: Settings, *, lines: int, follow: bool) -> None:
    """Print the last *lines* of the log, and what comes after where *follow*."""
    path = settings.platform.data.absolute() / "log" / "platform.log"
    if not path.exists():
        raise SetupError(f"There is no log at {path}. Has a platform run on this folder?")
    text = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in text[-lines:]:
        print(line)
    if not follow:
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        file.seek(0, os.SEEK_END)
        async for _ in awatch(path):
            print(await anyio.to_thread.run_sync(file.read), end="", flush=True)


def make_backup(settings: Settings, target: Path) -> None:
    """Write a consistent copy of databases, keys and settings to *target*.

    Raises:
        SetupError: nothing to back up, or the target exists.
    """
    data = settings.platform.data.absolute()
    if not (data / "identity.db").exists():
        raise SetupError(f"There is nothing to back up in {data}.")
    if target.exists():
        raise SetupError(f"{target} exists; name another file.")
    with tempfile.TemporaryDirectory(prefix="downstage-backup-") as scratch:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
            # Databases first: every file that they name is there by then, and stays for a while.
            for path in sorted(data.rglob("*.db")):
                _add(archive, data, path, Path(scratch))
            for path in sorted(data.rglob("*")):
                if path.suffix != ".db" and not is_in_log(path):
                    _add(archive, data, path, Path(scratch))
            for copy, name in copy_engine_logs(data, Path(scratch)):
                archive.add(copy, arcname=str(name))
    Console().print(
        f"Wrote {target} ({target.stat().st_size:,} bytes). It holds keys: keep it safe."
    )


def _add(archive: tarfile.TarFile, data: Path, path: Path, scratch: Path) -> None:
    name = path.relative_to(data)
    if name.parts[0] in SKIPPED or name.parts[:2] == UNFINISHED:
        return
    if not path.is_file() or path.is_symlink():
        return
    if path.name.endswith((".db-wal", ".db-shm")) or ".db." in path.name:
        return
    if path.suffix == ".db":
        copy = scratch / path.name
        copy_database(path, copy)
        archive.add(copy, arcname=str(name))
    else:
        with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile: no row named it
            archive.add(path, arcname=str(name))


def restore_backup(settings: Settings, source: Path, *, force: bool) -> None:
    """Bring *source* into the data folder; what was there is kept aside, never deleted.

    Raises:
        SetupError: a platform runs there, the folder is not empty, or the file is no backup.
    """
    data = settings.platform.data.absolute()
    if find_platform(data) is not None:
        raise SetupError(f"A platform runs on {data}. Stop it first.")
    occupied = data.exists() and any(data.iterdir())
    if occupied and not force:
        raise SetupError(f"{data} is not empty. --force keeps it aside and restores.")
    fresh = Path(tempfile.mkdtemp(prefix=".restore-", dir=_existing_parent(data)))
    try:
        _extract(source, fresh)
    except (OSError, tarfile.TarError, SetupError) as error:
        _remove(fresh)
        detail = _why(error)
        raise SetupError(
            f"{source} could not be restored: {detail} Nothing was changed."
        ) from error
    if data.exists():
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        data.rename(data.with_name(f"{data.name}.{KEPT_ASIDE}-{stamp}"))
    fresh.rename(data)
    data.chmod(0o700)
    Console().print(f"Restored {data}.")


def _existing_parent(data: Path) -> Path:
    data.parent.mkdir(parents=True, exist_ok=True)
    return data.parent


def _extract(source: Path, target: Path) -> None:
    with tarfile.open(source, mode="r:gz") as archive:
        names = archive.getnames()
        if "identity.db" not in names:
            raise SetupError("it is no backup of a platform.")
        for member in archive.getmembers():
            if member.size > MAX_MEMBER:
                raise SetupError(f"{member.name} is too large.")
        archive.extractall(target, filter="data")
    for path in target.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def _why(error: OSError | tarfile.TarError | SetupError) -> str:
    if isinstance(error, SetupError):
        return error.detail
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{words.lower().rstrip('.')}."


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
