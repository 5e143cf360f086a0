"""``watch``: what happens to files, as it happens, one line each."""

from __future__ import annotations

import asyncio
import json
import queue
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime

import msgspec
from rich.text import Text

from downstage.cli.content.desk import about, client_of, err, out
from downstage.cli.content.shown import of_url, plain, size_of
from downstage.client.client import Client
from downstage.client.places import Place
from downstage.client.providers.server import ServerProvider
from downstage.client.types import ListEntry, ListEvent, Result
from downstage.client.watching import list_subscribe_with_callback, stat_subscribe_with_callback
from downstage.contracts.content import EventRow
from downstage.kernel.errors import NotSupported, Unavailable
from downstage.kernel.settings import Settings

__all__ = ["event_facts", "event_line", "watch"]

NS = 1_000_000_000
AGAIN_S = 1.0
STYLES = {
    "created": "green",
    "undeleted": "green",
    "updated": "yellow",
    "renamed": "cyan",
    "deleted": "red",
    "obliterated": "red",
}


def event_line(event: EventRow) -> Text:
    """An event for eyes: when, what, which, by whom."""
    at = datetime.fromtimestamp((event.at or time.time_ns()) / NS, UTC).astimezone()
    line = Text(f"{at:%H:%M:%S}  ", "dim")
    line.append(f"{plain(event.kind):<12}", STYLES.get(event.kind, "default"))
    if event.old_path:
        line.append(f"{plain(event.old_path)} → ")
    line.append(plain(event.path))
    entry = event.entry
    if entry is not None and entry.kind == "file" and event.kind in {"created", "updated"}:
        line.append(f"  {size_of(entry.size)}", "dim")
    if event.by:
        line.append(f"  by {plain(event.by)}", "dim")
    return line


def event_facts(event: EventRow) -> dict[str, object]:
    """The same for programs."""
    at = datetime.fromtimestamp((event.at or time.time_ns()) / NS, UTC)
    facts: dict[str, object] = {
        "at": at.isoformat().replace("+00:00", "Z"),
        "event": event.kind,
        "path": event.path,
        "old_path": event.old_path or None,
        "by": event.by or None,
        "seq": event.seq or None,
        "size": event.entry.size if event.entry and event.entry.kind == "file" else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def watch(settings: Settings, url: str, *, recursive: bool, as_json: bool) -> None:
    """Print what happens until Ctrl-C."""
    with client_of(settings) as client, about(url):
        place = client.place(url)
        if client.run(_is_server, place):
            client.run(_follow, place, recursive, as_json)
        elif recursive:
            raise NotSupported("Only content servers tell what happens in all of a tree.")
        else:
            _look_again(client, place, as_json)


async def _is_server(client: Client, place: Place) -> bool:
    return isinstance(await client.provider(place), ServerProvider)


def _print(event: EventRow, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(event_facts(event)), flush=True)
    else:
        out().print(event_line(event))


async def _follow(client: Client, place: Place, recursive: bool, as_json: bool) -> None:
    provider = await client.provider(place)
    entry = await provider.stat(place)
    assert isinstance(provider, ServerProvider)  # noqa: S101 - it was asked before
    scope = "node" if not entry.is_folder else "tree" if recursive else "list"

    def begun() -> None:
        if not as_json:
            below = " and all below it" if scope == "tree" else ""
            err().print(f"Watching {of_url(place.url)}{below}. Ctrl-C ends it.", style="dim")

    async for event in _events(provider, place, scope, begun):
        _print(event, as_json=as_json)


async def _events(
    provider: ServerProvider, place: Place, scope: str, begun: Callable[[], None]
) -> AsyncGenerator[EventRow]:
    """Events, over any number of connections, none lost where the server still has them.

    *begun* is called once, when nothing that happens from now on is missed.
    """
    since: int | None = None
    while True:
        try:
            connection = await provider.connection()
            path = provider.path(place)
            async with connection.opened("subscribe", path, scope, since, returns=int) as stream:
                if since is None:
                    since = stream.body
                    begun()
                async for kind, raw in stream:
                    if kind == "event":
                        event = msgspec.msgpack.decode(raw, type=EventRow)
                        since = event.seq or since
                        yield event
                return
        except Unavailable:
            if since is None:
                raise
            await asyncio.sleep(AGAIN_S)


def _look_again(client: Client, place: Place, as_json: bool) -> None:
    """A place that only tells that something happened: what, a comparison shows."""
    told: queue.Queue[tuple[Result, ListEvent, ListEntry]] = queue.Queue()
    begun: queue.Queue[Result] = queue.Queue()

    def happened(result: Result, event: ListEvent, entry: ListEntry) -> None:
        told.put((result, event, entry))

    if client.run(_is_folder, place):
        request = list_subscribe_with_callback(place.url, lambda r, _: begun.put(r), happened)
    else:
        request = stat_subscribe_with_callback(place.url, lambda r, _: begun.put(r), happened)
    with request:
        begun.get().raise_for_result()
        if not as_json:
            err().print(f"Watching {of_url(place.url)}. Ctrl-C ends it.", style="dim")
        while True:
            result, event, entry = told.get()
            result.raise_for_result()
            path = client.place(entry.url).path if entry.url else place.path
            row = EventRow(0, event.name.lower(), path)
            _print(row, as_json=as_json)


async def _is_folder(client: Client, place: Place) -> bool:
    return (await (await client.provider(place)).stat(place)).is_folder
