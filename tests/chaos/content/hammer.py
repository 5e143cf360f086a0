"""Works on a tree until it is killed; says on standard output what it begins and what was answered.

One process that has imported everything forks a child for each death: see `serve`.

Each hand works in a folder of its own, one step after the other, so that at most one step of each
is in doubt when the process dies: ``> hand step`` begins one, ``< hand step`` says that it was
acknowledged. What a step does follows from its number alone: see `Plan`.
"""

from __future__ import annotations

import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import structlog

from downstage.content import removal
from downstage.content.blobs.collect import Collector
from downstage.content.model import Caller
from downstage.content.service import Content, open_content
from downstage.kernel import chaos
from downstage.kernel.clock import SystemClock

HANDS = 3
LARGE = 200_000
"""Bytes of a body from which it is stored as differences, here."""

State = dict[str, tuple[bytes, int]]
"""Contents by path below the hand's folder, with the number of checkpoints."""


def say(line: str) -> None:
    """One write, so that death leaves no half of a line."""
    os.write(1, f"{line}\n".encode())


def caller(hand: int) -> Caller:
    return Caller(f"u-{hand}", f"Hand {hand}", client_id=f"c-{hand}")


def body_of(hand: int, step: int, rounds: int) -> bytes:
    """Small, middling or large; large ones differ little from one another."""
    if step % 3 == 0:
        return b"%d %d %d" % (hand, step, rounds)
    if step % 3 == 1:
        return b"%d %d %d " % (hand, step, rounds) * 12_000
    noise = random.Random(hand).randbytes(600_000)
    return noise[:300_000] + b"%d %d" % (step, rounds) + noise[300_000:]


@dataclass
class Plan:
    """What one step does: to a model of the folder, and to the folder."""

    hand: int
    step: int
    rounds: int
    state: State = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.rounds} {self.hand} {self.step}")
        self.kind = self.random.choice(
            ["write", "write", "write", "write", "rename", "copy", "delete", "checkpoint"]
        )
        folders = sorted({path.split("/")[0] for path in self.state})
        files = sorted(self.state)
        if not files:
            self.kind = "write"
        self.folder = self.random.choice(folders or ["a"])
        self.file = self.random.choice(files or ["a/f"])
        self.new = f"{self.random.choice('abcd')}{self.step}r{self.rounds}"
        if self.kind == "write" and (not files or self.random.random() < 0.4):
            self.file = f"{self.random.choice('abc')}/{self.random.choice('fgh')}"

    def after(self) -> State:
        """The model when the step was done."""
        state = dict(self.state)
        inside = {p: v for p, v in state.items() if p.startswith(self.folder + "/")}
        if self.kind == "write":
            state[self.file] = (
                body_of(self.hand, self.step, self.rounds),
                state.get(self.file, (b"", 0))[1],
            )
        elif self.kind == "checkpoint":
            body, count = state[self.file]
            state[self.file] = (body, count + 1)
        else:
            rest = {self.new + path.removeprefix(self.folder): v for path, v in inside.items()}
            if self.kind in {"rename", "delete"}:
                state = {p: v for p, v in state.items() if p not in inside}
            if self.kind == "rename":
                state |= rest
            if self.kind == "copy":
                state |= {path: (body, 0) for path, (body, _) in rest.items()}
        return state

    async def do(self, content: Content) -> None:
        who, base = caller(self.hand), f"/{self.hand}/"
        match self.kind:
            case "write":
                await content.write(
                    who, base + self.file, body_of(self.hand, self.step, self.rounds)
                )
            case "checkpoint":
                await content.checkpoint(who, base + self.file, "why", force=True)
            case "rename":
                await content.move(who, base + self.folder, base + self.new)
            case "copy":
                await content.copy(who, base + self.folder, base + self.new)
            case _:
                await content.delete(who, base + self.folder)


async def observe(content: Content, hand: int) -> State:
    """The model of what is there."""
    who, state = caller(hand), State()
    page = await content.list(who, "/", recursive=True, limit=10_000)
    for entry in page.entries:
        if entry.kind == "file" and entry.path.startswith(f"/{hand}/"):
            async with await content.read(who, entry.path) as reading:
                body = b"".join([piece async for piece in reading.pieces()])
            count = len(await content.checkpoints(who, entry.path))
            state[entry.path.removeprefix(f"/{hand}/")] = (body, count)
    return state


async def work(content: Content, hand: int, rounds: int, steps: int) -> None:
    state = await observe(content, hand)
    for step in range(steps):
        plan = Plan(hand, step, rounds, state)
        say(f"> {hand} {step}")
        await plan.do(content)
        say(f"< {hand} {step}")
        state = plan.after()


async def collect(content: Content) -> None:
    collector = Collector(content.blobs, grace_s=0)
    while True:
        await content.database.write(lambda db: removal.sweep_deleted(db, time.time_ns(), 100))
        await collector.collect(int(time.time()) + 2)
        await anyio.sleep(0.02)


async def main(folder: str, rounds: int, steps: int) -> None:
    content = await open_content(Path(folder), clock=SystemClock())
    content.blobs._large = LARGE
    async with anyio.create_task_group() as all_of_it:
        all_of_it.start_soon(collect, content)
        async with anyio.create_task_group() as hands:
            for hand in range(HANDS):
                hands.start_soon(work, content, hand, rounds, steps)
        all_of_it.cancel_scope.cancel()
    await content.close()
    say("done")


def serve(folder: str, steps: int) -> None:
    """For each line ``round point`` on standard input a child that works until it dies there."""
    # Death may leave half a line of the log: none of it where whole lines are spoken.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for line in sys.stdin:
        rounds, point = line.split()
        child = os.fork()
        if child == 0:
            name, _, count = point.partition(":")
            chaos._plan = {name: int(count)}
            anyio.run(main, folder, int(rounds), steps)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        say(f"= {status}")


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
