"""What streams cost: our service beside its engine asked directly, and beside a plain server.

    python bench/streams.py                                  # all questions, some ten minutes
    python bench/streams.py --only push,latency --rounds 5 --json out.json
    python bench/streams.py --original 8000,TOKEN            # and a server that runs already

All of them use one engine, with the log of writes that ours is started with. The floor asks it by
pipelined commands and hiredis, for latency by redis-py; the plain server does one XADD a message
and one XREAD a reader (measuring/streams/one_xadd.py). Subjects take turns; each figure is the
median of the rounds, each ratio the median of the rounds' ratios. A push counts once its last
entry is stored, and what was stored is looked at. Clients send frames that were made before. The
engine writes its log to memory: on a disk, pushes of 1 MB would measure that disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from measuring.streams import cells
from measuring.streams.places import Places, Server, open_places
from rich.console import Console
from rich.table import Table

KB, SIZES = 1024, (1024, 65536, 1 << 20)
IN_MEMORY = Path("/dev/shm")
Measured = Callable[[], float]


@dataclass(slots=True)
class Row:
    """One question: the floor, ours, the others."""

    name: str
    floor: Measured | None
    servers: dict[str, Measured]
    goals: dict[str, float] = field(default_factory=dict[str, float])
    """Of ours: ``floor`` and ``plain``, ratios to reach."""
    lower: bool = False
    """Less is better: milliseconds."""

    def measure(self, rounds: int) -> dict[str, Any]:
        """Medians and ratios."""
        found: dict[str, list[float]] = {name: [] for name in ("floor", *self.servers)}
        subjects = ([("floor", self.floor)] if self.floor else []) + list(self.servers.items())
        for turn in range(rounds):
            for name, measure in (
                subjects[turn % len(subjects) :] + subjects[: turn % len(subjects)]
            ):
                found[name].append(measure())
        ours = found["Downstage"]
        ratios = {
            name: statistics.median(mine / other for mine, other in zip(ours, others, strict=True))
            for name, others in found.items()
            if others and name != "Downstage"
        }
        figures = {name: statistics.median(values) for name, values in found.items() if values}
        return {
            "name": self.name, "figures": figures, "ratios": ratios, "goals": self.goals,
            "rounds": found, "lower": self.lower,
        }  # fmt: skip


def _push(places: Places) -> list[Row]:
    goals = {1024: (0.4, 8.0), 65536: (0.25, 1.2), 1 << 20: (0.5, 1.2)}
    rows = list[Row]()
    for size in SIZES:
        for batch in (1, 64 if size < 1 << 20 else 8):
            for ack in (False, True):
                floor, plain = goals[size] if batch == 1 and not ack else (0, 0)
                rows.append(
                    Row(
                        f"push {_size(size)}, batch {batch}{', ack' if ack else ''}, entries/s",
                        lambda s=size, b=batch, a=ack: cells.floor_push(places, s, b, ack=a),
                        {
                            server.name: lambda v=server, s=size, b=batch, a=ack: cells.push(
                                places, v, s, b, ack=a
                            )
                            for server in places.servers
                        },
                        {"floor": floor, "one XADD": plain} if floor else {},
                    )
                )
    return rows


def _pull(places: Places) -> list[Row]:
    return [
        Row(
            f"pull {_size(size)}, count {count}, entries/s",
            lambda s=size, c=count: cells.floor_pull(places, s, c),
            {
                server.name: lambda v=server, s=size, c=count: cells.pull(places, v, s, c)
                for server in places.servers
            },
            {"floor": 0.5} if size == KB and count > 1 else {},
        )
        for size in SIZES
        for count in (1, 64)
    ]


def _latency(places: Places) -> list[Row]:
    rows = list[Row]()
    for size in SIZES:
        for at, word in ((0, "p50"), (1, "p99")):
            rows.append(
                Row(
                    f"push to pull {_size(size)}, {word}, ms",
                    lambda s=size, n=at: cells.floor_latency(places, s)[n],
                    {
                        server.name: lambda v=server, s=size, n=at: cells.latency(places, v, s)[n]
                        for server in places.servers
                    }
                    | {"raw socket": lambda s=size, n=at: cells.raw_latency(places, s)[n]},
                    {"floor": 2.0} if word == "p50" else {},
                    lower=True,
                )
            )
    return rows


def _fan(places: Places) -> list[Row]:
    goals = {(1024, 8): 25.0, (65536, 8): 3.0}
    return [
        Row(
            f"{readers} readers of {_size(size)}, deliveries/s",
            None,
            {
                server.name: lambda v=server, s=size, r=readers: cells.fan_out(places, v, s, r)
                for server in places.servers
            },
            {"one XADD": goals[size, readers]} if (size, readers) in goals else {},
        )
        for size in (1024, 65536)
        for readers in (8, 64)
    ]


def _crowd(places: Places) -> list[Row]:
    ours = places.ours
    return [
        Row(
            "200 producers beside 1,000 idle readers, 1 KB, entries/s",
            None,
            {
                "Downstage": lambda: cells.crowd(places, ours, 200, 1000),
                "without readers": lambda: cells.crowd(places, ours, 200, 0),
            },
        )
    ]


QUESTIONS: dict[str, Callable[[Places], list[Row]]] = {
    "push": _push,
    "pull": _pull,
    "latency": _latency,
    "fan": _fan,
    "crowd": _crowd,
}


def main() -> None:
    """Measure, print tables, write JSON where asked."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 150)
    before = os.getloadavg()[0]
    rows, idle = list[dict[str, Any]](), list[dict[str, Any]]()
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ds-b", dir=options.folder))
        )
        places = open_places(
            stack, folder, original=options.original, deflate=options.deflate,
            workers=options.workers,
        )  # fmt: skip
        for name in options.only.split(","):
            if name == "idle":
                idle += [_idle(server) for server in (places.ours, places.plain)]
                continue
            for row in QUESTIONS[name](places):
                print(f"measuring {row.name} …", file=sys.stderr, flush=True)
                rows.append(row.measure(options.rounds))
    console.print(_table(rows))
    for item in idle:
        console.print("{count:,} idle readers of {name}: {bytes:,.0f} bytes each".format(**item))
    load = f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores"
    console.print(load)
    if options.json:
        found = {"load": load, "rows": rows, "idle": idle, "workers": options.workers}
        Path(options.json).write_text(json.dumps(found, indent=1))


