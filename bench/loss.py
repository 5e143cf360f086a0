"""What a viewer gets over a bad line: fps, freezes and clicks at 0, 1, 5 % loss and 3 Mbit/s.

    python bench/loss.py                             # some half an hour
    python bench/loss.py --quick                     # one start a cell, WebRTC at 0 and 5 % alone
    python bench/loss.py --lines 5%,3mbit --transports webrtc --repeat 7 --json out.json

Needs root: server and browser stand in two network namespaces, and a program between them carries
the frames (`measuring.bridge`): it loses some both ways, each with its share by seeded dice, holds
each back for 15 ms (a round trip of 30 ms), or lets only so many bits pass. Products take turns on
the same line; the dice begin anew for each. ``frozen`` counts gaps between pictures over 200 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent))

from measuring.bridge import Cable, Line, why_not
from measuring.cells import median_of, ratio_of
from measuring.far import look
from measuring.measure import medians
from measuring.products import Cell, Downstage, Selkies
from rich.console import Console
from rich.table import Table

INSIDE = "BENCH_LOSS_INSIDE"
DELAY_S = 0.015
LINES = {
    "0%": Line(delay_s=DELAY_S),
    "1%": Line(loss=0.01, delay_s=DELAY_S),
    "5%": Line(loss=0.05, delay_s=DELAY_S),
    "3mbit": Line(delay_s=DELAY_S, rate_bps=3e6),
}
SIZES = {"720p30": (1280, 720, 30), "720p60": (1280, 720, 60)}
COLUMNS = (
    ("first ms", "first_ms"),
    ("fps", "fps"),
    ("frozen", "long_freezes"),
    ("longest gap", "longest_gap_ms"),
    ("glass p50", "glass_ms.p50"),
    ("click p50", "click_ms.p50"),
    ("p95", "click_ms.p95"),
    ("no answer", "click_ms.lost"),
    ("kbps", "kbps"),
    ("server %", "cpu.server"),
    ("other %", "cpu.other"),
)


def main() -> None:
    """Measure, print the table, write JSON where asked."""
    options = _options()
    if reason := why_not():
        sys.exit(f"No line can be made here: {reason}.")
    if INSIDE not in os.environ:
        _go_inside()
    console = Console(stderr=options.json == "-", width=None if sys.stdout.isatty() else 190)
    report = {"load_before": os.getloadavg(), "cells": dict[str, Any]()}
    for name in options.lines.split(","):
        for transport in options.transports.split(","):
            cell = Cell(*SIZES[options.size], transport)
            report["cells"][f"{name} {transport}"] = _measure(cell, LINES[name], options, console)
            report["load_after"] = os.getloadavg()
            _write(report, options.json)  # what was measured stays, whatever the next cell does
    console.print(_table(report["cells"], options.size))
    console.print(f"load {report['load_before']} before, {report['load_after']} after")
    if options.json == "-":
        print(json.dumps(report, indent=1))
    sys.exit(any(not row["downstage"]["ok"] for row in report["cells"].values()))


def _write(report: dict[str, Any], path: str | None) -> None:
    if path and path != "-":
        Path(path).write_text(json.dumps(report, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--lines", default=",".join(LINES), help=f"of {', '.join(LINES)}".replace("%", "%%")
    )
    parser.add_argument("--transports", default="webrtc,websocket")
    parser.add_argument("--size", default="720p30", choices=SIZES)
    parser.add_argument("--repeat", type=int, default=5, help="fresh browser starts each")
    parser.add_argument("--seconds", type=float, default=8, help="length of the measured window")
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument("--settle", type=float, default=15, help="longest wait for a quiet machine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="two minutes: a hint, no more")
    parser.add_argument("--no-peer", action="store_true", help="leave Selkies out")
    parser.add_argument("--json", help="file to write, - for standard output")
    options = parser.parse_args()
    if options.quick:
        options.lines, options.transports, options.repeat = "0%,5%", "webrtc", 1
        options.seconds, options.clicks, options.settle = 5, 6, 1
    return options


def _go_inside() -> None:
    """Be this program again, in a network namespace of its own; it ends with the program."""
    words = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    os.environ[INSIDE] = "1"
    os.execvp(words[0], [*words, sys.executable, *sys.argv])


def _measure(
    cell: Cell, line: Line, options: argparse.Namespace, console: Console
) -> dict[str, Any]:
    """Products in turns on the same line, each alone on the machine."""
    products = [Downstage] if options.no_peer else [Downstage, Selkies]
    runs: dict[str, list[dict[str, Any]]] = {product.name: [] for product in products}
    for number in range(options.repeat):
        for product in products:
            run = _one(product, cell, replace(line, seed=options.seed + 10 * number), options)
            runs[product.name].append(run)
            click = run.get("click_ms", {}).get("p50")
            console.print(
                f"{cell.name} {product.name} {number + 1}/{options.repeat}: {run.get('fps')} fps, "
                f"click {click} ms, {run.get('cable')} {run.get('fail', '')}",
                style="dim",
            )
    return {
        name: {"ok": sum(r["ok"] for r in made), "medians": medians(made), "runs": made}
        for name, made in runs.items()
    }


def _one(
    product: type[Downstage | Selkies], cell: Cell, line: Line, options: argparse.Namespace
) -> dict[str, Any]:
    with Cable(line) as cable, product(cell, cable.here) as running:
        page = running.page()
        origin = urlsplit(page.url)
        # What browsers allow on encrypted pages alone, such as decoding, they allow here, too.
        secure = f"--unsafely-treat-insecure-origin-as-secure=http://{origin.netloc}"
        groups = {**page.groups, "bridge": {cable.pid}}
        found = look(
            cable.enter(),
            replace(page, groups=groups, flags=(secure,)),
            seconds=options.seconds,
            clicks=options.clicks,
            settle_s=options.settle,
        )
    return {**found, "cable": cable.told}


def _table(cells: dict[str, Any], size: str) -> Table:
    table = Table(title=f"{size}, RTT 30 ms: medians of fresh starts; ratio = downstage / peer")
    table.add_column("line")
    table.add_column("product")
    for title, _ in COLUMNS:
        table.add_column(title, justify="right")
    for name, row in cells.items():
        for product, figures in row.items():
            made = f"{product} {figures['ok']}/{len(figures['runs'])}"
            values = [median_of(figures["medians"], key) for _, key in COLUMNS]
            table.add_row(name, made, *values)
        if "selkies" in row:
            ratios = [ratio_of(row, key) for _, key in COLUMNS]
            table.add_row("", "ratio", *ratios, style="bold", end_section=True)
    return table


if __name__ == "__main__":
    if shutil.which("unshare") is None:
        sys.exit("unshare is missing (apt-get install util-linux).")
    main()
