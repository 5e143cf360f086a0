"""``/mjpeg``: a stream of pictures as browsers show it in an ``<img>``.

A black picture at once, then each that comes; after a silence of 3 s one that says so. Whoever
reads slowly is shown the newest: one delivery waits, the next takes its place. A reader that asked
for all from an id on gets all of it, at its own pace.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from downstage.kernel.errors import InvalidField, PlatformError, TooLarge, UnsupportedMedia
from downstage.kernel.logging import get_logger
from downstage.streams import names
from downstage.streams.callers import Callers, Guest
from downstage.streams.dialects.ptg.answering import CONVERTERS, convert_entry
from downstage.streams.dialects.ptg.answers import refusal
from downstage.streams.dialects.ptg.cursors import MAX_TEXT, read_cursors
from downstage.streams.dialects.ptg.dialect import Dialect, Known
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.dialects.ptg.screen import Screen
from downstage.streams.dialects.ptg.sending import put
from downstage.streams.model import Entry, Right
from downstage.streams.reading import MOST_COUNT, From, Wish
from downstage.streams.service import Streams, Subscription

__all__ = ["mjpeg_routes"]

SILENCE_S = 3.0
LAST_S = 1.0
WIDTH, HEIGHT = 760, 428
STAND_BY = "please stand by"
BOUNDARY = b"--frame\r\n"
TYPE = "multipart/x-mixed-replace;boundary=frame"
Text = Annotated[str | None, Query(max_length=128)]
Places = Annotated[str, Query(max_length=MAX_TEXT)]
Count = Annotated[int, Query(ge=1)]
PICTURES = {
    200: {
        "description": "JPEG pictures, without an end.",
        "content": {"multipart/x-mixed-replace": {"schema": {"type": "string"}}},
    }
}
log = get_logger(__name__)


def mjpeg_routes(door: Door, streams: Streams, callers: Callers) -> Dialect:
    """The routes."""
    dialect = Dialect(door, "mjpeg")

    async def show(  # noqa: PLR0917 - as they stand in the query
        stream_id: str,
        guest: Known,
        count: Count = 1,
        last_entry_id: Places = "$",
        time_sync_id: Text = None,
        input: Text = None,  # noqa: A002 - its name in the query
    ) -> Response:
        """Pictures of a stream as they come."""
        await _load(input)
        named = names.split(stream_id)
        cursors = read_cursors(named, last_entry_id)
        wish = Wish(
            cursors,
            count=min(count, MOST_COUNT),
            latest=all(isinstance(cursor, From) for cursor in cursors.values()),
            sync_to=None if time_sync_id is None else _named(time_sync_id, named),
        )
        for name in named:
            guest.caller.need(name, Right.READ)
        return _Show(streams, callers, guest, wish, input)

    dialect.serve("GET", "/mjpeg/{stream_id}", show, 404, 415, 429, responses=PICTURES)
    return dialect


def _named(given: str, named: tuple[str, ...]) -> str:
    """The stream that *given* names, or counts from 0."""
    if given.isascii() and given.isdigit() and len(given) < len(str(MOST_COUNT)):
        number = int(given)
        if number < len(named):
            return named[number]
    if given in named:
        return given
    raise InvalidField("time_sync_id", "Name a stream of the path, or its number from 0.")


async def _load(source: str | None) -> None:
    def load() -> None:
        from downstage.media import images

        images.check("jpg", source)
        images.black(WIDTH, HEIGHT)
        images.notice(STAND_BY, WIDTH, HEIGHT)

    await anyio.to_thread.run_sync(load, limiter=CONVERTERS)


class _Show(Response):
    """The pictures as one answer without an end."""

    def __init__(
        self, streams: Streams, callers: Callers, guest: Guest, wish: Wish, source: str | None
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.headers["content-type"] = TYPE
        self._streams = streams
        self._callers = callers
        self._guest = guest
        self._wish = wish
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show them until the reader leaves, or may not read any longer."""
        scope_of_all = anyio.CancelScope()

        def end(code: int, reason: str) -> None:
            log.info("mjpeg.ended", code=code, reason=reason)
            scope_of_all.cancel()

        screen = Screen(latest=self._wish.latest)
        async with AsyncExitStack() as stay:
            try:
                stay.enter_context(self._callers.staying(self._guest, end))
                subscription = self._streams.subscribe(self._guest.caller, self._wish, screen)
            except PlatformError as error:
                await refusal(error)(scope, receive, send)
                return
            stay.push_async_callback(subscription.close)
            with scope_of_all:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_watch, receive, scope_of_all.cancel)
                    await self._run(send, screen, subscription)
                    tasks.cancel_scope.cancel()
            with anyio.move_on_after(LAST_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _run(self, send: Send, screen: Screen, subscription: Subscription) -> None:
        from downstage.media import images

        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            await put(send, BOUNDARY)
            await _put(send, images.black(WIDTH, HEIGHT))
            while True:
                delivery = await screen.take(SILENCE_S)
                if delivery is None:
                    await _put(send, images.notice(STAND_BY, WIDTH, HEIGHT))
                    continue
                for entry in delivery.entries:
                    await self._show(send, entry, delivery.cache)
                subscription.wake()
        except PlatformError as error:
            log.info("mjpeg.ended", code=error.code)

    async def _show(self, send: Send, entry: Entry, cache: dict[Any, Any]) -> None:
        """Show one entry; one that is no picture is passed over."""
        key = ("jpeg", self._source, entry.stream, entry.id)
        if key not in cache:
            cache[key] = await _jpeg(entry, self._source)
        picture: bytes | None = cache[key]
        if picture is not None:
            await _put(send, picture)


async def _jpeg(entry: Entry, source: str | None) -> bytes | None:
    """The picture that *entry* holds, if it holds one."""
    if source in (None, "jpg", "jpeg") and entry.data.startswith(b"\xff\xd8\xff"):
        return entry.data
    try:
        return await convert_entry(entry, "jpg", source)
    except (UnsupportedMedia, TooLarge):
        return None


async def _put(send: Send, picture: bytes) -> None:
    """A part, and at once the boundary behind it: browsers show a picture when that has come."""
    head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
    for piece in (head, picture, b"\r\n" + BOUNDARY):
        await put(send, piece)


async def _watch(receive: Receive, gone: Callable[[], None]) -> None:
    """Notice when the reader leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    gone()
