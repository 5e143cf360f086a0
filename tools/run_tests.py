"""Run the test tiers one after another and sum them up in one closing line.

    python tools/run_tests.py              the viewer's own tests, then every tier
    python tools/run_tests.py unit -- -k lease

Tests that measure time run alone on the machine; those that do not share both cores. A tier that
fails does not stop the following ones: the closing line tells all of it.

Where a tier has real programs, browsers and clocks in it, up to three tests that failed are run
once more, alone: a machine that others use stands still now and then. What failed at first stays
on screen, and the closing lines name it; what fails again has failed.
"""
# ruff: noqa: T201 (a program that talks to a person on standard output)

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHES = ROOT / ".make" / "pytest"
MOST_SECOND_TRIES = 3
"""Of one pytest run; where more fail, it is not chance."""

CLOSING = re.compile(r"^=+ (?P<counts>.*\d+ \w+.*) in [\d.]+s.*=+$")
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|deselected|warnings?)")


@dataclass(frozen=True, slots=True)
class Tier:
    """One folder of tests: how many run at once, and how long all may take."""

    name: str
    workers: int
    deadline_s: int
    alone: tuple[str, ...] = ()
    """Folders and files in it that draw or time pictures: they get the machine to themselves."""
    has_second_try: bool = False

    def parts(self) -> list[tuple[list[str], int]]:
        """What pytest is called with, one call after the other: paths, and workers for them."""
        top = f"tests/{self.name}"
        if not self.alone or self.workers == 1:
            return [([top], self.workers)]
        alone = [f"{top}/{name}" for name in self.alone]
        missing = [path for path in alone if not (ROOT / path).exists()]
        if missing:
            raise SystemExit(f"named to run alone, and not there: {', '.join(missing)}")
        return [([top, *(f"--ignore={path}" for path in alone)], self.workers), (alone, 1)]


TIERS = (
    Tier("unit", workers=2, deadline_s=600),
    Tier("contract", workers=4, deadline_s=600),
    Tier(
        "real",
        workers=3,
        deadline_s=1500,
        alone=("apps", "media", "platform", "spawners/container", "spawners/remote", "streamer"),
        has_second_try=True,
    ),
    Tier(
        "browser",
        workers=2,
        deadline_s=1200,
        alone=(
            "streamer",
            "viewer/test_data.py",
            "viewer/test_fallback.py",
            "viewer/test_firefox.py",
            "viewer/test_from_elsewhere.py",
            "viewer/test_hls.py",
            "viewer/test_main_job.py",
        ),
        has_second_try=True,
    ),
    Tier("chaos", workers=2, deadline_s=900, alone=("platform", "regions"), has_second_try=True),
)


@dataclass(slots=True)
class Outcome:
    """What one tier came to."""

    name: str
    status: int
    took_s: float
    counts: dict[str, int] = field(default_factory=dict[str, int])
    second: list[str] = field(default_factory=list[str])
    """Tests that passed only when they were run again."""


def stream(command: list[str], deadline_s: int) -> tuple[int, list[str]]:
    """Run *command*, pass its output through, end it and its children at the deadline."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(process.pid, signal.SIGKILL))
    signal.alarm(deadline_s)
    lines = list[str]()
    try:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            lines = [*lines[-20:], line.rstrip()]
        status = process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(10)
        raise
    finally:
        signal.alarm(0)
    if status == -signal.SIGKILL:
        print(f"✗ ended after {deadline_s} s: no tier may take longer", flush=True)
    return status, lines


def run_tier(tier: Tier, extra: list[str]) -> Outcome:
    """The pytest runs over one tier; options of a person's own make it one run, one by one."""
    parts = [([f"tests/{tier.name}"], 1)] if extra else tier.parts()
    print(f"\n→ {tier.name}", flush=True)
    outcome = Outcome(tier.name, 0, 0.0)
    for number, (paths, workers) in enumerate(parts):
        cache = CACHES / f"{tier.name}-{number}"
        command = [sys.executable, "-m", "pytest", "--color=no", "-o", f"cache_dir={cache}"]
        shared = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
        started = time.monotonic()
        status, lines = stream(
            [*command, "--cache-clear", *paths, *shared, *extra], tier.deadline_s
        )
        add_counts(outcome, lines)
        if status == 1 and tier.has_second_try and not extra:
            status = try_again([*command, *paths], failed_of(cache), tier.deadline_s, outcome)
        outcome.status = outcome.status or status
        outcome.took_s += time.monotonic() - started
    return outcome


