"""Entries of streams of text, and changes of the list of streams, as server-sent events.

Events are ``entry`` (an `EntryView`), ``gap`` (a `StreamGap`), ``change`` (a `StreamChange`),
``lagged`` (the last one: too slow, come back without Last-Event-ID or take what is left) and
``ready`` (the first one). The id of an ``entry`` names the last entry of each stream, so that a
browser that comes back goes on behind them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

import anyio
import anyio.to_thread
import msgspec
from anyio.streams.memory import MemoryObjectSendStream
from fastapi import APIRouter, Depends, Header, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from downstage.kernel.errors import InvalidField, Lagged, NotFound, PlatformError
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams.callers import Callers, Guest
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.dialects.v1.encodings import IN_THREAD, row_of
from downstage.streams.dialects.v1.named import wanted_of
from downstage.streams.model import Entry, EntryId, Right
from downstage.streams.names import matcher
from downstage.streams.reading import Cursor, Delivery, Wish, read_cursor
from downstage.streams.service import Streams

__all__ = ["event_routes"]

HEARTBEAT_S = 15
SEND_S = 30.0
"""How long a reader may take nothing at all."""
MOST = 64
"""Streams and patterns of one answer."""
MOST_RESUMED = 64
"""Streams that an id names; with more there is none, and coming back begins anew."""
WAITING = 64
"""Events that wait for a reader."""
MAX_BINARY = 64 * 1024
"""Bytes of an entry that is no text, to be told at all."""
MAX_RESUME = 16 * 1024


class EventStream(EventSourceResponse):
    """The same, with its type said where the description is made."""

    media_type = "text/event-stream"


@dataclass(slots=True)
class Reading:
    """What one reader asked for, and how far it is."""

    guest: Guest
    wish: Wish | None
    with_changes: bool
    at: dict[str, EntryId] = field(default_factory=dict[str, EntryId])
    kinds: dict[str, str | None] = field(default_factory=dict[str, "str | None"])

    @property
    def id(self) -> str | None:
        """What to come back with."""
        if len(self.at) > MOST_RESUMED:
            return None
        return ",".join(f"{stream}/{entry_id}" for stream, entry_id in self.at.items())


def event_routes(streams: Streams, callers: Callers, ask: Asker) -> APIRouter:
    """The route of events.

    Args:
        streams: the service.
        callers: lets readers stay.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["streams"])
    guest: Any = Depends(ask)

    async def events(  # noqa: PLR0917 - as they stand in the query
        who: Guest = guest,
        named: Annotated[str | None, Query(alias="streams", max_length=MOST * 129)] = None,
        start: Annotated[str, Query(alias="from", max_length=42)] = "$",
        changes: bool = False,
        max_fps: Annotated[float | None, Query(gt=0, le=1000)] = None,
        latest: bool = False,
        last_event_id: Annotated[
            str | None, Header(alias="Last-Event-ID", max_length=MAX_RESUME)
        ] = None,
    ) -> Response:
        """Entries of some streams as they come, and, with `changes`, which streams come and go.

        `streams` are names and patterns with commas between them; `from` is where they begin: ``$``
        after what is there, ``0`` at the oldest, ``-`` at the newest, or after an id. A header
        Last-Event-ID goes on where that event was.
        """
        if named is None and not changes:
            raise InvalidField("streams", "Name streams, or ask for changes.")
        callers.refuse_more(who)
        wish = None
        if named is not None:
            wish = _wish(named, start, last_event_id or "", max_fps=max_fps, latest=latest)
            _check_rights(who, wish)
        at = {} if wish is None else _resumed(wish)
        reading = Reading(who, wish, changes, at=at)
        return EventStream(
            _Telling(streams, callers).events(reading),
            ping=HEARTBEAT_S,
            send_timeout=SEND_S,
            headers={"cache-control": "no-store"},
        )

    told: dict[str, Any] = {"responses": refusals(404, 429), "response_class": EventStream}
    router.get("/v1/streams-events", **told)(events)
    return router


