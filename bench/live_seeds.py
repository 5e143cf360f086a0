"""Play many seeds of the simulated world of live editors and say whether all ended alike.

python bench/live_seeds.py 3000            # two processes
python bench/live_seeds.py 300 --broken child-order   # must diverge
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext

from measuring.live_world import BROKEN, broken, play


def play_some(seeds: Iterable[int], what: str) -> tuple[Counter[str], int, int, list[int]]:
    """Counts of what was done, ops, refused steps, and the seeds that diverged."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # USD warns of each reference to nothing
    count, ops, refused, diverged = Counter[str](), 0, 0, list[int]()
    with broken(what) if what else nullcontext():
        for seed in seeds:
            try:
                outcome = play(seed)
            except Exception:
                if not what:
                    raise
                diverged.append(seed)
                continue
            count += outcome.count
            ops += outcome.ops
            refused += outcome.refused
            if not outcome.has_converged:
                diverged.append(seed)
    return count, ops, refused, diverged


def main() -> int:
    """Play; 1 where a seed diverged and nothing is broken on purpose, or the reverse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--broken", choices=BROKEN, default="")
    asked = parser.parse_args()
    begun = time.perf_counter()
    end = asked.first + asked.seeds
    parts = [range(first, min(first + 50, end)) for first in range(asked.first, end, 50)]
    count, ops, refused, diverged = Counter[str](), 0, 0, list[int]()
    with ProcessPoolExecutor(asked.processes) as pool:
        for part in pool.map(play_some, parts, [asked.broken] * len(parts)):
            count += part[0]
            ops += part[1]
            refused += part[2]
            diverged += part[3]
    for name, number in sorted(count.items()):
        print(f"{number:8} {name}")
    print(
        f"{asked.seeds} seeds, {ops} ops, {refused} steps refused by USD,"
        f" {len(diverged)} diverged {diverged[:10]}, {time.perf_counter() - begun:.0f} s"
    )
    return int(bool(diverged) != bool(asked.broken))


if __name__ == "__main__":
    sys.exit(main())
