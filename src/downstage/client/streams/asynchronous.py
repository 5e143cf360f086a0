"""The client of streams for event loops."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from downstage.client.streams.address import open_http
from downstage.client.streams.api import Api, path_of
from downstage.client.streams.consuming import AsyncConsumer
from downstage.client.streams.model import (
    ConsumerInfo,
    Entry,
    Gap,
    Receipt,
    Retention,
    StreamInfo,
    Ticket,
)
from downstage.client.streams.outgoing import Sizes
from downstage.client.streams.places import NOW, Places, Start, before, id_of
from downstage.client.streams.pulling import AsyncPull, Wanted
from downstage.client.streams.pushing import AsyncPush, Manner
from downstage.client.streams.recording import AsyncRecordings
from downstage.client.streams.rows import Row, entry_of
from downstage.kernel.errors import NotFound

__all__ = ["AsyncClient"]

PATIENCE_S = 300.0
PAGE = 1000
Durability = Literal["memory", "everysec", "always", "replicated"]
How = Literal["nearest", "previous", "interpolate"]


class _Names(msgspec.Struct):
    items: list[str]
    next: str | None = None


class _Moment(msgspec.Struct):
    items: dict[str, Row | None]


class _Removed(msgspec.Struct):
    removed: int


class _Consumers(msgspec.Struct):
    items: list[ConsumerInfo]


class AsyncClient:
    """Streams of one server: ``async with AsyncClient(url) as client``.

    Args:
        url: ``http(s)://host[:port]``; None: the platform that runs on this machine.
        token: who one is; None: ``DOWNSTAGE_TOKEN``, the file that ``DOWNSTAGE_TOKEN_FILE`` names,
            or, at a platform of this user on this machine, its operator's.
        patience_s: seconds for which readers and publishers wait for a server that is away.

    Attributes:
        recordings: recordings and replays.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        self._http = open_http(url, token)
        self._api = Api(self._http)
        self._patience_s = patience_s
        self._open = builtins.list[AsyncPull | AsyncPush]()
        self.recordings = AsyncRecordings(self._api)

    @property
    def url(self) -> str:
        """Of the server."""
        return self._http.origin.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End readers and publishers, and every connection."""
        opened, self._open = self._open, []
        for one in opened:
            await one.close()
        await self._http.close()

    # --- entries ---------------------------------------------------------------------------------

    def pull(
        self,
        *streams: str | Sequence[str],
        last: Start | Mapping[str, Start] = NOW,
        count: int | None = None,
        latest: bool = False,
        max_fps: float | None = None,
        sync: str | None = None,
        timeout: float | None = None,
        decode: bool = False,
        on_gap: Callable[[Gap], object] | None = None,
    ) -> AsyncPull:
        """Entries of streams as they come: ``async for entry in client.pull("cam")``.

        After an outage it goes on where it was: nothing is missing, nothing comes twice, as long
        as the streams keep what came meanwhile.

        Args:
            streams: names, and patterns such as ``camera-*``, whose streams join as they are made.
            last: where to begin: ``$`` with what comes from now on, ``-`` with the newest entry,
                ``0`` with the oldest, after an id, after a time; or one of these for each stream.
            count: end after so many.
            latest: when this reader is slow, rather skip entries than be late.
            max_fps: of each stream at most so many a second.
            sync: a stream; after each of its entries come no older ones of the others.
            timeout: end after so many seconds without an entry.
            decode: have `Entry.value` ready: it is decoded in a thread, not on the loop.
            on_gap: hears of entries that are missing. Without it they are logged, and a reader
                that has fallen behind what is kept ends with `Lagged`.
        """
        wanted = Wanted(
            count=count,
            latest=latest,
            max_fps=max_fps,
            sync=sync,
            timeout_s=timeout,
            decode=decode,
            on_gap=on_gap,
        )
        pull = AsyncPull(self._api, Places.of(_flat(streams), last), wanted, self._patience_s)
        self._keep(pull)
        return pull

    def push(
        self,
        stream: str | None = None,
        *,
        ack: bool = True,
        content_type: str | None = None,
        retention: Retention | Mapping[str, Any] | None = None,
        durability: Durability | None = None,
        schema: Mapping[str, Any] | None = None,
        batch: int = 64,
        batch_bytes: int = 1 << 20,
        linger: float = 0.0,
        in_flight: int = 32 << 20,
        when_full: Literal["wait", "drop"] = "wait",
        on_receipt: Callable[[Receipt], object] | None = None,
    ) -> AsyncPush:
        """A publisher: ``async with client.push("cam") as push: await push.send(frame)``.

        Args:
            stream: where to; None: `AsyncPush.send` says it for each entry.
            ack: hear from the server what it stored, and send again what was not acknowledged
                when the connection broke; each entry is stored once. False: faster, and what was
                on its way is lost with the connection.
            content_type: describes the stream; without it the first value says it.
            retention: how much the stream keeps.
            durability: what acknowledgements promise; for a new stream.
            schema: JSON Schema of its entries.
            batch: entries that are sent together when there are several, at most 1024.
            batch_bytes: the same in bytes.
            linger: seconds that a batch which is not full waits for more.
            in_flight: bytes that may wait or be on their way.
            when_full: with more than that, ``wait``, or ``drop`` the oldest (live pictures).
            on_receipt: hears of each batch that was stored.
        """
        described = {"durability": durability, "schema": schema, "retention": _kept(retention)}
        manner = Manner(
            stream,
            ack,
            when_full,
            Sizes(max(1, batch), batch_bytes, linger, in_flight),
            content_type,
            {field: value for field, value in described.items() if value is not None},
            on_receipt,
        )
        push = AsyncPush(self._api, manner, self._patience_s)
        self._keep(push)
        return push

    def _keep(self, one: AsyncPull | AsyncPush) -> None:
        # Those that have ended are let go of: a program may open one for each question.
        self._open = [other for other in self._open if other.is_open]
        self._open.append(one)

    async def range(
        self,
        stream: str,
        start: Start = None,
        stop: Start = None,
        *,
        count: int | None = None,
        newest_first: bool = False,
        max_fps: float | None = None,
    ) -> AsyncGenerator[Entry]:
        """Entries of a stream that are stored, between two ids or times.

        Args:
            stream: its name.
            start: the first id or time that counts; None: the oldest.
            stop: the last one; None: the newest.
            count: so many at most.
            newest_first: begin at the end.
            max_fps: so many a second, at most, by their ids; of the first 1000 that fit.
        """
        low, high = _bound(start, "from"), _bound(stop, "to")
        left = count
        while left is None or left > 0:
            limit = PAGE if left is None else min(left, PAGE)
            query = {
                "limit": limit,
                "order": "newest" if newest_first else "oldest",
                "max_fps": max_fps,
                **low,
                **high,
            }
            found, last = 0, None
            async for entry in self._api.parts(stream, query):
                found, last = found + 1, entry.id
                yield entry
            if found < limit or last is None or max_fps is not None:
                return
            left = None if left is None else left - found
            if newest_first:
                high = {"until": before(last)}
            else:
                low = {"after": last}

    async def newest(self, stream: str) -> Entry | None:
        """The newest entry of a stream; None: it holds none."""
        with suppress(NotFound):
            async for entry in self._api.parts(stream, {"limit": 1, "order": "newest"}):
                return entry
        return None

    async def at(
        self,
        time: Start,
        *streams: str,
        how: How = "nearest",
        tolerance_ms: int | None = None,
    ) -> dict[str, Entry | None]:
        """What each of some streams held at a time; None: nothing near enough.

        Args:
            time: a date, milliseconds since 1970, or an id.
            streams: names.
            how: the ``nearest`` entry, the ``previous`` one, or what lies in between
                (``interpolate``: numbers of JSON, and arrays).
            tolerance_ms: how far off it may be.
        """
        query = {
            "streams": ",".join(streams),
            "time": id_of(time),
            "how": how,
            "tolerance_ms": tolerance_ms,
        }
        found = await self._api.call("GET", "/v1/streams-at", query, returns=_Moment)
        return {
            name: None if row is None else entry_of(row, await self._api.type_of(name))
            for name, row in found.items.items()
        }

    # --- streams ---------------------------------------------------------------------------------

    async def list(self, pattern: str = "*") -> builtins.list[str]:
        """Names of streams that hold entries."""
        found, after = builtins.list[str](), None
        while True:
            query = {"pattern": pattern, "after": after}
            page = await self._api.call("GET", "/v1/streams", query, returns=_Names)
            found += page.items
            after = page.next
            if after is None:
                return found

    async def infos(
        self, pattern: str = "*", *, everything: bool = False
    ) -> builtins.list[StreamInfo]:
        """The same with what is known of each; *everything*: those without entries, too."""
        return await self._api.infos(pattern, everything=everything)

    async def info(self, stream: str) -> StreamInfo:
        """One stream.

        Raises:
            NotFound: there is none, or it may not be read.
        """
        return await self._api.info(stream)

    async def describe(
        self,
        stream: str,
        *,
        content_type: str | None = None,
        schema: Mapping[str, Any] | None = None,
        description: str | None = None,
        durability: Durability | None = None,
        retention: Retention | Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> StreamInfo:
        """Change what a stream is described as; what is None stays."""
        given: dict[str, Any] = {
            "content_type": content_type,
            "schema": schema,
            "description": description,
            "durability": durability,
            "retention": _kept(retention),
            "meta": meta,
        }
        body = {field: value for field, value in given.items() if value is not None}
        path = path_of("streams", stream)
        found = await self._api.call("PATCH", path, body=body, returns=StreamInfo)
        self._api.note(found)
        return found

    async def delete(self, stream: str) -> None:
        """Delete a stream, its entries and its description."""
        self._api.types.pop(stream, None)
        await self._api.do("DELETE", path_of("streams", stream))

    async def trim(
        self, stream: str, *, keep: int | None = None, before_id: str | None = None
    ) -> int:
        """Remove the oldest entries: all but *keep*, or those before an id; says how many went."""
        query = {"keep": keep, "before": before_id}
        path = path_of("streams", stream, "entries")
        return (await self._api.call("DELETE", path, query, returns=_Removed)).removed

    async def ticket(self, purpose: Literal["push", "pull", "read"] = "read") -> Ticket:
        """A ticket that opens one address (``?token=…``) once, within a minute."""
        body = {"purpose": purpose}
        return await self._api.call("POST", "/v1/streams/tickets", body=body, returns=Ticket)

    # --- consumers -------------------------------------------------------------------------------

    async def consumer(
        self, name: str, streams: str | None = None, *, start: str = NOW, ack_wait: float = 30
    ) -> AsyncConsumer:
        """A place in streams that outlives its readers; those of one name share the entries.

        Args:
            name: of the consumer.
            streams: a stream or a pattern, to make it; None: it is there.
            start: where it begins, when it is made.
            ack_wait: seconds after which what is not acknowledged is given again.
        """
        path = path_of("streams-consumers", name)
        if streams is None:
            info = await self._api.call("GET", path, returns=ConsumerInfo)
        else:
            body = {"streams": streams, "start": start, "ack_wait": ack_wait}
            info = await self._api.call("PUT", path, body=body, returns=ConsumerInfo)
        return AsyncConsumer(self._api, info)

    async def consumers(self) -> builtins.list[ConsumerInfo]:
        """All that may be seen."""
        return (await self._api.call("GET", "/v1/streams-consumers", returns=_Consumers)).items

    async def delete_consumer(self, name: str) -> None:
        """Forget a consumer and its places."""
        await self._api.do("DELETE", path_of("streams-consumers", name))


def _flat(streams: Sequence[str | Sequence[str]]) -> builtins.list[str]:
    found = builtins.list[str]()
    for one in streams:
        found += [one] if isinstance(one, str) else one
    return found


def _kept(retention: Retention | Mapping[str, Any] | None) -> Any:
    if isinstance(retention, Retention):
        return {field: value for field, value in msgspec.structs.asdict(retention).items() if value}
    return retention


def _bound(given: Start, name: str) -> dict[str, str]:
    if given is None:
        return {}
    return {name: given.isoformat() if isinstance(given, datetime) else id_of(given)}
