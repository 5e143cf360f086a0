"""The few system calls that the standard library of Python 3.11 lacks."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNS",
    "CLONE_NEWUSER",
    "become_subreaper",
    "children_of",
    "descendants",
    "die_with_parent",
    "keep_mounts_apart",
    "mount_memory",
    "start_time",
    "unmount",
    "unshare",
    "watch_for_new_files",
]

CLONE_NEWIPC = 0x08000000
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_SLAVE = 0x2, 0x4, 0x4000, 0x80000
_MNT_DETACH = 0x2
_IN_CREATE = 0x100
_IN_MOVED_TO = 0x80

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
]


def _check(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def die_with_parent(signal_number: int, parent: int) -> None:
    """Ask for *signal_number* when the calling thread's parent *parent* ends; for a new child."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(113)


def become_subreaper() -> None:
    """Let every orphan below this process become its child."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def unshare(flags: int) -> None:
    """Leave the namespaces named by *flags* for new ones."""
    _check(_libc.unshare(flags), "unshare")


def keep_mounts_apart() -> None:
    """In a mount namespace of our own: what is mounted here is nobody else's.

    What the host unmounts goes here, too: nothing of it is held.
    """
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "mount")


def mount_memory(folder: Path, options: str) -> None:
    """A file system in memory at *folder*, bounded by *options* (``size=…,nr_inodes=…``)."""
    flags = _MS_NOSUID | _MS_NODEV
    target, data = os.fsencode(folder), options.encode()
    _check(_libc.mount(b"tmpfs", target, b"tmpfs", flags, data), "mount")


def unmount(folder: Path) -> None:
    """Take away what is mounted at *folder*, whoever still has it open."""
    _check(_libc.umount2(os.fsencode(folder), _MNT_DETACH), "umount")


def watch_for_new_files(folder: Path) -> int:
    """A descriptor that becomes readable when a file appears in *folder*."""
    handle = _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")
    mask = ctypes.c_uint32(_IN_CREATE | _IN_MOVED_TO)
    try:
        _check(_libc.inotify_add_watch(handle, os.fsencode(folder), mask), "inotify_add_watch")
    except OSError:
        os.close(handle)
        raise
    return handle


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def start_time(pid: int) -> int | None:
    """Clock tick at which *pid* started; None where it is gone or a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def children_of(pid: int) -> list[int]:
    """Processes whose parent is *pid*."""
    return _children().get(pid, [])


def descendants(pid: int) -> list[int]:
    """Every process below *pid*, parents before children."""
    tree, found = _children(), list[int]()
    waiting = list(tree.get(pid, []))
    while waiting:
        found.append(waiting.pop(0))
        waiting += tree.get(found[-1], [])
    return found


def _children() -> dict[int, list[int]]:
    tree: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only, and often
        fields = _stat(int(entry)) if entry.isdigit() else None
        if fields is not None:
            tree.setdefault(int(fields[1]), []).append(int(entry))
    return tree
