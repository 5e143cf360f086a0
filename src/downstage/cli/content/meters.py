"""How far a transfer is: bars on a terminal, a line a file elsewhere, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from downstage.cli.content.desk import err
from downstage.cli.content.plan import Plan, Step
from downstage.cli.content.shown import plain, plural, shortened, size_of

__all__ = ["Meter", "meter_of"]

NAME = 32
DONE = {"copy": "copied", "replace": "replaced", "whole folder": "copied", "delete": "deleted"}


class Meter(Protocol):
    """Told of each step; on the client's loop."""

    def begin(self, step: Step) -> None:
        """It has begun."""

    def move(self, step: Step, done: int) -> None:
        """So many of its bytes are there."""

    def end(self, step: Step, *, is_done: bool) -> None:
        """It has ended."""


class _Silence(Meter):
    pass


class _Lines(Meter):
    def __init__(self, console: Console) -> None:
        self._console = console

    def end(self, step: Step, *, is_done: bool) -> None:
        word = DONE.get(step.what)
        if is_done and word:
            size = f" ({size_of(step.size)})" if step.what in {"copy", "replace"} else ""
            self._console.print(f"{word} {plain(step.name)}{size}")


class _Bars(Meter):
    def __init__(self, progress: Progress, plan: Plan) -> None:
        self._progress = progress
        self._bars: dict[Step, TaskID] = {}
        self._done: dict[Step, int] = {}
        self._sum = 0
        count = sum(step.what in {"copy", "replace"} for step in plan.steps)
        self._all = progress.add_task(plural(count, "file"), total=plan.size)

    def begin(self, step: Step) -> None:
        if step.what in {"copy", "replace"}:
            name = shortened(plain(step.name), NAME)
            self._bars[step] = self._progress.add_task(name, total=step.size)

    def move(self, step: Step, done: int) -> None:
        self._sum += done - self._done.get(step, 0)
        self._done[step] = done
        if step in self._bars:
            self._progress.update(self._bars[step], completed=done)
        self._progress.update(self._all, completed=self._sum)

    def end(self, step: Step, *, is_done: bool) -> None:
        if is_done:
            self.move(step, step.size)
        bar = self._bars.pop(step, None)
        if bar is not None:
            self._progress.remove_task(bar)


@contextmanager
def meter_of(plan: Plan, *, quiet: bool) -> Generator[Meter]:
    """What shows how far *plan* is, on standard error."""
    console = err()
    if quiet:
        yield _Silence()
    elif not (console.is_terminal and sys.stderr.isatty()):
        yield _Lines(console)
    else:
        columns = (
            TextColumn("{task.description}", markup=False, justify="right"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield _Bars(progress, plan)