class _Telling:
    """Tells one reader what happens."""

    def __init__(self, streams: Streams, callers: Callers) -> None:
        self._streams = streams
        self._callers = callers

    async def events(self, reading: Reading) -> AsyncGenerator[ServerSentEvent]:
        """Until nobody reads, or nothing may be told any more."""
        put, take = anyio.create_memory_object_stream[ServerSentEvent](WAITING)
        with suppress(PlatformError):
            async with anyio.create_task_group() as tasks:

                def end(_code: int, _reason: str) -> None:
                    tasks.cancel_scope.cancel()

                with self._callers.staying(reading.guest, end), take:
                    tasks.start_soon(self._tell, reading, put)
                    async for event in take:
                        yield event
                tasks.cancel_scope.cancel()

    async def _tell(self, reading: Reading, put: MemoryObjectSendStream[ServerSentEvent]) -> None:
        async with put, anyio.create_task_group() as tasks:
            await put.send(ServerSentEvent("{}", event="ready"))
            if reading.with_changes:
                tasks.start_soon(self._tell_changes, reading, put)
            if reading.wish is not None:
                tasks.start_soon(self._tell_entries, reading, reading.wish, put)

    async def _tell_changes(
        self, reading: Reading, put: MemoryObjectSendStream[ServerSentEvent]
    ) -> None:
        caller = reading.guest.caller
        async with self._streams.changes() as changes:
            async for change in changes:
                of_all = change.what == "gap"
                seen = change.tenant == caller.tenant and (
                    Right.READ in caller.rights(change.stream)
                )
                if seen:
                    reading.kinds.pop(change.stream, None)
                if of_all or seen:
                    told = {"stream": change.stream, "what": change.what}
                    await put.send(_event("change", told))

    async def _tell_entries(
        self, reading: Reading, wish: Wish, put: MemoryObjectSendStream[ServerSentEvent]
    ) -> None:
        try:
            async with self._streams.reading(reading.guest.caller, wish) as deliveries:
                async for delivery in deliveries:
                    await self._tell_delivery(reading, delivery, put)
        except Lagged as error:
            await put.send(_event("lagged", {"detail": error.detail}))
        except PlatformError as error:
            await put.send(_event("failed", {"code": error.code, "detail": error.detail}))

    async def _tell_delivery(
        self,
        reading: Reading,
        delivery: Delivery,
        put: MemoryObjectSendStream[ServerSentEvent],
    ) -> None:
        for entry in delivery.entries:
            kind = await self._kind(reading, entry.stream)
            reading.at[entry.stream] = entry.id
            if len(entry.data) < IN_THREAD:
                text = _text(entry, kind)
            else:
                text = await anyio.to_thread.run_sync(_text, entry, kind)
            await put.send(ServerSentEvent(text, event="entry", id=reading.id))

    async def _kind(self, reading: Reading, stream: str) -> str | None:
        """The type of a stream's entries; asked once, unless the list tells of changes."""
        if stream not in reading.kinds:
            kind = None
            with suppress(NotFound):
                info = await self._streams.info(reading.guest.caller, stream)
                kind = info.spec.content_type
            reading.kinds[stream] = kind
        return reading.kinds[stream]


def _text(entry: Entry, kind: str | None) -> str:
    row = row_of(entry, kind)
    if row.data is not None and row.size > MAX_BINARY:
        row.data = None
    return msgspec.json.encode(row).decode()


def _event(name: str, told: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(msgspec.json.encode(told).decode(), event=name)


def _wish(named: str, start: str, resume: str, *, max_fps: float | None, latest: bool) -> Wish:
    names, patterns = wanted_of(named, MOST)
    begin = read_cursor(start)
    cursors: dict[str, Cursor] = dict.fromkeys(names, begin)
    for stream, entry_id in _ids(resume).items():
        if stream in cursors or _matches(stream, patterns):
            cursors[stream] = entry_id
    return Wish(
        cursors=cursors, patterns=patterns, start=begin, max_fps=max_fps, latest=latest, count=1
    )


def _matches(stream: str, patterns: tuple[str, ...]) -> bool:
    return any(matcher(pattern).match(stream) for pattern in patterns)


def _resumed(wish: Wish) -> dict[str, EntryId]:
    return {name: at for name, at in wish.cursors.items() if isinstance(at, EntryId)}


def _check_rights(who: Guest, wish: Wish) -> None:
    for stream in wish.cursors:
        who.caller.need(stream, Right.READ)


def _ids(resume: str) -> dict[str, EntryId]:
    """What an id of ours says.

    Raises:
        BadId: it is none of ours.
    """
    found = dict[str, EntryId]()
    for part in filter(None, resume.split(",")):
        stream, _, entry_id = part.partition("/")
        found[stream] = EntryId.parse(entry_id)
    return found
