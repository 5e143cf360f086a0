"""The room that an application has in its own folder, ``/run/app``: a bound, not the host's disk.

Behind bubblewrap the folder is memory of a set size, mounted where the keeper and what it starts
alone see it: the kernel refuses more, and takes it back with the last of them. An engine's
containers are not started by the keeper and would not see that mount; their folder lies on the
disk, is measured every second, and ends the instance where it is too large. A plain process is
bounded by nothing but its user's rights.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from downstage.spawners.keeper import linux
from downstage.spawners.keeper.loop import Deadlines
from downstage.spawners.plan import Plan

__all__ = ["MOST_BYTES", "MOST_FILES", "Room", "bound", "nameless", "used"]

MOST_BYTES = 256 << 20
MOST_FILES = 10_000
LOOK_S = 1.0
"""Between two looks at a folder that is measured."""
LOOKED_AT = 20_000
"""Descriptors of one container that are looked at for files without a name."""
BLOCK = 512
TOO_MUCH = (
    f"The application left more than {MOST_BYTES >> 20} MiB or {MOST_FILES} files in its folder "
    "/run/app. What it computes belongs in /tmp, or among the platform's files."
)
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def bound(app: Path, plan: Plan) -> None:
    """Make *app* memory of a set size, with what was handed over already; nothing stays below it.

    Raises:
        OSError: it cannot be mounted, or what was handed over does not fit.
    """
    handed = {path.name: path.read_bytes() for path in app.iterdir() if path.is_file()}
    uid, gid = (plan.uid, plan.gid) if plan.is_other_user else (os.getuid(), os.getgid())
    owner = f"mode=0700,uid={uid},gid={gid}"
    below = os.open(app, FOLDER)
    try:
        linux.mount_memory(app, f"size={MOST_BYTES},nr_inodes={MOST_FILES},{owner}")
        for name, content in handed.items():
            (app / name).touch(mode=0o600)
            (app / name).write_bytes(content)
        for name in handed:
            os.unlink(name, dir_fd=below)
    finally:
        os.close(below)


class Room:
    """Measures a folder that nothing bounds, until it is too large.

    Args:
        folder: the instance's.
        deadlines: of the keeper; the end of the instance cancels them.
        pids: of its parts, by name.
        end: ends the instance, with reason and detail.
    """

    def __init__(
        self,
        folder: Path,
        deadlines: Deadlines,
        pids: Mapping[str, list[int]],
        end: Callable[[str, str], None],
    ) -> None:
        self._app, self._deadlines = folder / "app", deadlines
        self._pids, self._end = pids, end

    def start(self) -> None:
        """Look now, and every second."""
        size, files = used(self._app)
        for pid in self._pids.get("container", [])[:1]:
            size += nameless(pid, self._app)
        if size > MOST_BYTES or files > MOST_FILES:
            self._end("disk-limit", TOO_MUCH)
        else:
            self._deadlines.set("room", LOOK_S, self.start)


def used(app: Path) -> tuple[int, int]:
    """Bytes on the disk and number of files below *app*; no more is counted than there may be."""
    size = files = 0
    try:
        top = os.open(app, FOLDER)
    except OSError:
        return 0, 0
    try:
        for one in _below(top):
            files += 1
            size += one.st_blocks * BLOCK
            if files > MOST_FILES or size > MOST_BYTES:
                break
    finally:
        os.close(top)
    return size, files


def _below(top: int) -> Iterator[os.stat_result]:
    """What lies below the folder *top*; links, which are hostile, lead nowhere."""
    waiting = list[tuple[str, ...]]([()])
    while waiting:
        path = waiting.pop()
        folder = _open(top, path)
        if folder is None:
            continue
        try:
            with os.scandir(folder) as entries:
                for name in (entry.name for entry in entries):
                    one = _look(folder, name)
                    if one is None:
                        continue
                    yield one
                    if stat.S_ISDIR(one.st_mode):
                        waiting.append((*path, name))
        finally:
            os.close(folder)


def _open(top: int, path: tuple[str, ...]) -> int | None:
    """The folder *path* below *top*, one step after another; None: it is none any more."""
    folder = os.dup(top)
    for name in path:
        try:
            deeper = os.open(name, FOLDER, dir_fd=folder)
        except OSError:
            return None
        finally:
            os.close(folder)
        folder = deeper
    return folder


def _look(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:  # it went meanwhile
        return None


def nameless(pid: int, app: Path) -> int:
    """Bytes of files on the disk of *app* that the container of *pid* removed and still has open.

    Nothing else of that disk is open to it for writing.
    """
    try:
        device = app.stat().st_dev
    except OSError:
        return 0
    found = dict[int, int]()
    left = LOOKED_AT
    for process in _container_of(pid):
        try:
            names = os.listdir(f"/proc/{process}/fd")  # noqa: PTH208 - names are enough, and often
        except OSError:  # it has ended, or is not ours to look at
            continue
        for name in names[:left]:
            try:
                one = Path(f"/proc/{process}/fd/{name}").stat()
            except OSError:
                continue
            if one.st_nlink == 0 and one.st_dev == device and stat.S_ISREG(one.st_mode):
                found[one.st_ino] = one.st_blocks * BLOCK
        left -= len(names)
        if left <= 0:
            break
    return sum(found.values())


def _container_of(pid: int) -> list[int]:
    """Every process of the control group of *pid*; itself alone where it has none of its own."""
    try:
        line = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()[-1]
        group = line.partition("::")[2]
        text = Path(f"/sys/fs/cgroup{group}/cgroup.procs").read_text(encoding="ascii")
        found = [int(one) for one in text.split()]
    except (OSError, ValueError, IndexError):
        return [pid]
    return found if pid in found and os.getpid() not in found else [pid]
