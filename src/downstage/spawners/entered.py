"""Goes behind an application's walls and becomes a program there; `entering` runs it, nobody else.

Of the standard library alone. Nothing that lies behind the walls, and no variable of the
application, counts before every privilege is gone: it is hostile, and might have put a ``PATH``,
a library or a whole folder of tools there for whoever looks in.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
import termios
from typing import Any, NoReturn

__all__ = ["main"]

NAMESPACES = {
    "user": 0x10000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "net": 0x40000000,
    "pid": 0x20000000,
    "mnt": 0x00020000,
}
"""Those that can be entered, in this order: the first gives the right to the others."""
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAPABILITIES = 64
CANNOT_START = 127
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Read what is asked for from the descriptor that the first argument names, and do it."""
    with os.fdopen(int(sys.argv[1]), encoding="utf-8") as file:
        asked: dict[str, Any] = json.load(file)
    _enter(asked["pid"], asked["namespaces"])
    child = os.fork()  # only a child is behind the wall between processes
    if child == 0:
        try:
            _become(asked)
        except OSError as error:
            os.write(2, f"{asked['command'][0]} cannot be started: {error.strerror}.\n".encode())
        finally:
            os._exit(CANNOT_START)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _enter(pid: int, names: list[str]) -> None:
    opened = [
        (os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), flag)
        for name, flag in NAMESPACES.items()
        if name in names
    ]
    for handle, flag in opened:
        _check(_libc.setns(handle, flag))
        os.close(handle)
    os.chdir("/")


def _become(asked: dict[str, Any]) -> NoReturn:
    if asked["terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for capability in range(CAPABILITIES):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # those that there are
    if asked["uid"] is not None:
        os.setgroups([])
        os.setresgid(asked["gid"], asked["gid"], asked["gid"])
        os.setresuid(asked["uid"], asked["uid"], asked["uid"])
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(asked["command"][0], asked["command"], asked["environment"])  # noqa: S606


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main()
