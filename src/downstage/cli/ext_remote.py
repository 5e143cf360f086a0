"""Extensions of a platform that runs: told and steered through the operator's port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from downstage.cli.facts import find_platform
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.services import AsyncClient
from downstage.services.transports.http import close_pool

__all__ = ["change_extension", "list_extensions"]

CHANGE_S = 120.0
"""A start has its own deadline, and others may have to start or stop with it."""
COLOURS = {"running": "green", "failed": "bold red", "blocked": "red"}


async def list_extensions(settings: Settings) -> None:
    """Print a table; what failed says why."""
    async with _operator(settings) as client:
        found = await client.extensions.get()
    table = Table(box=None, pad_edge=False)
    names = max([len(item["id"]) for item in found], default=0)
    table.add_column("extension", min_width=names)  # people copy it from here: never cut off
    table.add_column("state", min_width=len("running"))
    table.add_column("start", no_wrap=True)
    table.add_column("from", overflow="fold")
    for item in found:
        took = f"{item['start_ms']:.0f} ms" if item["start_ms"] is not None else ""
        table.add_row(item["id"], _state(item), took, item["source"])
    console = Console(soft_wrap=True)
    console.print(table)
    for item in found:
        _print_trouble(console, item)


async def change_extension(settings: Settings, name: str, deed: str) -> None:
    """Enable, disable or reload; print what became of it.

    Raises:
        SetupError: it does not run afterwards, though it should.
    """
    async with _operator(settings) as client:
        item = await client.extensions[name][deed].post()
    console = Console(soft_wrap=True)
    console.print(f"{item['id']} {_state(item)}")
    _print_trouble(console, item)
    if deed != "disable" and item["state"] != "running":
        raise SetupError(f"{item['id']} does not run: {item['reason']}")


@asynccontextmanager
async def _operator(settings: Settings) -> AsyncGenerator[AsyncClient]:
    facts = find_platform(settings.platform.data)
    if facts is None:
        raise SetupError(
            f"No platform runs on {settings.platform.data.absolute()}. "
            "Start one with: downstage up   (or name its folder with --data)."
        )
    try:
        yield AsyncClient(facts.operator_url, token=facts.token, timeout_s=CHANGE_S)
    finally:
        await close_pool()


def _state(item: Mapping[str, Any]) -> str:
    colour = COLOURS.get(item["state"], "dim")
    return f"[{colour}]{item['state']}[/]"


def _print_trouble(console: Console, item: Mapping[str, Any]) -> None:
    if item["state"] in ("failed", "blocked"):
        console.print(f"\n{item['id']}: {item['reason']}", markup=False, style="red")
    if item["traceback"]:
        console.print(item["traceback"].rstrip(), markup=False, highlight=False, style="dim")
    for key in item["settings_unknown"]:
        console.print(f"{item['id']}: unknown setting {key}", markup=False, style="yellow")
