"""What this process owes to the one that started it: two lines, and to end when it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["KeeperLine", "end_with_parent", "return_memory"]

PR_SET_PDEATHSIG = 1
M_MMAP_THRESHOLD = -3
LARGE = 256 * 1024


class KeeperLine:
    """Standard output, kept for the keeper alone.

    Libraries below print to standard output; from here on that goes to standard error, and the
    keeper reads nothing but our lines.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._out = os.dup(1)
        os.set_inheritable(self._out, False)
        os.dup2(2, 1)
        self._said: set[str] = set()

    def display_ready(self) -> None:
        """The application may start: the display takes clients."""
        self._say("DISPLAY-READY")

    def first_picture(self) -> None:
        """The application has drawn."""
        self._say("FIRST-PICTURE")

    def _say(self, word: str) -> None:
        if word not in self._said:
            self._said.add(word)
            try:
                os.write(self._out, f"{word}\n".encode())
            except BrokenPipeError:
                # The keeper reads no more; it watches the process all the same.
                return


def return_memory() -> None:
    """Have large blocks come from the system and go back to it.

    The encoder frees and takes pictures of some megabytes when the size changes or a viewer
    comes back; glibc would keep each thread's share for good (40 MB of 180 were such leftovers).
    """
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def end_with_parent() -> bool:
    """Ask the kernel for SIGTERM when the parent dies; False where it is dead already."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() != 1
