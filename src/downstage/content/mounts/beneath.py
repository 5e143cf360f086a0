"""Opening what lies below a folder, and nothing else: no link, no way up, no device.

Linux does it in one call (``openat2``); where that is missing or forbidden, a walk from folder to
folder does the same. Either way the descriptor is of the very thing that was looked at.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Sequence

from downstage.kernel.errors import NotFound, WrongType

__all__ = ["Beneath", "is_shown", "open_for_reading", "reopen"]

_OPENAT2 = 437
"""The same on every architecture."""
_RESOLVE = 0x02 | 0x04 | 0x08
"""No magic links, no symbolic links, nothing above."""
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG})
_UNKNOWN = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG})

_NEVER = frozenset({"", ".", ".."})

_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class Beneath:
    """Opens paths below *root*, a descriptor that it does not own.

    Args:
        root: of the folder.
        one_call: use ``openat2``; else, and where the kernel refuses it, walk.
    """

    def __init__(self, root: int, *, one_call: bool = True) -> None:
        self._root = root
        self._one_call = one_call

    def open(self, names: Sequence[str]) -> int:
        """A descriptor that only stands for the thing (``O_PATH``): nothing was opened yet.

        Raises:
            NotFound: it is not there, or a link is in the way.
        """
        if not names:
            return os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        if any(name in _NEVER or "/" in name or "\0" in name for name in names):
            raise _missing()
        try:
            if self._one_call:
                return self._open_at_once(names)
        except OSError as error:
            if error.errno in _MISSING:
                raise _missing() from None
            if error.errno not in _UNKNOWN:
                raise
            self._one_call = False
        return self._walk(names)

    def _open_at_once(self, names: Sequence[str]) -> int:
        how = _How(os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, 0, _RESOLVE)
        descriptor: int = _libc.syscall(
            ctypes.c_long(_OPENAT2),
            ctypes.c_int(self._root),
            ctypes.c_char_p(os.fsencode("/".join(names))),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return descriptor

    def _walk(self, names: Sequence[str]) -> int:
        descriptor = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        for depth, name in enumerate(names):
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            if depth + 1 < len(names):
                flags |= os.O_DIRECTORY
            try:
                below = os.open(name, flags, dir_fd=descriptor)
            except OSError as error:
                if error.errno in _MISSING:
                    raise _missing() from None
                raise
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor


def open_for_reading(beneath: Beneath, names: Sequence[str], owner: int) -> int:
    """A file's bytes, where it is a plain file.

    A file with several names that another owns than the folder is refused: one of its names may
    lie where its owner never meant to show it.

    Raises:
        NotFound: it is not there, or no plain file: a link, a device, a pipe, a socket.
        WrongType: it is a folder.
    """
    path = beneath.open(names)
    try:
        status = os.fstat(path)
        if stat.S_ISDIR(status.st_mode):
            raise WrongType("That is a folder.")
        if not is_shown(status, owner):
            raise _missing()
        return reopen(path, os.O_RDONLY)
    finally:
        os.close(path)


def is_shown(status: os.stat_result, owner: int) -> bool:
    """Whether a thing shows in a mount: plain files and folders only."""
    if stat.S_ISDIR(status.st_mode):
        return True
    return stat.S_ISREG(status.st_mode) and (status.st_nlink == 1 or status.st_uid == owner)


def reopen(path: int, flags: int) -> int:
    """Open what an ``O_PATH`` descriptor stands for; never waits for another process."""
    try:
        return os.open(f"/proc/self/fd/{path}", flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except PermissionError:
        raise _missing() from None


def _missing() -> NotFound:
    return NotFound("There is nothing at this path.")
