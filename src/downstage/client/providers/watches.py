"""Following what happens at one of our servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from downstage.client.places import Place
from downstage.client.providers.connection import Stream
from downstage.client.providers.link import Link
from downstage.client.providers.provider import Change
from downstage.client.providers.rows import EVENTS, entry_of, parent_of, place_of
from downstage.client.types import ListEntry, ListEvent
from downstage.contracts.content import EventRow
from downstage.kernel.errors import NotFound

__all__ = ["changes_of"]

GONE = frozenset({"deleted", "obliterated"})


@asynccontextmanager
async def changes_of(
    link: Link, place: Place, path: str, *, children: bool
) -> AsyncGenerator[AsyncIterator[Change]]:
    """What happens to the thing at *path*, or to a folder's children, from now on.

    A thing that is not there is followed from the nearest folder that is.
    """
    connection = await link.connection()
    scope = "list" if children else "node"
    try:
        opened = connection.opened("subscribe", path, scope)
        async with opened as stream:
            follow = _children(stream, place, path) if children else _thing(stream, place, path)
            yield follow
            return
    except NotFound:
        if children:
            raise
    above = parent_of(path)
    while True:
        try:
            async with connection.opened("subscribe", above, "tree") as stream:
                yield _absent(stream, place, path)
                return
        except NotFound:
            if above == "/":
                raise
        above = parent_of(above)


def _again(place: Place) -> Change:
    return Change(ListEvent.UNKNOWN, ListEntry(url=place.url))


async def _events(stream: Stream) -> AsyncGenerator[EventRow]:
    async for kind, raw in stream:
        if kind == "event":
            yield msgspec.msgpack.decode(raw, type=EventRow)


async def _children(stream: Stream, place: Place, path: str) -> AsyncGenerator[Change]:
    async for event in _events(stream):
        if event.kind == "relist":
            yield _again(place)
        elif path in {event.path, event.old_path}:
            if event.kind in GONE or event.kind == "renamed":
                raise NotFound("The folder is gone.")
        elif event.kind == "renamed":
            for change in _renamed(event, place, path):
                yield change
        elif (child := place_of(event, place, path)) is not None:
            yield _change(event, child)


def _renamed(event: EventRow, place: Place, path: str) -> list[Change]:
    found = list[Change]()
    if parent_of(event.old_path) == path:
        old = place.child(event.old_path.rpartition("/")[2])
        found.append(Change(ListEvent.DELETED, ListEntry(relative_path=old.name, url=old.url)))
    if parent_of(event.path) == path and event.entry is not None:
        new = place.child(event.path.rpartition("/")[2])
        found.append(Change(ListEvent.CREATED, entry_of(event.entry, new.name, new.url)))
    return found


def _change(event: EventRow, place: Place) -> Change:
    if event.entry is None:
        kind = EVENTS.get(event.kind, ListEvent.DELETED)
        gone = ListEntry(relative_path=place.name, url=place.url)
        return Change(kind if event.kind in GONE else ListEvent.DELETED, gone)
    entry = entry_of(event.entry, place.name, place.url)
    return Change(EVENTS.get(event.kind, ListEvent.UPDATED), entry)


async def _thing(stream: Stream, place: Place, path: str) -> AsyncGenerator[Change]:
    async for event in _events(stream):
        if event.kind == "relist":
            yield _again(place)
        elif event.kind == "renamed":
            yield _again(place)  # it bears another name: here, there is nothing or another
            return
        elif event.path == path:
            yield _change(event, place)
            if event.kind in GONE:
                return  # whatever comes there next is another thing


async def _absent(stream: Stream, place: Place, path: str) -> AsyncGenerator[Change]:
    async for event in _events(stream):
        for touched in (event.path, event.old_path):
            concerns = touched == path or path.startswith(f"{touched.rstrip('/')}/")
            if event.kind == "relist" or (touched and concerns):
                yield _again(place)
                if event.entry is not None:
                    return
                break
