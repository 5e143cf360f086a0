"""What a viewer gets: glass to glass, click to photon, first picture, fps, CPU, still screen.

    python bench/glass.py                            # every cell, both transports, with the peer
    python bench/glass.py --cells 720p60 --repeat 7 --json out.json
    python bench/glass.py --cells 720p60 --still     # what an unchanging picture costs
    python bench/glass.py --no-peer

Card, server and browser run on one machine, so that one clock times all. Every figure is a
median over fresh browser starts; products take turns, so that a drift of the machine hits both.
``other`` is the CPU of everything that belongs to none of the groups: where it is not small, the
run was disturbed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from measuring.cells import median_of, ratio_of
from measuring.measure import measure, medians
from measuring.products import Cell, Downstage, Selkies
from rich.console import Console
from rich.table import Table

SIZES = {"720p30": (1280, 720, 30), "720p60": (1280, 720, 60), "1080p30": (1920, 1080, 30)}
COLUMNS = (
    ("first ms", "first_ms"),
    ("fps", "fps"),
    ("glass p50", "glass_ms.p50"),
    ("p95", "glass_ms.p95"),
    ("ready p50", "ready_ms.p50"),
    ("click p50", "click_ms.p50"),
    ("p95", "click_ms.p95"),
    ("kbps", "kbps"),
    ("server %", "cpu.server"),
    ("card %", "cpu.card"),
    ("browser %", "cpu.browser"),
    ("other %", "cpu.other"),
    ("MiB", "memory_mib.server"),
)


def main() -> None:
    """Measure, print the table, write JSON where asked."""
    options = _options()
    console = Console(stderr=options.json == "-", width=None if sys.stdout.isatty() else 190)
    cells = [
        Cell(*SIZES[size], transport, options.still)
        for size in options.cells.split(",")
        for transport in options.transports.split(",")
    ]
    report = dict[str, Any]()
    for cell in cells:
        report[cell.name] = _measure_cell(cell, options, console)
    console.print(_table(report))
    for name, row in report.items():
        for product, figures in row.items():
            for run in figures["runs"]:
                if not run["ok"]:
                    console.print(
                        f"[red]{name} {product}: {run.get('fail')}[/] {run.get('console')}"
                    )
    if options.json:
        text = json.dumps({"machine": _machine(), "cells": report}, indent=1)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text)
    sys.exit(any(not row["downstage"]["ok"] for row in report.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", default="720p60,720p30,1080p30", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--transports", default="websocket,webrtc")
    parser.add_argument("--repeat", type=int, default=7, help="fresh browser starts each")
    parser.add_argument("--seconds", type=float, default=6, help="length of the measured window")
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument("--still", action="store_true", help="the card draws only when clicked")
    parser.add_argument("--no-peer", action="store_true", help="leave Selkies out")
    parser.add_argument("--json", help="file to write, - for standard output")
    parser.add_argument("--screenshots", type=Path, help="folder for a PNG of each last run")
    return parser.parse_args()


def _measure_cell(cell: Cell, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Products in turns, each alone on the machine: start, one browser, end."""
    products = [Downstage] if options.no_peer else [Downstage, Selkies]
    runs: dict[str, list[dict[str, Any]]] = {product.name: [] for product in products}
    for number in range(options.repeat):
        for product in products:
            shot = (
                options.screenshots / f"{product.name}-{cell.name}.png".replace(" ", "-")
                if options.screenshots
                else None
            )
            with product(cell) as running:
                run = asyncio.run(
                    measure(
                        running.page(),
                        seconds=options.seconds,
                        clicks=options.clicks,
                        screenshot=shot,
                    )
                )
            runs[product.name].append(run)
            glass = run.get("glass_ms", {}).get("p50")
            console.print(
                f"{cell.name} {product.name} {number + 1}/{options.repeat}: "
                f"first {run.get('first_ms')} ms, glass {glass} ms, {run.get('fps')} fps",
                style="dim",
            )
    return {
        name: {"ok": sum(r["ok"] for r in made), "medians": medians(made), "runs": made}
        for name, made in runs.items()
    }


def _table(report: dict[str, Any]) -> Table:
    table = Table(title="medians (of fresh browser starts); ratio = downstage / peer")
    table.add_column("cell")
    table.add_column("product")
    for title, _ in COLUMNS:
        table.add_column(title, justify="right")
    for name, row in report.items():
        for product, figures in row.items():
            values = [median_of(figures["medians"], key) for _, key in COLUMNS]
            table.add_row(name, product, *values)
        if "selkies" in row:
            ratios = [ratio_of(row, key) for _, key in COLUMNS]
            table.add_row("", "ratio", *ratios, style="bold", end_section=True)
    return table


def _machine() -> dict[str, Any]:
    model = next(
        (
            x.split(":")[1].strip()
            for x in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in x
        ),
        "unknown",
    )
    return {"cores": os.cpu_count(), "model": model, "load": os.getloadavg()}


if __name__ == "__main__":
    main()
