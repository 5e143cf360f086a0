"""What sessions cost: made, first picture, signalling, a core's worth, the queue, a restart.

    python bench/sessions.py                         # all questions, some ten minutes
    python bench/sessions.py --quick                 # a hint in two minutes
    python bench/sessions.py --only signalling,queue --json out.json

``create``, ``signalling``, ``queue`` and ``restart`` run the whole platform on a machine that runs
nothing (`measuring.paper`), so that the control plane alone is measured; the others run real
sessions of the test card at 720p30. Server, viewers and cards share the machine: where ``other`` is
not small, or the load is, the run was disturbed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from measuring import counting, relaying, watching
from rich.console import Console
from rich.table import Table

Question = Callable[[argparse.Namespace], Any]


def create(options: argparse.Namespace) -> Any:
    """Creates a second, on paper and with processes."""
    count, real = (60, 2) if options.quick else (400, 8)
    rows = asyncio.run(counting.create_on_paper(count, (1, 16)))
    return {"paper": rows, "processes": asyncio.run(counting.create_real(real, real))}


def first(options: argparse.Namespace) -> Any:
    """Create to first decoded picture, warm and cold."""
    return asyncio.run(watching.to_first_picture(1 if options.quick else 7))


def signalling(options: argparse.Namespace) -> Any:
    """Messages through one gateway, beside a raw relay."""
    pairs, rounds = (8, 4) if options.quick else (8, 15)
    return asyncio.run(relaying.relay_rates(pairs, rounds, 0.5 if options.quick else 1.0))


def cores(options: argparse.Namespace) -> Any:
    """Sessions a core at 720p30."""
    return asyncio.run(watching.per_core(3 if options.quick else 24, 3 if options.quick else 6))


def second(options: argparse.Namespace) -> Any:
    """A second viewer's share of the first one's cost."""
    return asyncio.run(watching.second_viewer(1 if options.quick else 5, 4))


def queue(options: argparse.Namespace) -> Any:
    """Ten times as many sessions as places."""
    return asyncio.run(counting.queue(4 if options.quick else 20))


def restart(options: argparse.Namespace) -> Any:
    """A platform killed with that many sessions: until counts agree."""
    return counting.reconcile(options.sessions or (500 if options.quick else 10_000))


QUESTIONS: dict[str, Question] = {
    "create": create,
    "first": first,
    "signalling": signalling,
    "cores": cores,
    "second": second,
    "queue": queue,
    "restart": restart,
}


def main() -> None:
    """Ask, print each answer, write JSON where asked."""
    options = _options()
    console = Console(stderr=options.json == "-", width=None if sys.stdout.isatty() else 120)
    report = dict[str, Any]()
    for name in options.only.split(","):
        if name not in QUESTIONS:
            raise SystemExit(f"No question {name}; known: {', '.join(QUESTIONS)}.")
        load = os.getloadavg()[0]
        report[name] = {"answer": QUESTIONS[name](options)}
        report[name] |= {"load_before": load, "load_after": os.getloadavg()[0]}
        console.print(_table(name, report[name]))
    if options.json:
        text = json.dumps({"machine": _machine(), "questions": report}, indent=1)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(QUESTIONS), help=f"of {', '.join(QUESTIONS)}")
    parser.add_argument("--quick", action="store_true", help="fewer of everything: a hint, no more")
    parser.add_argument("--sessions", type=int, help="how many a restart has to find again")
    parser.add_argument("--json", help="file to write, - for standard output")
    return parser.parse_args()


def _table(name: str, found: dict[str, Any]) -> Table:
    load = f"load {found['load_before']:.1f} → {found['load_after']:.1f}"
    title = (QUESTIONS[name].__doc__ or name).rstrip(".")
    table = Table(title=f"{title} ({load})", title_justify="left", show_header=False)
    for key, value in flat(found["answer"]):
        table.add_row(key, value)
    return table


def flat(tree: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Every figure with the path that leads to it, in order."""
    if isinstance(tree, dict):
        pairs = [(str(key), value) for key, value in tree.items()]
    elif isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        pairs = [(str(number), value) for number, value in enumerate(tree)]
    else:
        return [(prefix, f"{tree:,}" if isinstance(tree, int | float) else str(tree))]
    return [
        row for key, value in pairs for row in flat(value, f"{prefix}.{key}" if prefix else key)
    ]


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "python": sys.version.split()[0]}


if __name__ == "__main__":
    main()
