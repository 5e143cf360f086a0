"""``cp``, ``sync`` and ``mv``: a plan shown or carried out by several workers at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from downstage.cli.content.desk import about, client_of, detail_of, err, out
from downstage.cli.content.meters import Meter, meter_of
from downstage.cli.content.plan import Plan, Step
from downstage.cli.content.planning import Wish, plan_copy, plan_sync, targets_of, whole
from downstage.cli.content.shown import of_url, plain, plural, size_of
from downstage.client.client import Client
from downstage.client.operations import copying, writing
from downstage.client.operations.transferring import transfer_file
from downstage.client.places import Place
from downstage.client.types import CopyBehavior
from downstage.kernel.errors import (
    AlreadyExists,
    OutOfSpace,
    PlatformError,
    Unauthenticated,
    Unavailable,
)
from downstage.kernel.settings import Settings

__all__ = ["Manner", "copy", "move", "sync"]

FOR_ALL = (OutOfSpace, Unauthenticated, Unavailable)
"""Errors after which no other file has a chance either."""
SIGNS = {"folder": "+", "copy": "+", "whole folder": "+", "replace": "~", "delete": "-"}
STYLES = {"+": "green", "~": "yellow", "-": "red"}


@dataclass(frozen=True, slots=True)
class Manner:
    """How transfers are done."""

    parallel: int = 4
    quiet: bool = False
    dry_run: bool = False
    message: str = ""


@dataclass(slots=True)
class _Outcome:
    done: list[Step] = field(default_factory=list[Step])
    failed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    is_over: bool = False
    """Something failed that would fail again for every other file."""


def copy(
    settings: Settings, sources: Sequence[str], target: str, wish: Wish, manner: Manner
) -> bool:
    """Copy; whether all went well."""
    with client_of(settings) as client, about_interrupt(manner):
        plan = client.run(_copying, sources, target, wish)
        return _carry_out(client, plan, manner)


async def _copying(client: Client, sources: Sequence[str], target: str, wish: Wish) -> Plan:
    plan = Plan()
    with about(target):
        pairs = await targets_of(client, sources, target)
    for source, goal in pairs:
        try:
            found = await plan_copy(client, source, goal, wish)
        except (*FOR_ALL, AlreadyExists) as error:
            if len(pairs) == 1 or not isinstance(error, AlreadyExists):
                raise
            plan.problems.append(("", error.detail))
            continue
        if len(pairs) > 1:
            found = _under(goal.name, found)
        plan.add(found)
    return plan


def _under(name: str, plan: Plan) -> Plan:
    """The plan of one of several sources, with its name in front of what is in it."""
    from dataclasses import replace

    def named(inner: str) -> str:
        return inner if inner == name or not inner else f"{name}/{inner}"

    steps = [replace(step, name=named(step.name)) for step in plan.steps]
    problems = [(named(inner), why) for inner, why in plan.problems]
    notes = [(named(inner), why) for inner, why in plan.notes]
    return Plan(steps, plan.same, plan.same_size, problems, notes)


def sync(settings: Settings, source: str, target: str, wish: Wish, manner: Manner) -> bool:
    """Make one folder like another; whether all went well."""
    with client_of(settings) as client, about_interrupt(manner):
        with about(source):
            plan = client.run(_syncing, source, target, wish)
        return _carry_out(client, plan, manner)


async def _syncing(client: Client, source: str, target: str, wish: Wish) -> Plan:
    return await plan_sync(client, client.place(source), client.place(target), wish)


def move(
    settings: Settings, sources: Sequence[str], target: str, *, overwrite: bool, manner: Manner
) -> bool:
    """Move; inside one server nothing is copied."""
    console = out()
    with client_of(settings) as client, about_interrupt(manner):
        with about(target):
            pairs = client.run(targets_of, sources, target)
        for source, goal in pairs:
            if manner.dry_run:
                console.print(f"would move {of_url(source.url)} to {of_url(goal.url)}")
            elif client.run(_shares_server, source, goal):
                with about(source.url):
                    client.run(_moved, source, goal, overwrite, manner.message)
                if not manner.quiet:
                    err().print(f"moved {of_url(source.url)} to {of_url(goal.url)}")
            elif not _carried_over(client, source, goal, overwrite=overwrite, manner=manner):
                return False
    return True


async def _shares_server(client: Client, source: Place, target: Place) -> bool:
    return await client.provider(source) is await client.provider(target)


async def _moved(
    client: Client, source: Place, target: Place, overwrite: bool, message: str
) -> None:
    behavior = CopyBehavior.OVERWRITE if overwrite else CopyBehavior.ERROR_IF_EXISTS
    await copying.move(client, whole(source), target.url, behavior, message)


def _carried_over(
    client: Client, source: Place, target: Place, *, overwrite: bool, manner: Manner
) -> bool:
    """Copied whole, and only then removed where it was."""
    wish = Wish(recursive=True, overwrite=overwrite)
    plan = client.run(plan_copy, source, target, wish)
    if plan.notes:
        plan.problems += [(name, f"It is {why}; it stays here.") for name, why in plan.notes]
    if plan.problems or not _carry_out(client, plan, manner):
        _tell_problems(plan.problems)
        err().print(f"{of_url(source.url)} is left as it was.", style="red")
        return False
    client.run(writing.delete, whole(source))
    return True


class about_interrupt:  # noqa: N801 - reads as a sentence where it is used
    """Say on Ctrl-C that nothing is lost."""

    def __init__(self, manner: Manner) -> None:
        self._quiet = manner.quiet or manner.dry_run

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt and not self._quiet:
            err().print("\nInterrupted. The same command goes on where this one stopped.")


def _carry_out(client: Client, plan: Plan, manner: Manner) -> bool:
    if manner.dry_run:
        _show(plan)
        _tell_problems(plan.problems)
        return not plan.problems
    if plan.problems and any(step.what == "delete" for step in plan.steps):
        # What could not be read might be what the target has.
        plan.steps = [step for step in plan.steps if step.what != "delete"]
        plan.notes.append(("", "Nothing is deleted, since something could not be copied."))
    began = time.monotonic()
    with meter_of(plan, quiet=manner.quiet) as meter:
        outcome = client.run(_work, plan, manner, meter)
    outcome.failed[:0] = plan.problems
    if not manner.quiet:
        for name, why in plan.notes:
            err().print(f"left out: {plain(name)} ({why})" if name else why, style="yellow")
        err().print(_summary(plan, outcome, time.monotonic() - began))
    _tell_problems(outcome.failed)
    return not outcome.failed


def _show(plan: Plan) -> None:
    console = out()
    for step in plan.steps:
        sign = SIGNS[step.what]
        slash = "/" if step.what in {"folder", "whole folder"} else ""
        line = Text(f"{sign} ", STYLES[sign]).append(plain(step.name) + slash, "default")
        if step.what in {"copy", "replace"}:
            line.append(f"  {size_of(step.size)}", "dim")
        console.print(line)
    for name, why in plan.notes:
        console.print(Text(f"  {plain(name)}  left out: {why}" if name else f"  {why}", "yellow"))
    moved = [step for step in plan.steps if step.what in {"copy", "replace"}]
    gone = sum(step.what == "delete" for step in plan.steps)
    text = f"Would copy {plural(len(moved), 'file')} ({size_of(plan.size)})"
    text += f", delete {gone:,}" if gone else ""
    text += f"; {plural(plan.same, 'file')} there already" if plan.same else ""
    console.print(Text(f"{text}. Nothing was done.", "dim"))


def _summary(plan: Plan, outcome: _Outcome, seconds: float) -> str:
    moved = [step for step in outcome.done if step.what in {"copy", "replace"}]
    folders = sum(step.what == "whole folder" for step in outcome.done)
    gone = sum(step.what == "delete" for step in outcome.done)
    total = sum(step.size for step in moved)
    parts = list[str]()
    if moved:
        speed = f", {size_of(int(total / seconds))}/s" if seconds > 1 else ""
        parts.append(f"{plural(len(moved), 'file')} copied ({size_of(total)}{speed})")
    if folders:
        parts.append(f"{plural(folders, 'folder')} copied by the server itself")
    if gone:
        parts.append(f"{gone:,} deleted")
    if plan.same:
        parts.append(f"{plural(plan.same, 'file')} there already ({size_of(plan.same_size)})")
    if outcome.failed:
        parts.append(f"{len(outcome.failed):,} failed")
    return ("; ".join(parts) or "Nothing to do") + "."


def _tell_problems(problems: Sequence[tuple[str, str]]) -> None:
    console = err()
    for name, why in problems:
        console.print(f"{plain(name)}: {why}" if name else why, style="red")


async def _work(client: Client, plan: Plan, manner: Manner, meter: Meter) -> _Outcome:
    """Folders, then files by several workers, then what is to go."""
    outcome = _Outcome()
    first = [step for step in plan.steps if step.what in {"folder", "whole folder"}]
    files = [step for step in plan.steps if step.what in {"copy", "replace"}]
    last = [step for step in plan.steps if step.what == "delete"]
    for steps, workers in ((first, manner.parallel), (files, manner.parallel), (last, 1)):
        if steps is last and outcome.failed:
            break
        waiting = iter(steps)
        job = (client, waiting, manner.message, meter, outcome)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(workers, len(steps))):
                tasks.create_task(_worker(*job))
    return outcome


async def _worker(
    client: Client, waiting: Iterator[Step], message: str, meter: Meter, outcome: _Outcome
) -> None:
    for step in waiting:
        if outcome.is_over:
            return
        meter.begin(step)
        is_done = False
        try:
            await _do(client, step, message, meter)
            is_done = True
            outcome.done.append(step)
        except PlatformError as error:
            outcome.is_over = outcome.is_over or isinstance(error, FOR_ALL)
            outcome.failed.append(("", detail_of(error, step.target.url)))
        finally:
            meter.end(step, is_done=is_done)


async def _do(client: Client, step: Step, message: str, meter: Meter) -> None:
    if step.what == "folder":
        await _make_folder(client, step.target)
    elif step.what == "delete":
        await writing.delete(client, step.target.url)
    elif step.source is not None and step.what == "whole folder":
        await copying.copy_folder(client, step.source.url, step.target.url, message=message)
    elif step.source is not None:

        def moved(done: int, _: int) -> None:
            meter.move(step, done)

        await transfer_file(client, step.source, step.target, message, moved)


async def _make_folder(client: Client, place: Place) -> None:
    provider = await client.provider(place)
    try:
        await provider.create_folder(place)
    except AlreadyExists:
        if not (await provider.stat(place)).is_folder:
            raise
