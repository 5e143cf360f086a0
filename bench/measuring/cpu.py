"""CPU and memory of groups of processes, each with all its descendants, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Shot", "descendants", "settle", "shoot", "spent"]

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Shot:
    """CPU seconds of every process of each group at one time."""

    groups: dict[str, dict[int, float]]
    busy: float
    at: float
    memory_mib: dict[str, float]


def _table() -> dict[int, tuple[int, float, str]]:
    """Pid → (parent, CPU seconds, command line)."""
    found: dict[int, tuple[int, float, str]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", name, "stat").read_text().rsplit(") ", 1)[1].split()
            command = Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ")
        except (OSError, IndexError):
            continue
        seconds = (int(fields[11]) + int(fields[12])) / TICK
        found[int(name)] = int(fields[1]), seconds, command.decode(errors="replace")
    return found


def descendants(
    roots: set[int], table: dict[int, tuple[int, float, str]] | None = None
) -> set[int]:
    """*roots* and all that descend from them."""
    table = table or _table()
    found, todo = set[int](), [p for p in roots if p in table]
    while todo:
        found.add(pid := todo.pop())
        todo += [c for c, (parent, *_) in table.items() if parent == pid and c not in found]
    return found


def matching(pattern: str, among: set[int]) -> set[int]:
    """Processes of *among* whose command line holds *pattern*."""
    table = _table()
    return {pid for pid in among if pid in table and pattern in table[pid][2]}


def shoot(groups: dict[str, set[int]]) -> Shot:
    """Read every group's CPU now; a process counts for the first group that has it."""
    table = _table()
    taken, seconds, memory = set[int](), dict[str, dict[int, float]](), dict[str, float]()
    for name, roots in groups.items():
        pids = descendants(roots, table) - taken
        taken |= pids
        seconds[name] = {pid: table[pid][1] for pid in pids}
        memory[name] = sum(_resident(pid) for pid in pids)
    cpu = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return Shot(seconds, (sum(cpu) - cpu[3] - cpu[4]) / TICK, time.monotonic(), memory)


def _resident(pid: int) -> float:
    """Proportional set size, so that shared libraries count once."""
    try:
        text = Path("/proc", str(pid), "smaps_rollup").read_text()
    except OSError:
        return 0.0
    line = next((x for x in text.splitlines() if x.startswith("Pss:")), "Pss: 0 kB")
    return int(line.split()[1]) / 1024


def spent(before: Shot, after: Shot) -> dict[str, float]:
    """Per cent of one core for each group, and ``other``: what else ran on the machine."""
    passed = after.at - before.at
    use = {
        name: sum(s - before.groups.get(name, {}).get(p, 0.0) for p, s in pids.items())
        / passed
        * 100
        for name, pids in after.groups.items()
    }
    machine = (after.busy - before.busy) / passed * 100
    return {
        **{k: round(v, 1) for k, v in use.items()},
        "other": round(machine - sum(use.values()), 1),
    }


def settle(limit: float, seconds: float, groups: dict[str, set[int]]) -> bool:
    """Wait until all outside *groups* uses less than *limit* per cent; False if it never did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        first = shoot(groups)
        time.sleep(0.5)
        if spent(first, shoot(groups))["other"] < limit:
            return True
    return False
