"""Keys in S3's order: the tree walked so that ``a.txt`` comes before what lies in ``a``.

S3 sorts whole keys by their bytes, and clients that compare two listings rely on it. A folder's
name counts there as ``name/``, so each folder waits until no name that sorts before that can come.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downstage.content.dialects.s3_visit import IMPLIED, path_of
from downstage.content.dialects.webdav_props import known_properties
from downstage.content.model import Caller, Entry
from downstage.content.names import MAX_NAME
from downstage.kernel.errors import BadUrl, NotFound, WrongType

if TYPE_CHECKING:
    from downstage.content.service import Content

__all__ = ["MAX_KEYS", "Item", "Listing", "Wish", "page_of", "walk"]

MAX_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Item:
    """A key, or where `entry` is None a common prefix of several."""

    key: str
    entry: Entry | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be listed."""

    prefix: str
    delimiter: str
    after: str
    """Only keys behind this one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A page."""

    items: list[Item]
    truncated: bool


@dataclass(slots=True)
class _Walk:
    content: Content
    caller: Caller
    wish: Wish

    async def level(self, path: str, base: str) -> AsyncGenerator[Item]:
        """What is in the folder *path*, whose keys begin with *base*."""
        waiting: list[tuple[str, str, Entry]] = []
        for entry in await self._shorter(path, base):
            heapq.heappush(waiting, (f"{base}{entry.name}/", entry.path, entry))
        async for entry in self._entries(path, base):
            key = base + entry.name
            if key > self.wish.prefix and not key.startswith(self.wish.prefix):
                break  # nothing behind it begins with the prefix
            async for item in self._flush(waiting, key):
                yield item
            if entry.kind != "file":
                heapq.heappush(waiting, (key + "/", entry.path, entry))
            elif key > self.wish.after and key.startswith(self.wish.prefix):
                yield Item(key, entry)
        async for item in self._flush(waiting, None):
            yield item

    async def _flush(
        self, waiting: list[tuple[str, str, Entry]], upto: str | None
    ) -> AsyncGenerator[Item]:
        while waiting and (upto is None or waiting[0][0] <= upto):
            key, path, entry = heapq.heappop(waiting)
            if self._leads_on(key):
                async with aclosing(self._folder(key, path, entry)) as items:
                    async for item in items:
                        yield item

    def _leads_on(self, key: str) -> bool:
        """Whether something that is wanted may be in the folder *key*."""
        wish = self.wish
        within = key.startswith(wish.prefix) or wish.prefix.startswith(key)
        return within and (key > wish.after or wish.after.startswith(key))

    async def _folder(self, key: str, path: str, entry: Entry) -> AsyncGenerator[Item]:
        wish = self.wish
        collapses = wish.delimiter == "/" and key.startswith(wish.prefix)
        if collapses and key == wish.after:
            return
        if collapses and not wish.after.startswith(key):
            yield Item(key, None)
            return
        found = False
        async with aclosing(self.level(path, key)) as items:
            async for item in items:
                found = True
                yield Item(key, None) if collapses else item
                if collapses:
                    return
        if not found and await self.is_marker(key, entry):
            yield Item(key, entry)

    async def is_marker(self, key: str, entry: Entry) -> bool:
        """Whether an empty folder is a key of its own: somebody made it."""
        if key <= self.wish.after or not key.startswith(self.wish.prefix):
            return False
        try:
            page = await self.content.list(self.caller, entry.path, limit=1)
        except (NotFound, WrongType):
            return False
        known = await known_properties(self.content, self.caller, entry.path)
        return not page.entries and IMPLIED not in known

    def _start(self, base: str) -> str:
        """The first name that may be wanted in the folder of *base*."""
        names = [
            text[len(base) :].partition("/")[0]
            for text in (self.wish.prefix, self.wish.after)
            if text.startswith(base)
        ]
        return max(names, default="")

    async def _entries(self, path: str, base: str) -> AsyncGenerator[Entry]:
        start = self._start(base)
        if start:
            first = await self._child(path, start)
            if first is not None:
                yield first
        after = start
        while True:
            try:
                page = await self.content.list(self.caller, path, after=after)
            except (NotFound, WrongType):  # it went away meanwhile
                return
            for entry in page.entries:
                yield entry
            if not page.next:
                return
            after = page.next

    async def _shorter(self, path: str, base: str) -> list[Entry]:
        """Folders whose names come before the first that is wanted, but whose keys do not."""
        start = self._start(base)
        found: list[Entry] = []
        for length in range(1, min(len(start), MAX_NAME + 1)):
            if start[length] < "/":
                entry = await self._child(path, start[:length])
                if entry is not None and entry.kind != "file":
                    found.append(entry)
        return found

    async def _child(self, path: str, name: str) -> Entry | None:
        try:
            return await self.content.stat(self.caller, f"{path}/{name}")
        except (BadUrl, NotFound, WrongType):
            return None


async def walk(content: Content, caller: Caller, bucket: str, wish: Wish) -> AsyncGenerator[Item]:
    """Every key of a bucket that is wanted, in order; common prefixes for the delimiter ``/``."""
    folder, slash, _ = wish.prefix.rpartition("/")
    base = folder + slash
    run = _Walk(content, caller, wish)
    try:
        path = path_of(bucket, base)
        top = await content.stat(caller, path)
    except (BadUrl, NotFound, WrongType):
        return
    if top.kind == "file":
        return
    if base and wish.prefix == base and await run.is_marker(base, top):
        yield Item(base, top)
    async with aclosing(run.level(path, base)) as items:
        async for item in items:
            yield item


async def page_of(content: Content, caller: Caller, bucket: str, wish: Wish, most: int) -> Listing:
    """At most *most* keys and common prefixes."""
    found: list[Item] = []
    if most == 0:
        return Listing(found, truncated=False)
    async with aclosing(walk(content, caller, bucket, wish)) as items:
        async for item in items:
            told = _collapsed(item, wish)
            if told.entry is None and (told.key == wish.after or (found and found[-1] == told)):
                continue
            if len(found) == most:
                return Listing(found, truncated=True)
            found.append(told)
    return Listing(found, truncated=False)


def _collapsed(item: Item, wish: Wish) -> Item:
    """The common prefix that stands for *item*, where there is one."""
    if not wish.delimiter or item.entry is None:
        return item
    at = item.key.find(wish.delimiter, len(wish.prefix))
    return item if at < 0 else Item(item.key[: at + len(wish.delimiter)], None)
