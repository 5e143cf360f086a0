"""What a test left behind: threads, descriptors, child processes."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Snapshot", "leaks_since"]

ALLOWED_THREADS = (
    "AnyIO worker thread",  # they end by themselves once their loop has
    "asyncio_",  # default executor, joined when its loop closes
    "pytest",
    "execnet",
    "QueueManagerThread",
)
"""Beginnings of names of threads that others own."""

ALLOWED_TARGETS = ("/dev/null", "/dev/urandom", "/dev/random", "/proc/")
"""Beginnings of what descriptors of others point to."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Threads, descriptors and children of this process at one moment."""

    threads: frozenset[int]
    descriptors: Counter[str]
    children: frozenset[int]

    @classmethod
    def take(cls) -> Snapshot:
        """Look now."""
        return cls(frozenset(_threads()), _descriptors(), frozenset(_children(os.getpid())))


def leaks_since(before: Snapshot, *, patience_s: float = 3.0) -> list[str]:
    """What exists now and did not at *before*, given some time to go; one line each."""
    deadline = time.monotonic() + patience_s
    while leaks := _compare(before):
        if time.monotonic() > deadline:
            return leaks
        gc.collect()
        time.sleep(0.02)
    return []


def _compare(before: Snapshot) -> list[str]:
    lines = [f"thread {name}" for ident, name in _threads().items() if ident not in before.threads]
    more = _descriptors() - before.descriptors
    lines += [f"{count} descriptor(s) of {target}" for target, count in more.items()]
    children = _children(os.getpid())
    lines += [
        f"process {pid}: {name}" for pid, name in children.items() if pid not in before.children
    ]
    return lines


def _threads() -> dict[int, str]:
    found: dict[int, str] = {}
    for thread in threading.enumerate():
        if not thread.name.startswith(ALLOWED_THREADS) and thread.ident is not None:
            found[thread.ident] = thread.name
    return found


def _descriptors() -> Counter[str]:
    """How many descriptors point to each kind of thing; numbers are used again, so none here."""
    found = Counter[str]()
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a Path for each is slow
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")  # noqa: PTH115 - the same
        except OSError:
            continue  # the one that lists the folder
        if not target.startswith(ALLOWED_TARGETS):
            found[target.partition(":[")[0]] += 1
    return found


def _children(root: int) -> dict[int, str]:
    """Living descendants of *root* with their command lines."""
    parents = {pid: parent for pid, parent, state in _processes() if state != "Z"}
    below: set[int] = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return {pid: _command(pid) for pid in below - {root}}


def _processes() -> Iterable[tuple[int, int, str]]:
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a Path for each is slow
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            fields = text.rpartition(")")[2].split()
            yield int(entry), int(fields[1]), fields[0]


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "gone"
    return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip()[:200]
