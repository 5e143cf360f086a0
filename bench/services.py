"""What a call costs: our client beside others, near and far; and how fast extensions reload.

    python bench/services.py                        # all groups, about three minutes
    python bench/services.py --groups http,local --rounds 61 --json out.json

The server answers a constant from a second process. Subjects take turns; the ratio is the
median of the rounds' ratios. ``other`` is the CPU of everything that is neither this program nor
its children, in per cent of one core: where it is not small, the run was disturbed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import structlog
import uvloop
from measuring import constant
from measuring.clients import in_process, over_http, over_nats
from measuring.extending import extension_times
from measuring.rounds import AT_ONCE, measure
from rich.console import Console
from rich.table import Table

GROUPS = ("http", "local", "nats", "extensions")
GOALS = {"http": 1.1, "local": 1.2, "nats": 1.5}
TITLES = {
    "http": "Over HTTP, loopback",
    "local": "In this process",
    "nats": "Over NATS, loopback",
    "extensions": "Extensions",
}


def main() -> None:
    """Measure, print tables, write JSON where asked."""
    options = _options()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console = Console(stderr=options.json == "-", width=None if sys.stdout.isatty() else 160)
    report = dict[str, Any]()
    for group in options.groups.split(","):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            report[group] = uvloop.run(_measure(group, Path(folder), options))
        console.print(_table(group, report[group]))
    if options.json:
        text = json.dumps({"machine": _machine(), "groups": report}, indent=1)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--groups", default=",".join(GROUPS), help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--slice", type=float, default=0.04, help="seconds a subject a round")
    parser.add_argument("--json", help="file to write, - for standard output")
    return parser.parse_args()


async def _measure(group: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    if group == "extensions":
        before = os.getloadavg()[0]
        rows = await extension_times(folder, options.rounds)
        return {"rows": rows, "load_before": before, "load_after": os.getloadavg()[0]}
    async with AsyncExitStack() as stack:
        subjects = await _subjects(group, stack, folder)
        return await measure(
            subjects, expected=constant.ANSWER, rounds=options.rounds, slice_s=options.slice
        )


async def _subjects(group: str, stack: AsyncExitStack, folder: Path) -> list[Any]:
    if group == "http":
        address = stack.enter_context(_server(""))
        return await over_http(stack, address, folder)
    if group == "local":
        from downstage.services.transports.local import close_local

        stack.push_async_callback(close_local)
        bare = await in_process(constant.constant, "bare ASGI")
        return [*await in_process(_service(), "service"), *bare]
    if group == "nats":
        from downstage.testing.nats import NatsServer

        url = stack.enter_context(NatsServer()).url
        stack.enter_context(_server(url))
        return await over_nats(stack, url)
    raise SystemExit(f"No group {group}; known: {', '.join(GROUPS)}.")


def _service() -> Any:
    """An application as every service has it, with the constant route."""
    from downstage.services.registry import create_app

    app = create_app("Constant")

    @app.get("/v1/items/{item_id}")
    async def get_item(item_id: str, limit: int) -> dict[str, Any]:
        return {**constant.ANSWER, "id": item_id, "limit": limit}

    return app


@contextmanager
def _server(nats_url: str) -> Iterator[str]:
    """The constant server's address; it runs as long as the context is open."""
    command = [sys.executable, constant.__file__, nats_url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _table(group: str, report: dict[str, Any]) -> Table:
    load = f"load {report['load_before']:.1f} → {report['load_after']:.1f}"
    other = report.get("other_cpu_percent")
    other = f", other {max(0, other):.0f} % of a core" if other is not None else ""
    goal = f", goal ≤ {GOALS[group]:g} ×" if group in GOALS else ""
    table = Table(title=f"{TITLES[group]}{goal} ({load}{other})", title_justify="left")
    table.add_column("")
    if group == "extensions":
        for name in ("median", "least", "most"):
            table.add_column(f"{name} ms", justify="right")
        for row in report["rows"]:
            table.add_row(row["name"], *(f"{row[k]:.1f}" for k in ("ms", "ms_least", "ms_most")))
        return table
    for name in ("µs", "calls/s", "ratio", "middle half", "CPU µs", "ratio"):
        table.add_column(name, justify="right")
    for name in (f"{AT_ONCE} at once, calls/s", "ratio"):
        table.add_column(name, justify="right")
    for row in report["rows"]:
        table.add_row(
            row["name"],
            f"{row['us']:,.0f}",
            f"{row['calls_s']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['ratio_quarter']:.2f} – {row['ratio_three_quarters']:.2f}",
            f"{row['cpu_us']:,.0f}",
            f"{row['cpu_ratio']:.2f}",
            f"{row['at_once_calls_s']:,.0f}",
            f"{row['at_once_ratio']:.2f}",
        )
    return table


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "python": sys.version.split()[0], "load": os.getloadavg()}


if __name__ == "__main__":
    main()
