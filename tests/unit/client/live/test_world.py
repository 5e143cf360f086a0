"""The simulated world: whatever editors do, and whatever becomes of wires and server, all agree.

``LIVE_SEEDS=3000`` plays more; ``bench/live_seeds.py`` does it in several processes.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from measuring.live_world import BROKEN, broken, play

pytestmark = pytest.mark.unit

SEEDS = int(os.environ.get("LIVE_SEEDS", "20"))
DONE = frozenset(
    [
        "compacted",
        "connection-lost",
        "merged",
        "other_type",
        "payload",
        "reference",
        "relocate",
        "rename",
        "reorder",
        "retype",
        "server-killed",
        "sublayers",
        "undo",
        "variant",
        "variant_alone",
    ]
)
"""What the seeds must contain to be worth their time."""


def test_all_layers_end_alike(capfd: pytest.CaptureFixture[str]) -> None:
    count, diverged = Counter[str](), list[int]()
    for seed in range(SEEDS):
        outcome = play(seed)
        count += outcome.count
        if not outcome.has_converged:
            diverged.append(seed)
    capfd.readouterr()  # USD warns of every reference to nothing
    print(dict(count))
    assert not diverged
    assert count.keys() >= DONE


@pytest.mark.parametrize("what", BROKEN)
def test_the_world_tells_what_is_broken(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A test of the test: without this part of the product, layers end unlike."""
    diverged = 0
    with broken(what):
        for seed in range(5):
            try:
                diverged += not play(seed).has_converged
            except AssertionError:
                diverged += 1
    capfd.readouterr()
    assert diverged > 0


def test_a_seed_that_once_diverged_agrees(capfd: pytest.CaptureFixture[str]) -> None:
    """A rename below an inactive prim, and another edit of what it made, in one flush."""
    outcome = play(2379)
    capfd.readouterr()
    assert outcome.has_converged
