"""Time as a dependency: wall clock for records, monotonic clock for deadlines, boot id for both."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """What code that needs the time asks for."""

    def now(self) -> datetime:
        """Wall time, UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; comparable within one boot only."""
        ...

    def boot_id(self) -> str:
        """Changes whenever the machine boots, so that stored monotonic times can be judged."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self._boot_id = _read_boot_id()

    def now(self) -> datetime:
        """Wall time, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some point before the boot."""
        return time.monotonic()

    def boot_id(self) -> str:
        """The kernel's boot id, or ``unknown`` where it tells none."""
        return self._boot_id


class ManualClock:
    """A clock that stands still until it is moved; for tests and simulations."""

    def __init__(self, start: datetime | None = None, boot_id: str = "boot-1") -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._monotonic = 1000.0
        self._boot_id = boot_id

    def now(self) -> datetime:
        """The wall time it was moved to."""
        return self._now

    def monotonic(self) -> float:
        """Moves with `advance` alone, never with `jump`."""
        return self._monotonic

    def boot_id(self) -> str:
        """As given, until `reboot`."""
        return self._boot_id

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on both clocks."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward (or back), as an administrator or NTP may."""
        self._now += timedelta(seconds=seconds)

    def reboot(self, boot_id: str, *, seconds: float = 60.0) -> None:
        """The machine was off for *seconds*; the monotonic clock starts anew."""
        self._now += timedelta(seconds=seconds)
        self._monotonic = 10.0
        self._boot_id = boot_id


def _read_boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
