"""Run the suite and say what came of each line."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from rich.console import Console

from downstage.cli.conformance import foreign, own
from downstage.cli.conformance.target import Check, Failed, Target
from downstage.kernel.errors import SetupError

__all__ = ["GROUPS", "Line", "examine"]

CHECKS: tuple[Check, ...] = (*own.CHECKS, *foreign.CHECKS)
GROUPS = tuple(dict.fromkeys(check.group for check in CHECKS))


@dataclass(frozen=True, slots=True)
class Line:
    """What came of one check; `why` is empty where all is well."""

    group: str
    name: str
    seconds: float
    why: str = ""


async def examine(
    url: str,
    token: str,
    *,
    application: str,
    groups: Sequence[str] = (),
    as_json: bool = False,
    insecure: bool = False,
) -> bool:
    """Examine the gateway at *url*; prints each line, returns whether all are as they should be.

    Args:
        url: its public address.
        token: of somebody who may start sessions there.
        application: one that draws something.
        groups: of `GROUPS`; empty: all.
        as_json: one object a line.
        insecure: take any certificate.

    Raises:
        SetupError: there is no such group.
    """
    unknown = sorted(set(groups) - set(GROUPS))
    if unknown:
        raise SetupError(f"There is no group {', '.join(unknown)}. There are: {', '.join(GROUPS)}.")
    console = Console(highlight=False, soft_wrap=True)
    connector = aiohttp.TCPConnector(ssl=not insecure)
    lines = list[Line]()
    async with aiohttp.ClientSession(connector=connector) as http:
        target = Target(url.rstrip("/"), token, application, http)
        for check in CHECKS:
            if groups and check.group not in groups:
                continue
            with console.status(f"{check.group}: {check.name} …"):
                line = await _run(check, target)
            lines.append(line)
            _print(line, console, as_json=as_json)
    good = sum(not line.why for line in lines)
    if not as_json:
        console.print(f"{good} of {len(lines)} as they should be.")
    return good == len(lines)


async def _run(check: Check, target: Target) -> Line:
    began = time.monotonic()
    try:
        await check.run(target)
        why = ""
    except Failed as failed:
        why = str(failed)
    except (
        aiohttp.ClientError,
        TimeoutError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
    ) as error:
        why = f"the answer is out of form or did not come: {type(error).__name__}: {error}"
    took = time.monotonic() - began
    for session in list(target.made):
        await _tidy(target, session)
    return Line(check.group, check.name, round(took, 2), why[:500])


async def _tidy(target: Target, session: str) -> None:
    try:
        await target.end(session)
    except (Failed, aiohttp.ClientError, TimeoutError):
        target.made.remove(session)


def _print(line: Line, console: Console, *, as_json: bool) -> None:
    if as_json:
        fields = {"group": line.group, "name": line.name, "seconds": line.seconds, "why": line.why}
        print(json.dumps(fields), flush=True)
        return
    mark = "[red]✗[/]" if line.why else "[green]✓[/]"
    console.print(f"{mark} {line.group:<10} {line.name}  [dim]{line.seconds:.1f} s[/]")
    if line.why:
        console.print("    ", end="")
        console.print(line.why, markup=False)
