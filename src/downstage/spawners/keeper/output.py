"""What a program of the instance prints: kept within a bound, without secrets."""

from __future__ import annotations

import os
import re
from collections import deque
from pathlib import Path

__all__ = ["Output"]

HALF = 512 * 1024
"""Bytes of one log file; the one before it is kept, so the two together stay within 1 MiB."""

TAIL = 20
LEAST_SECRET = 8
"""Shorter ones are words: masking them would say more than it hides."""

MAX_SHOWN = 4096
GONE = "[redacted]"
SECRETS = re.compile(
    r"(?P<keep>(?i:bearer\s+|(?:token|ticket|password|secret)[\"']?\s*[=:]\s*[\"']?))[^\s\"'&]+"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
)


class Output:
    """A log file with a bound and the last lines at hand."""

    def __init__(self, path: Path, secrets: list[str]) -> None:
        self._path = path
        self._secrets = list[str]()
        self.mask(secrets)
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._size = 0
        self._handle = _open(path)

    def mask(self, secrets: list[str]) -> None:
        """Show these from now on no more, either."""
        self._secrets += [secret for secret in secrets if len(secret) >= LEAST_SECRET]

    def write(self, line: str) -> None:
        """Keep *line*."""
        line = self._clean(line[:MAX_SHOWN])
        self._tail.append(line)
        data = line.encode("utf-8", errors="replace") + b"\n"
        if self._size + len(data) > HALF:
            os.close(self._handle)
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._handle, self._size = _open(self._path), 0
        os.write(self._handle, data)
        self._size += len(data)

    def tail(self, size: int = 1500) -> str:
        """The last lines, at most *size* characters of them."""
        return "\n".join(self._tail)[-size:]

    def forget_tail(self) -> None:
        """Let the last lines begin anew: somebody else writes now."""
        self._tail.clear()

    def close(self) -> None:
        """Write no more."""
        os.close(self._handle)

    def _clean(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, GONE)
        return SECRETS.sub(lambda found: (found.group("keep") or "") + GONE, line)


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)
