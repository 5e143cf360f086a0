"""The X11 display of an instance: Xvfb, its cookie, its number and what it leaves behind."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import struct
from pathlib import Path

from downstage.spawners.keeper import linux

__all__ = ["clean_display", "command", "reserve", "socket_of", "write_cookie"]

FAMILY_WILD = 65535
FAMILY_LOCAL = 256
COOKIE = b"MIT-MAGIC-COOKIE-1"
FIRST, LAST = 100, 10_000
"""Displays we take: below are those of people and of tools with a number of their own."""


def reserve() -> str:
    """Take a display that nobody has, by the lock file that every X server honours.

    Xvfb's own ``-displayfd`` search makes no lock, and takes the socket of a server that does
    without an abstract one; so the number is ours to find. A lock that a dead process left is
    taken over, unless somebody answers on that display.

    Raises:
        OSError: the place of locks cannot be written, or every number is taken.
    """
    for number in range(FIRST, LAST):
        name = f":{number}"
        if not _answers(name) and (_take(name) or (_reclaim(name) and _take(name))):
            return name
    raise OSError(errno.EADDRINUSE, "every display number is taken")


def _take(display: str) -> bool:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        handle = os.open(_lock(display), flags, 0o444)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{os.getpid():10d}\n")
    try:
        socket_of(display).unlink(missing_ok=True)
    except PermissionError:  # a dead socket of another user stays in the way
        _lock(display).unlink()
        return False
    return True


def _reclaim(display: str) -> bool:
    """Remove the lock of a dead process; of several that try at once, one succeeds."""
    lock = _lock(display)
    mine = lock.with_name(f"{lock.name}.{os.getpid()}")
    if _is_held(lock):
        return False
    try:
        lock.rename(mine)
    except OSError:
        return False  # another user's, or somebody was quicker
    is_held = _is_held(mine)
    if is_held:  # a living one took it between the look and the move: give it back
        with contextlib.suppress(FileExistsError):
            lock.hardlink_to(mine)
    mine.unlink(missing_ok=True)
    return not is_held


def _is_held(lock: Path) -> bool:
    """Whether the process that *lock* names lives; one that cannot be read counts as held."""
    try:
        return linux.start_time(int(lock.read_text(encoding="ascii"))) is not None
    except (OSError, ValueError):
        return True


def _answers(display: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(socket_of(display)))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


def command(display: str, number_fd: int, cookie_file: Path, screen: tuple[int, int]) -> list[str]:
    """Argument vector of Xvfb on *display*; it writes to *number_fd* when it is ready.

    The screen is as large as a picture may become; the streamer goes down from there by RandR.
    """
    width, height = screen
    return [
        *("Xvfb", display, "-displayfd", str(number_fd), "-auth", str(cookie_file)),
        *("-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp", "-nolisten", "local"),
        *("-noreset", "-dpi", "96", "-s", "0", "+extension", "GLX", "+extension", "RANDR"),
        *("+extension", "RENDER", "+extension", "DAMAGE"),
    ]


def write_cookie(paths: list[Path]) -> None:
    """Write one fresh cookie to each of *paths*, mode 0600, for any display of this host."""
    data = secrets.token_bytes(16)
    host = socket.gethostname().encode()
    body = b"".join(
        struct.pack(">H", family)
        + b"".join(_counted(part) for part in (host_part, b"", COOKIE, data))
        for family, host_part in ((FAMILY_WILD, b""), (FAMILY_LOCAL, host))
    )
    for path in paths:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(body)


def _counted(part: bytes) -> bytes:
    return struct.pack(">H", len(part)) + part


def socket_of(display: str) -> Path:
    """The socket file of *display* (``:7``)."""
    return Path("/tmp/.X11-unix") / f"X{display.removeprefix(':')}"  # noqa: S108 - X's own place


def _lock(display: str) -> Path:
    return Path(f"/tmp/.X{display.removeprefix(':')}-lock")  # noqa: S108 - X's own place


def clean_display(display: str, pid: int) -> None:
    """Remove lock and socket of *display* where *pid*, a keeper, reserved them."""
    lock = _lock(display)
    with contextlib.suppress(OSError, ValueError):
        if int(lock.read_text(encoding="ascii")) == pid:
            socket_of(display).unlink(missing_ok=True)
            lock.unlink()