def failed_of(cache: Path) -> list[str]:
    """Which tests failed in the run that had this cache."""
    try:
        found = json.loads((cache / "v" / "cache" / "lastfailed").read_text())
    except (OSError, ValueError):
        return []
    return sorted(found)


def try_again(command: list[str], failed: list[str], deadline_s: int, outcome: Outcome) -> int:
    """Run the tests that failed once more, alone; pytest's status of all of it."""
    if not 0 < len(failed) <= MOST_SECOND_TRIES:
        return 1
    print(f"\n→ {outcome.name}, once more: {', '.join(failed)}", flush=True)
    status, lines = stream([*command, "--lf", "--lfnf=none"], deadline_s)
    again = Outcome(outcome.name, status, 0.0)
    add_counts(again, lines)
    passed = again.counts.get("passed", 0)
    if status or passed < len(failed):  # a test that was skipped or lost has not passed
        return status or 1
    # A test that passed and then left something behind had been counted as both.
    counts = outcome.counts
    counts["passed"] = counts.get("passed", 0) + counts.pop("failed", 0)
    counts.pop("error", None)
    outcome.second += failed
    return 0


def add_counts(outcome: Outcome, lines: list[str]) -> None:
    """Add what pytest's closing line says."""
    for line in lines:
        if found := CLOSING.match(line):
            for number, kind in COUNT.findall(found["counts"]):
                name = kind.rstrip("s") if kind.startswith(("error", "warning")) else kind
                outcome.counts[name] = outcome.counts.get(name, 0) + int(number)


def run_web() -> Outcome:
    """The viewer's own unit tests."""
    print("\n→ web", flush=True)
    started = time.monotonic()
    status, _ = stream(["tools/npm", "test"], 120)
    return Outcome("web", status, time.monotonic() - started)


def has_tests(tier: Tier) -> bool:
    """An empty tier is said to be empty, not run."""
    return any((ROOT / "tests" / tier.name).rglob("test_*.py"))


def close(outcomes: list[Outcome]) -> int:
    """Print one line a tier and the sum, in pytest's own form; the exit status."""
    print("\n")
    total: dict[str, int] = {}
    for outcome in outcomes:
        said = ", ".join(f"{number} {kind}" for kind, number in outcome.counts.items())
        mark = "✓" if outcome.status == 0 else "✗"
        said = said or ("ok" if outcome.status == 0 else f"exit status {outcome.status}")
        print(f"{mark} {outcome.name:<9} {said}, {outcome.took_s:.0f} s")
        for name in outcome.second:
            print(f"  failed at first, passed when it ran alone: {name}")
        for kind, number in outcome.counts.items():
            total[kind] = total.get(kind, 0) + number
        if outcome.status and not outcome.counts.get("failed", 0) + outcome.counts.get("error", 0):
            total["error"] = total.get("error", 0) + 1
    order = ("failed", "error", "passed", "skipped", "xfailed", "xpassed", "deselected", "warning")
    words = {kind: f"{kind}s" if kind in {"error", "warning"} else kind for kind in order}
    said = ", ".join(
        f"{total[kind]} {kind if total[kind] == 1 else words[kind]}"
        for kind in order
        if total.get(kind)
    )
    took_s = sum(outcome.took_s for outcome in outcomes)
    line = f" {said or 'no tests ran'} in {took_s:.2f}s ({int(took_s // 60)}:{took_s % 60:02.0f}) "
    print(line.center(80, "="))
    return int(any(outcome.status for outcome in outcomes))


def main(arguments: list[str]) -> int:
    """Run what the command line names, or everything."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    names, extra = arguments[:cut], arguments[cut + 1 :]
    unknown = set(names) - {tier.name for tier in TIERS}
    if unknown:
        print(f"no such tier: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [tier for tier in TIERS if not names or tier.name in names]
    outcomes = [] if names else [run_web()]
    for tier in chosen:
        if has_tests(tier):
            outcomes.append(run_tier(tier, extra))
        else:
            print(f"\n→ {tier.name}: no tests yet", flush=True)
    return close(outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
