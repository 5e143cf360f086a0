"""The process dies between any two durable steps: what was answered is there, nothing is half."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import blake3
import pytest

from downstage.content import quota
from downstage.content.blobs.collect import Collector
from downstage.content.service import Content, open_content
from downstage.kernel.clock import SystemClock

pytestmark = [pytest.mark.chaos, pytest.mark.anyio]

sys.path.insert(0, str(Path(__file__).parent))
import hammer  # noqa: E402 - the program beside this file

POINTS = [
    "content.commit.before:7",
    "content.commit.after:11",
    "content.blob.written:2",
    "content.blob.synced:3",
    "content.blob.renamed:2",
    "content.pack.appended:2",
    "content.pack.synced:3",
    "content.gc.rows_deleted:1",
    "content.gc.unlinked:1",
]
STEPS = 500
"""More than any point needs to be reached; the program dies long before."""


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("content")


@pytest.fixture
def mother(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Forks a child for each death."""
    with subprocess.Popen(
        [sys.executable, hammer.__file__, str(folder), str(STEPS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        yield program
        assert program.stdin is not None
        program.stdin.close()
        program.wait(10)


def hammered(mother: subprocess.Popen[str], rounds: int, point: str) -> list[str]:
    """What a child said until it died at *point*."""
    assert mother.stdin is not None
    assert mother.stdout is not None
    mother.stdin.write(f"{rounds} {point}\n")
    mother.stdin.flush()
    said = list[str]()
    for line in mother.stdout:
        if line.startswith("="):
            assert line == f"= {signal.SIGKILL.value}\n", (point, said[-3:])
            return said
        said.append(line.rstrip("\n"))
    pytest.fail("the program ended")


def replayed(said: list[str], before: dict[int, hammer.State], rounds: int) -> dict:
    """For each hand the states that are right now: the acknowledged one, or with the step begun."""
    right = {}
    for hand, known in before.items():
        state = known
        begun = [int(line.split()[2]) for line in said if line.startswith(f"> {hand} ")]
        done = [int(line.split()[2]) for line in said if line.startswith(f"< {hand} ")]
        for step in done:
            state = hammer.Plan(hand, step, rounds, state).after()
        right[hand] = [state]
        if len(begun) > len(done):
            right[hand].append(hammer.Plan(hand, begun[-1], rounds, state).after())
    return right


async def sound(content: Content, folder: Path) -> None:
    with content.database.read() as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for node, size, nodes in db.execute("SELECT node, bytes, nodes FROM folder").fetchall():
            assert (size, nodes) == tuple(quota.recount(db, node))
        wrong = db.execute(
            "SELECT hash FROM version WHERE hash NOT IN (SELECT hash FROM blob)"
        ).fetchall()
        assert wrong == []
        heads = db.execute(
            "SELECT count(*) FROM node LEFT JOIN version ON version.node = node.id"
            " AND version.n = node.version WHERE kind = 'file'"
            " AND (version.hash IS NULL OR version.hash <> node.hash)"
        ).fetchone()
        assert heads == (0,)
        events = [seq for (seq,) in db.execute("SELECT seq FROM event ORDER BY seq")]
        assert events == list(range(1, len(events) + 1))
    assert await Collector(content.blobs, grace_s=0).recount() == 0
    assert not list((folder / "tmp").glob("*"))


async def test_C07_S04_a_crash_anywhere_loses_nothing_that_was_answered(
    folder: Path, mother: subprocess.Popen[str]
) -> None:
    before: dict[int, hammer.State] = {hand: {} for hand in range(hammer.HANDS)}
    for rounds, point in enumerate(POINTS):
        said = hammered(mother, rounds, point)
        content = await open_content(folder, clock=SystemClock())
        try:
            await sound(content, folder)
            right = replayed(said, before, rounds)
            for hand in before:
                now = await hammer.observe(content, hand)
                assert now in right[hand], (point, hand, said[-8:])
                before[hand] = now
                for path, (body, _) in now.items():
                    entry = await content.stat(hammer.caller(hand), f"/{hand}/{path}")
                    assert entry.hash == blake3.blake3(body).hexdigest()
        finally:
            await content.close()
