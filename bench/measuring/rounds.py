"""Subjects in turns: microseconds a call, one after another and many at once, and ratios.

Every round calls every subject for a moment, the next round begins with the next one. A ratio is
taken within a round, so that a machine that slows down or is disturbed hits both of its sides.
Beside the clock stands the CPU time of this process: others on the machine change it less.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from measuring.cpu import shoot, spent

__all__ = ["AT_ONCE", "Figures", "Subject", "measure"]

AT_ONCE = 16
FEWEST_CALLS = 4
MOST_CALLS = 5000


@dataclass(slots=True)
class Subject:
    """Something that makes one call; *read* makes plain data of what it returned."""

    name: str
    call: Callable[[], Awaitable[Any]]
    read: Callable[[Any], Any] = lambda answer: answer
    base: str | None = None
    """Name of the subject that it is compared with; None: the first one."""


@dataclass(slots=True)
class Figures:
    """What came out for one subject."""

    name: str
    base: str
    us: list[float] = field(default_factory=list[float])
    cpu_us: list[float] = field(default_factory=list[float])
    at_once: list[float] = field(default_factory=list[float])
    ratios: list[float] = field(default_factory=list[float])
    cpu_ratios: list[float] = field(default_factory=list[float])
    ratios_at_once: list[float] = field(default_factory=list[float])

    def summary(self) -> dict[str, Any]:
        """Medians, and the spread of the rounds."""
        return {
            "name": self.name,
            "against": self.base,
            "us": statistics.median(self.us),
            "ratio": statistics.median(self.ratios),
            "ratio_quarter": _quantile(self.ratios, 1),
            "ratio_three_quarters": _quantile(self.ratios, 3),
            "cpu_us": statistics.median(self.cpu_us),
            "cpu_ratio": statistics.median(self.cpu_ratios),
            "calls_s": 1e6 / statistics.median(self.us),
            "at_once_calls_s": statistics.median(self.at_once),
            "at_once_ratio": statistics.median(self.ratios_at_once),
        }


async def measure(
    subjects: Sequence[Subject], *, expected: Any, rounds: int, slice_s: float
) -> dict[str, Any]:
    """Call all in turns; each gets about *slice_s* a round, twice.

    Raises:
        RuntimeError: one answers something else than *expected*.
    """
    calls = dict[str, int]()
    for subject in subjects:
        calls[subject.name] = await _try_out(subject, expected, slice_s)
    figures = {s.name: Figures(s.name, s.base or subjects[0].name) for s in subjects}
    before, load = shoot({"ours": _everything_of_ours()}), os.getloadavg()[0]
    for number in range(rounds):
        turn = number % len(subjects)
        order = [*subjects[turn:], *subjects[:turn]]
        one = {s.name: await _in_a_row(s, calls[s.name]) for s in order}
        many = {s.name: await _at_once(s, calls[s.name]) for s in order}
        for name, item in figures.items():
            (us, cpu), (base_us, base_cpu) = one[name], one[item.base]
            item.us.append(us)
            item.cpu_us.append(cpu)
            item.ratios.append(us / base_us)
            item.cpu_ratios.append(cpu / base_cpu)
            item.at_once.append(many[name])
            item.ratios_at_once.append(many[name] / many[item.base])
    used = spent(before, shoot({"ours": _everything_of_ours()}))
    return {
        "rows": [item.summary() for item in figures.values()],
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "other_cpu_percent": used["other"],
    }


def _everything_of_ours() -> set[int]:
    return {os.getpid()}


async def _try_out(subject: Subject, expected: Any, slice_s: float) -> int:
    """Check the answer, warm up, and say how many calls fill a slice."""
    for _ in range(3):
        answer = subject.read(await subject.call())
        if answer != expected:
            raise RuntimeError(f"{subject.name} answers {answer!r}, not {expected!r}")
    took, _ = await _in_a_row(subject, 10)
    return max(FEWEST_CALLS, min(MOST_CALLS, int(slice_s * 1e6 / took)))


async def _in_a_row(subject: Subject, calls: int) -> tuple[float, float]:
    """Microseconds a call, one after another: by the clock, and of this process's CPU."""
    call = subject.call
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(calls):
        await call()
    passed, used = time.perf_counter() - began, time.process_time() - cpu
    return passed / calls * 1e6, used / calls * 1e6


async def _at_once(subject: Subject, calls: int) -> float:
    """Calls a second, `AT_ONCE` under way all the time."""
    call, left = subject.call, max(calls, AT_ONCE)
    calls = left

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(work())
    return calls / (time.perf_counter() - began)


def _quantile(values: Sequence[float], quarter: int) -> float:
    """The value that *quarter* quarters of *values* lie below."""
    return statistics.quantiles(values, n=4)[quarter - 1] if len(values) > 1 else values[0]