def _idle(server: Server) -> dict[str, Any]:
    print(f"measuring idle readers of {server.name} …", file=sys.stderr, flush=True)
    # The plain one holds a connection to the engine for each: that takes fewer.
    return {"name": server.name, **cells.idle_memory(server, 10_000 if server.token else 1000)}


def _options() -> argparse.Namespace:
    every = ",".join((*QUESTIONS, "idle"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=every, help=f"of {every}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1, help="processes of our service")
    parser.add_argument("--deflate", action="store_true", help="as uvicorn has it by itself")
    parser.add_argument("--original", help="port[,token] of the data server, where it runs")
    parser.add_argument(
        "--folder", type=Path, default=IN_MEMORY if IN_MEMORY.is_dir() else None,
        help="of the engine's files [default: in memory; else large entries measure the disk]",
    )  # fmt: skip
    parser.add_argument("--json", help="file to write")
    return parser.parse_args()


def _size(size: int) -> str:
    return f"{size // KB} KB" if size < 1 << 20 else f"{size >> 20} MB"


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Streams, medians of one run")
    others = list(dict.fromkeys(name for row in rows for name in row["ratios"]))
    for column in ("question", "Downstage"):
        table.add_column(column, justify="left" if column == "question" else "right")
    for name in others:
        table.add_column(name, justify="right")
        table.add_column("ratio", justify="right")
        table.add_column("goal", justify="right")
    for row in rows:
        cells_ = [row["name"], _number(row["figures"]["Downstage"])]
        for name in others:
            goal = row["goals"].get(name)
            sign = "≤" if row["lower"] else "≥"
            cells_ += [
                _number(row["figures"].get(name)),
                f"{row['ratios'][name]:.2f}" if name in row["ratios"] else "",
                f"{sign} {goal:g}" if goal else "",
            ]
        table.add_row(*cells_)
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 20 else f"{value:.3f}"


if __name__ == "__main__":
    main()
