"""What files cost: our content service beside plain files, nginx's WebDAV and the bare database.

    python bench/content.py                            # all questions, about four minutes
    python bench/content.py --only stat,put --rounds 9 --json out.json

The service runs as a process of its own, as ``downstage up`` starts it; nginx serves a folder of
the same disk, and does not wait for the disk. Subjects take turns, each row is the median of the
rounds, each ratio the median of the rounds' ratios. Durable means: answered after the commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import structlog
import uvloop
from measuring.content import chunks, files, stats, trees
from measuring.content.places import Places, open_places
from rich.console import Console
from rich.table import Table

Question = Callable[[Places, int], Awaitable[list[dict[str, Any]]]]
QUESTIONS: dict[str, Question] = {
    "stat": stats.measure,
    "list": trees.measure_list,
    "rename": trees.measure_rename,
    "put": files.measure_small,
    "large": files.measure_large,
    "insert": chunks.measure,
}


def main() -> None:
    """Measure, print a table, write JSON where asked."""
    options = _options()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    console = Console(width=None if sys.stdout.isatty() else 150)
    names = options.only.split(",")
    before = os.getloadavg()[0]
    rows = uvloop.run(_measure(names, options))
    console.print(_table(rows))
    load = f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores"
    console.print(load)
    if options.json:
        Path(options.json).write_text(json.dumps({"load": load, "rows": rows}, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(QUESTIONS), help=f"of {', '.join(QUESTIONS)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="on the disk to measure [default: here]")
    parser.add_argument("--json", help="file to write")
    return parser.parse_args()


async def _measure(names: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=options.folder or Path.cwd()))
    rows = list[dict[str, Any]]()
    try:
        async with AsyncExitStack() as stack:
            places = await open_places(stack, folder)
            for name in names:
                print(f"measuring {name} …", file=sys.stderr, flush=True)
                rows += await QUESTIONS[name](places, options.rounds)
                await asyncio.sleep(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Content, medians of one run")
    for column in ("question", "Downstage", "beside it", "which", "ratio", "spread", "goal"):
        table.add_column(column, justify="left" if column in ("question", "which") else "right")
    for row in rows:
        ratios = row["ratios"]
        spread = f"{min(ratios):.2f}–{max(ratios):.2f}" if len(ratios) > 1 else ""
        mark = "" if row["goal"] is None else ("≥ " if row["more_is_better"] else "≤ ")
        table.add_row(
            row["question"], row["ours"], row["theirs"], row["which"],
            f"{statistics.median(ratios):.2f}", spread,
            "–" if row["goal"] is None else f"{mark}{row['goal']:g}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
