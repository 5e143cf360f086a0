"""Subscriptions: what is there now, then what happens to it, until they are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from downstage.client.client import Client, default_client
from downstage.client.logs import log_error
from downstage.client.operations.listing import resolve
from downstage.client.outcome import result_of
from downstage.client.places import Place
from downstage.client.providers.provider import Change, Provider
from downstage.client.request import Request
from downstage.client.types import ChannelEvent, Content, ListEntry, ListEvent, Result
from downstage.kernel.errors import Forbidden, NotFound, PlatformError, Unavailable

__all__ = [
    "join_channel_with_callback",
    "list_subscribe_with_callback",
    "resolve_subscribe_with_callback",
    "stat_subscribe_with_callback",
]

Told = Callable[[Result, ListEvent, ListEntry], Any]
AGAIN_S = 1.0
"""Seconds before a connection that broke is tried again."""


def list_subscribe_with_callback(
    url: str,
    list_callback: Callable[[Result, tuple[ListEntry, ...]], Any],
    subscribe_callback: Callable[[Result, ListEvent, ListEntry], Any],
) -> Request:
    """List a folder, then tell what happens to the things in it.

    Args:
        url: of the folder.
        list_callback: gets the listing once.
        subscribe_callback: gets each event; with ERROR_ACCESS_LOST the last one, where the
            folder is gone or may no longer be seen.
    """
    client = default_client()

    async def work(request: Request) -> None:
        watcher = _Watcher(client, request, subscribe_callback)
        await watcher.folder(client.place(url), list_callback)

    return client.start(work, lambda value: _ended(value, subscribe_callback))


def stat_subscribe_with_callback(
    url: str,
    stat_callback: Callable[[Result, ListEntry], Any],
    subscribe_callback: Callable[[Result, ListEvent, ListEntry], Any],
) -> Request:
    """Say what a thing is, then tell what happens to it.

    Args:
        url: of the thing.
        stat_callback: gets its entry once; OK_NOT_YET_FOUND where there is nothing yet.
        subscribe_callback: gets each event; CREATED once it is there.
    """
    client = default_client()

    async def work(request: Request) -> None:
        watcher = _Watcher(client, request, subscribe_callback)
        await watcher.thing(client.place(url), stat_callback)

    return client.start(work, lambda value: _ended(value, subscribe_callback))


def resolve_subscribe_with_callback(
    url: str,
    search_urls: Sequence[str],
    resolve_callback: Callable[[Result, ListEntry, str], Any],
    subscribe_callback: Callable[[Result, ListEvent, ListEntry, str], Any],
) -> Request:
    """Find a file in several places, then tell what happens to it where it was found.

    Args:
        url: relative, or whole.
        search_urls: where to look, before the default search paths.
        resolve_callback: gets the entry and its address once.
        subscribe_callback: gets each event, and the address.
    """
    client = default_client()
    found = url

    def told(result: Result, event: ListEvent, entry: ListEntry) -> None:
        subscribe_callback(result, event, entry, found)

    async def work(request: Request) -> None:
        nonlocal found
        try:
            entry, found = await resolve(client, url, search_urls)
        except PlatformError as error:
            result = result_of(error)
            await _call(client, request, lambda: resolve_callback(result, ListEntry(), ""))
            return
        await _call(client, request, lambda: resolve_callback(Result.OK, entry, found))
        watcher = _Watcher(client, request, told)
        watcher.seen(entry)
        await watcher.thing(client.place(found), lambda _result, _entry: None)

    return client.start(work, lambda value: _ended(value, told))


def join_channel_with_callback(
    url: str, callback: Callable[[Result, ChannelEvent, str, Content], Any]
) -> Request:
    """Join a channel, and hear what others say until the request is stopped.

    Args:
        url: of the channel; one that is not there is made.
        callback: gets result, event, who, content; ERROR or DELETED is the last. Who joins hears
            a HELLO of each who is there already; they hear a JOIN.
    """
    client = default_client()

    async def work(request: Request) -> None:
        place = client.place(url)
        joined = client.channels[request.id] = asyncio.get_running_loop().create_future()
        try:
            provider = await client.provider(place)
            async with provider.join_channel(place) as channel:
                joined.set_result(channel)
                async for event, sender, content in channel:
                    await _call(
                        client,
                        request,
                        lambda e=event, s=sender, c=content: callback(Result.OK, e, s, c),
                    )
                    if event is ChannelEvent.DELETED:
                        return
        finally:
            client.channels.pop(request.id, None)
            joined.cancel()

    def ended(value: Any) -> None:
        if isinstance(value, BaseException):
            if not isinstance(value, PlatformError):
                log_error("client.channel_failed", value)
            callback(result_of(value), ChannelEvent.ERROR, "", Content())

    return client.start(work, ended)


class _Watcher:
    """Keeps what was seen last, so that a change can be named whatever the provider tells."""

    def __init__(
        self,
        client: Client,
        request: Request,
        callback: Callable[[Result, ListEvent, ListEntry], Any],
    ) -> None:
        self._client = client
        self._request = request
        self._callback = callback
        self._known: dict[str, ListEntry] = {}
        self._is_first = True

    def seen(self, entry: ListEntry) -> None:
        """Tell what changed since *entry* was seen, and nothing first."""
        self._known, self._is_first = {"": entry}, False

    async def folder(
        self, place: Place, first: Callable[[Result, tuple[ListEntry, ...]], Any]
    ) -> None:
        """List, then follow."""
        provider = await self._client.provider(place)

        async def look() -> dict[str, ListEntry]:
            return {entry.relative_path: entry for entry in await provider.entries(place)}

        def begin() -> None:
            first(Result.OK, tuple(self._known.values()))

        try:
            await self._follow(provider, place, look, begin, children=True)
        except PlatformError as error:
            await self._failed(error, lambda result: first(result, ()))

    async def thing(self, place: Place, first: Callable[[Result, ListEntry], Any]) -> None:
        """Stat, then follow."""
        provider = await self._client.provider(place)

        async def look() -> dict[str, ListEntry]:
            try:
                return {"": await provider.stat(place)}
            except NotFound:
                return {}

        def begin() -> None:
            entry = self._known.get("")
            if entry is None:
                first(Result.OK_NOT_YET_FOUND, ListEntry(url=place.url))
            else:
                first(Result.OK, entry)

        try:
            await self._follow(provider, place, look, begin, children=False)
        except PlatformError as error:
            await self._failed(error, lambda result: first(result, ListEntry(url=place.url)))

    async def _failed(self, error: PlatformError, first: Callable[[Result], Any]) -> None:
        if self._is_first:
            result = result_of(error)
            await _call(self._client, self._request, lambda: first(result))
            return
        is_lost = isinstance(error, NotFound | Forbidden)
        result = Result.ERROR_ACCESS_LOST if is_lost else result_of(error)
        await self._tell(ListEvent.UNKNOWN, ListEntry(), result)

    async def _follow(
        self,
        provider: Provider,
        place: Place,
        look: Callable[[], Any],
        begin: Callable[[], None],
        *,
        children: bool,
    ) -> None:
        while True:
            has_changed = False
            try:
                async with provider.watch(place, children=children) as changes:
                    if self._is_first:
                        self._known = await look()
                        await _call(self._client, self._request, begin)
                        self._is_first = False
                    else:
                        await self._compare(await look())
                    async for change in changes:
                        has_changed = True
                        await self._take(change, look, children=children)
            except Unavailable:
                if self._is_first:
                    raise
            if not has_changed:
                await asyncio.sleep(AGAIN_S)

    async def _take(self, change: Change, look: Callable[[], Any], *, children: bool) -> None:
        if change.event is ListEvent.UNKNOWN:
            await self._compare(await look())
            return
        key = change.entry.relative_path if children else ""
        if change.event in {ListEvent.DELETED, ListEvent.OBLITERATED}:
            self._known.pop(key, None)
        else:
            self._known[key] = change.entry
        await self._tell(change.event, change.entry)

    async def _compare(self, now: dict[str, ListEntry]) -> None:
        before, self._known = self._known, now
        for key, entry in now.items():
            old = before.pop(key, None)
            if old is None:
                await self._tell(ListEvent.CREATED, entry)
            elif old.version != entry.version:
                await self._tell(ListEvent.UPDATED, entry)
            elif old != entry:
                await self._tell(ListEvent.METADATA, entry)
        for entry in before.values():
            await self._tell(ListEvent.DELETED, entry)

    async def _tell(self, event: ListEvent, entry: ListEntry, result: Result = Result.OK) -> None:
        await _call(self._client, self._request, lambda: self._callback(result, event, entry))


async def _call(client: Client, request: Request, function: Callable[[], Any]) -> None:
    """Run *function* on the callback thread unless the request is stopped; keep its pace."""

    def run() -> None:
        if request.may_call(is_last=False):
            function()

    await client.engine.called_back(run)


def _ended(value: Any, callback: Callable[[Result, ListEvent, ListEntry], Any]) -> None:
    if isinstance(value, PlatformError):
        callback(result_of(value), ListEvent.UNKNOWN, ListEntry())
    elif isinstance(value, BaseException):
        log_error("client.subscription_failed", value)
        callback(Result.ERROR, ListEvent.UNKNOWN, ListEntry())
