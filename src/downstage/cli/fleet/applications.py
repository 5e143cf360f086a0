"""``downstage app …``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import anyio.to_thread
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from downstage.cli.fleet.desk import At, server
from downstage.cli.fleet.packing import digest_of, pack, pieces

__all__ = ["list_applications", "publish", "remove", "set_published", "show_application"]

INSTANT = 4 << 20
"""Bytes whose upload needs no progress bar."""


async def list_applications(at: At | None, *, as_json: bool) -> None:
    """Print the catalogue."""
    async with server(at) as client:
        items = (await client.v1.catalogue.applications.get())["items"]
    if as_json:
        print("\n".join(json.dumps(item) for item in items))
        return
    table = Table("application", "title", "latest", "versions", "profiles", "source", "note")
    for item in items:
        versions: list[dict[str, Any]] = item["versions"]
        profiles: list[dict[str, Any]] = versions[0]["profiles"] if versions else []
        table.add_row(
            item["name"],
            item["title"],
            str(item["latest"] or "–"),
            ", ".join(f"{v['number']}{'' if v['published'] else ' (draft)'}" for v in versions[:5]),
            ", ".join(str(profile["name"]) for profile in profiles),
            item["source"],
            (item.get("unavailable") or item.get("error") or "")[:80],
        )
    Console().print(table)


async def show_application(at: At | None, name: str) -> None:
    """Print all that is known of one, as JSON."""
    async with server(at) as client:
        found = await client.v1.catalogue.applications[name].get()
    print(json.dumps(found, indent=2))


async def publish(at: At | None, source: Path, *, name: str | None, draft: bool) -> None:
    """Publish a folder or an archive; a further version where there is one of that name."""
    console = Console(stderr=True)
    with tempfile.TemporaryFile() as archive:
        with console.status(f"Packing {source} …"):
            await anyio.to_thread.run_sync(pack, source, archive)
            digest = await anyio.to_thread.run_sync(digest_of, archive)
        headers = {"Downstage-Digest": digest, "Downstage-Publish": "no" if draft else "yes"}
        async with server(at) as client:
            target: Any = client.v1.catalogue.applications
            post = target.post if name is None else target[name].versions.post
            version = await post(_shown(archive, console), __headers__=headers)
    state = "a draft" if draft else "published"
    console.print(f"{version['application']} {version['number']} is {state}.")
    print(f"{version['application']}:{version['number']}")


async def _shown(archive: IO[bytes], console: Console) -> AsyncIterator[bytes]:
    """The archive's bytes, with a bar for long ones."""
    size = archive.seek(0, 2)
    columns = (TextColumn("Uploading"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, disable=size < INSTANT, transient=True) as progress:
        task = progress.add_task("upload", total=size)
        async for piece in pieces(archive):
            progress.advance(task, len(piece))
            yield piece


async def set_published(at: At | None, name: str, number: int, *, published: bool) -> None:
    """Publish a version, or take that back."""
    async with server(at) as client:
        version = client.v1.catalogue.applications[name].versions[str(number)]
        await version.patch(published=published)
    Console().print(f"{name} {number} is {'published' if published else 'a draft'}.")


async def remove(at: At | None, name: str, number: int | None, *, force: bool) -> None:
    """Remove an application, or one version of it."""
    async with server(at) as client:
        target: Any = client.v1.catalogue.applications[name]
        if number is not None:
            target = target.versions[str(number)]
        await target.delete(force=force)
    Console().print(f"{name}{'' if number is None else f' {number}'} is removed.")
