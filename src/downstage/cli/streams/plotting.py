"""``plot``: numbers of a stream as curves in the terminal, drawn again in place."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from downstage.cli.content.shown import plain
from downstage.cli.streams.desk import client_at, err
from downstage.cli.streams.options import At
from downstage.client.streams import Entry
from downstage.kernel.errors import InvalidInput, PlatformError, SetupError

__all__ = ["Plot", "curve", "numbers_of", "plot"]

BLOCKS = " ▁▂▃▄▅▆▇█"
COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")
MOST_FIELDS = 6
MOST_DEPTH = 4
MOST_POINTS = 100_000
EIGHTHS = 8
WIDTH = 72


@dataclass(frozen=True, slots=True)
class Plot:
    """What is drawn."""

    fields: tuple[str, ...] = ()
    window_s: float = 30.0
    height: int = 6


@dataclass(slots=True)
class Series:
    """Numbers of one field, by time (seconds)."""

    points: deque[tuple[float, float]] = field(
        default_factory=lambda: deque[tuple[float, float]](maxlen=MOST_POINTS)
    )

    def add(self, at: float, value: float, window_s: float) -> None:
        """One more; what has left the window goes."""
        self.points.append((at, value))
        while self.points[0][0] < at - window_s:
            self.points.popleft()


def numbers_of(value: Any, prefix: str = "", depth: int = 0) -> dict[str, float]:
    """All numbers of *value*, by their paths: ``pose.x``, ``joints.0``; ``value`` for one alone."""
    if isinstance(value, bool) or value is None:
        return {}
    if isinstance(value, int | float):
        return {prefix or "value": float(value)} if math.isfinite(value) else {}
    found = dict[str, float]()
    if depth >= MOST_DEPTH:
        return found
    if isinstance(value, Mapping):
        parts = list(cast("Mapping[str, Any]", value).items())
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        parts = [(str(at), one) for at, one in enumerate(cast("Sequence[Any]", value)[:64])]
    else:
        return found
    for name, part in parts:
        found |= numbers_of(part, f"{prefix}.{name}" if prefix else str(name), depth + 1)
    return found


def plot(at: At | None, stream: str, wanted: Plot, *, last: str, timeout: float | None) -> None:
    """Draw until Ctrl-C.

    Raises:
        InvalidInput: the stream has no numbers, or not these.
    """
    if wanted.window_s <= 0 or not 1 <= wanted.height <= 40:  # noqa: PLR2004
        raise SetupError("--window is above 0, --height from 1 to 40.")
    console = Console(highlight=False, markup=False, emoji=False)
    series = dict[str, Series]()
    count = 0
    with client_at(at) as client, client.pull(stream, last=last, timeout=timeout) as entries:
        if not console.is_terminal:
            for entry in entries:
                count += 1
                _take(entry, wanted, series)
            console.width = WIDTH
            console.print(_drawn(series, wanted, console.width))
            return
        if sys.stderr.isatty():
            err().print(f"Waiting for {plain(stream)}. Ctrl-C ends it.", style="dim")
        with Live(console=console, refresh_per_second=12, transient=False) as live:
            drawn_at = 0.0
            while found := entries.take():
                for entry in found:
                    _take(entry, wanted, series)
                if time.monotonic() - drawn_at > 1 / 12:
                    live.update(_drawn(series, wanted, console.width))
                    drawn_at = time.monotonic()
            live.update(_drawn(series, wanted, console.width))


def _take(entry: Entry, wanted: Plot, series: dict[str, Series]) -> None:
    try:
        value = entry.json() if entry.data[:1] in (b"{", b"[") or _is_number(entry) else entry.value
    except PlatformError as error:
        raise InvalidInput(f"{plain(entry.stream)} has no numbers: {error.detail}") from error
    found = numbers_of(value.tolist() if hasattr(value, "tolist") and value.ndim == 1 else value)
    names = wanted.fields or tuple(series) or tuple(found)[:MOST_FIELDS]
    if wanted.fields and not series and (missing := [n for n in wanted.fields if n not in found]):
        there = ", ".join(plain(name) for name in list(found)[:20]) or "none"
        raise InvalidInput(
            f"{plain(entry.stream)} has no number {plain(missing[0])}; it has: {there}."
        )
    if not names:
        raise InvalidInput(
            f"{plain(entry.stream)} has no numbers: its entries are "
            f"{plain(entry.content_type or 'bytes')}. Plot a stream of JSON or of arrays."
        )
    for name in names:
        if name in found:
            at = entry.ms / 1000
            series.setdefault(name, Series()).add(at, found[name], wanted.window_s)


def _is_number(entry: Entry) -> bool:
    return entry.data[:1] in b"-0123456789" and len(entry.data) < 64  # noqa: PLR2004


def _drawn(series: dict[str, Series], wanted: Plot, width: int) -> Group:
    parts = list[Text]()
    for at, (name, one) in enumerate(series.items()):
        values = [value for _, value in one.points]
        if not values:
            continue
        colour = COLOURS[at % len(COLOURS)]
        head = Text(f"{plain(name)}  ", f"bold {colour}")
        head.append(f"{values[-1]:.6g}", "bold")
        head.append(f"   min {min(values):.6g}  max {max(values):.6g}", "dim")
        parts.append(head)
        rows = curve(one.points, wanted.window_s, max(10, width - 1), wanted.height)
        parts += [Text(row, colour) for row in rows]
    return Group(*parts)


def curve(
    points: Sequence[tuple[float, float]], window_s: float, width: int, height: int
) -> list[str]:
    """Rows of a curve, the first on top: the mean of each column's points, the newest at the right.

    Args:
        points: time in seconds and value, in order.
        window_s: seconds from left to right.
        width: columns.
        height: rows.
    """
    end = points[-1][0]
    sums, counts = [0.0] * width, [0] * width
    for at, value in points:
        column = width - 1 - int((end - at) / window_s * width)
        if 0 <= column < width:
            sums[column] += value
            counts[column] += 1
    means = [s / n if n else None for s, n in zip(sums, counts, strict=True)]
    known = [mean for mean in means if mean is not None]
    low, span = min(known), (max(known) - min(known)) or 1.0
    # An empty column between two points holds the one before: a slow stream has no holes.
    for at in range(1, width):
        if means[at] is None:
            means[at] = means[at - 1]
    levels = [
        0 if mean is None else 1 + round((mean - low) / span * (height * EIGHTHS - 1))
        for mean in means
    ]
    rows = list[str]()
    for row in range(height - 1, -1, -1):
        cells = (BLOCKS[max(0, min(EIGHTHS, level - row * EIGHTHS))] for level in levels)
        rows.append("".join(cells))
    return rows
