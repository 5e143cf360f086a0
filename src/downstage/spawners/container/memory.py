"""Whether the kernel killed something of a container because its memory was used up.

Engines tell it, but not all of them always; the counter of the container's own control group
does. It goes with the container, so it is read at the moment of its end.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["OomCounter", "counter_of"]

GROUPS = Path("/sys/fs/cgroup")
COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


class OomCounter:
    """The counter in *path*, a file of the control group."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._last = path, 0

    def read(self) -> int:
        """Processes killed so far; the last known number once the group is gone."""
        if self._path is not None:
            try:
                found = COUNT.search(self._path.read_text(encoding="ascii"))
            except OSError:
                return self._last
            self._last = int(found.group(1)) if found else 0
        return self._last


def counter_of(pid: int, *, groups: Path = GROUPS, table: str | None = None) -> OomCounter:
    """The counter of the control group that *pid* is in, of either version."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text("utf-8") if table is None else table
    except OSError:
        return OomCounter(None)
    for line in text.splitlines():
        _, kinds, path = line.split(":", 2)
        if "memory" in kinds.split(","):
            return OomCounter(groups / "memory" / path.lstrip("/") / "memory.oom_control")
        if not kinds:
            unified = groups / path.lstrip("/") / "memory.events"
            if unified.exists():
                return OomCounter(unified)
    return OomCounter(None)
