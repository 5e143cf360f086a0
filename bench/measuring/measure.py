"""One fresh browser on one page: first picture, fps, glass to glass, click to photon, CPU."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring.browser import Browser
from measuring.cpu import settle, shoot, spent

__all__ = ["Page", "measure", "medians"]

FREEZE_MS = 100
LONG_FREEZE_MS = 200
CLICK_LIMIT_MS = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """What to open and whose CPU to count."""

    url: str
    size: tuple[int, int]
    groups: dict[str, set[int]]
    start_script: str | None = None
    flags: tuple[str, ...] = ()
    """Further ones of the browser's."""


async def measure(
    page: Page,
    *,
    seconds: float,
    clicks: int,
    warm: float = 3.0,
    wait: float = 30.0,
    settle_s: float = 15.0,
    screenshot: Path | None = None,
) -> dict[str, Any]:
    """Figures of one browser start; ``ok`` False with ``fail`` where no picture came."""
    result: dict[str, Any] = {"ok": False, "load": os.getloadavg()[0]}
    async with Browser(page.size, flags=page.flags) as browser:
        groups = {**page.groups, "browser": {browser.process.pid}, "meter": {os.getpid()}}
        result["quiet"] = await asyncio.to_thread(settle, 12.0, settle_s, groups)
        await browser.navigate(page.url)
        if page.start_script:
            await asyncio.sleep(0.3)
            await browser.evaluate(page.start_script)
        first = await _first_picture(browser, wait)
        if first is None:
            result["fail"] = "no readable picture"
            result["console"] = browser.console[-5:]
            if screenshot:
                await browser.screenshot(screenshot)
            return result
        result["first_ms"] = round(first)
        await asyncio.sleep(warm)
        result |= await _window(browser, groups, seconds)
        result["click_ms"] = await _clicks(browser, clicks)
        if screenshot:
            await browser.screenshot(screenshot)
        result["ok"] = True
    return result


async def _first_picture(browser: Browser, wait: float) -> float | None:
    end = time.monotonic() + wait
    while time.monotonic() < end:
        first = await browser.probe("p?.first ?? null")
        if first is not None:
            return float(first)
        await asyncio.sleep(0.1)
    return None


async def _window(browser: Browser, groups: dict[str, set[int]], seconds: float) -> dict[str, Any]:
    """The measured window: pictures as they come, CPU and bytes meanwhile."""
    await browser.probe("p.begin()")
    stats_before, cpu_before = await browser.probe("p.stats()"), shoot(groups)
    await asyncio.sleep(seconds)
    cpu_after, stats_after = shoot(groups), await browser.probe("p.stats()")
    seen = await browser.probe(
        "({glass: p.glass, ready: p.ready, shownAt: p.shownAt,"
        " unreadable: p.unreadable, what: p.what})"
    )
    passed = cpu_after.at - cpu_before.at
    gaps = [b - a for a, b in itertools.pairwise(seen["shownAt"])]
    change = {k: v - stats_before[k] for k, v in stats_after.items() if isinstance(v, int | float)}
    return {
        "what": seen["what"],
        "fps": round(len(seen["shownAt"]) / passed, 1),
        "decoded_fps": round(change["decoded"] / passed, 1) or None,
        "glass_ms": summary(seen["glass"]),
        "ready_ms": summary(seen["ready"]),
        "freezes": sum(gap > FREEZE_MS for gap in gaps),
        "long_freezes": sum(gap > LONG_FREEZE_MS for gap in gaps),
        "longest_gap_ms": round(max(gaps, default=passed * 1000)),
        "unreadable": seen["unreadable"],
        "kbps": round((change["bytes"] or change["socketBytes"]) * 8 / passed / 1000),
        "jitter_buffer_ms": _mean(change["jitterMs"], change["emitted"]),
        "decode_ms": _mean(change["decodeMs"], change["decoded"]),
        "codec": stats_after["codec"],
        "cpu": spent(cpu_before, cpu_after),
        "memory_mib": {k: round(v) for k, v in cpu_after.memory_mib.items()},
    }


async def _clicks(browser: Browser, count: int) -> dict[str, Any]:
    """Presses at random times in the middle of the picture; two before them do not count."""
    found, lost = list[float](), 0
    x, y = await browser.probe("p.middle()")
    await browser.mouse("mouseMoved", x, y)
    for number in range(-2, count):
        await asyncio.sleep(random.uniform(0.15, 0.35))
        await browser.probe("p.arm()")
        await browser.mouse("mousePressed", x, y, button="left", clickCount=1)
        await browser.mouse("mouseReleased", x, y, button="left", clickCount=1)
        took = await browser.probe(f"p.answer({CLICK_LIMIT_MS})")
        if number >= 0 and took is None:
            lost += 1
        elif number >= 0:
            found.append(took)
    return {**summary(found), "lost": lost}


def summary(values: list[float]) -> dict[str, float | None]:
    """Median, 95th percentile, least."""
    if not values:
        return {"p50": None, "p95": None, "min": None}
    ordered = sorted(values)
    at = min(len(ordered) - 1, int(0.95 * len(ordered)))
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[at], 1),
        "min": round(ordered[0], 1),
    }


def _mean(total: float, count: float) -> float | None:
    return round(total / count, 2) if count else None


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """For every figure: median, least and largest over the runs that worked."""
    rows = [dict(_flat(run)) for run in runs if run["ok"]]
    keys = dict.fromkeys(key for row in rows for key in row)
    result = dict[str, Any]()
    for key in keys:
        values = [row[key] for row in rows if key in row]
        result[key] = [round(statistics.median(values), 1), min(values), max(values)]
    return result


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    pairs = list[tuple[str, float]]()
    for key, value in tree.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            pairs.append((prefix + key, value))
    return pairs
