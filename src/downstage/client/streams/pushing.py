"""A publisher: values of Python into streams, each stored once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self

from downstage.client.logs import log
from downstage.client.streams.api import Api, path_of
from downstage.client.streams.model import Receipt, StreamInfo
from downstage.client.streams.outgoing import Item, Sizes
from downstage.client.streams.publishing import Publishing
from downstage.client.streams.values import JPEG, encode, encode_image, plain_type
from downstage.client.types import LogLevel
from downstage.kernel.errors import Conflict, Forbidden, InvalidField, NotFound

__all__ = ["AsyncPush", "Manner", "entry_id_of", "is_large"]

IN_THREAD = 64 * 1024
"""Bytes from which on making an entry would hold up the loop."""
Time = datetime | float | None


@dataclass(frozen=True, slots=True)
class Manner:
    """How a publisher works."""

    stream: str | None = None
    ack: bool = True
    when_full: Literal["wait", "drop"] = "wait"
    sizes: Sizes = field(default_factory=Sizes)
    content_type: str | None = None
    description: dict[str, Any] = field(default_factory=dict[str, Any])
    """What else the stream is described as."""
    on_receipt: Callable[[Receipt], object] | None = None


def entry_id_of(id_: str | None, time: Time) -> str | None:
    """The id to push under: as it is given, or of that time.

    Raises:
        InvalidField: both are given.
    """
    if time is None:
        return id_
    if id_ is not None:
        raise InvalidField("id", "Give an id or a time.")
    stamp = time.timestamp() if isinstance(time, datetime) else float(time)
    return f"{max(0, round(stamp * 1000))}-*"


def is_large(value: Any) -> bool:
    """Whether turning *value* into bytes takes long enough to do it in a thread."""
    if isinstance(value, bytes | bytearray | memoryview):
        return False
    if isinstance(value, str):
        return len(value) > IN_THREAD
    size = getattr(value, "nbytes", None)  # of an array
    if isinstance(size, int):
        return size > IN_THREAD
    return hasattr(value, "tobytes") or (hasattr(value, "__len__") and len(value) > 1000)  # noqa: PLR2004


class AsyncPush:
    """Pushes: ``async with client.push("cam") as push: await push.send(value)``.

    Made by `AsyncClient.push`. Leaving the block waits until all is stored, unless it is left by
    an error.
    """

    def __init__(self, api: Api, manner: Manner, patience_s: float) -> None:
        self.manner = manner
        self.dropped = 0
        """Entries that gave way because the server did not keep up (``when_full="drop"``)."""
        self.publishing = Publishing(
            api,
            manner.stream,
            manner.sizes,
            patience_s,
            ack=manner.ack,
            on_receipt=manner.on_receipt,
        )
        self._api = api
        self.settled = set[str]()
        """Streams whose description was looked at."""

    @property
    def sent(self) -> int:
        """Entries that were sent."""
        return self.publishing.sent

    @property
    def stored(self) -> int:
        """Entries that the server acknowledged."""
        return self.publishing.stored

    @property
    def is_open(self) -> bool:
        """Whether it may still push something."""
        return self.publishing.failed is None

    async def __aenter__(self) -> Self:
        try:
            await self.begin()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self.publishing.flush()
        finally:
            await self.publishing.close()

    async def begin(self) -> None:
        """Describe the stream where that is asked for, and connect."""
        manner = self.manner
        changes = dict(manner.description)
        if manner.content_type is not None:
            changes["content_type"] = manner.content_type
        if changes and manner.stream is not None:
            path = path_of("streams", manner.stream)
            self._api.note(await self._api.call("PATCH", path, body=changes, returns=StreamInfo))
            if manner.content_type is not None:
                self.settled.add(manner.stream)
        await self.publishing.start()

    async def send(
        self,
        value: Any,
        *,
        stream: str | None = None,
        content_type: str | None = None,
        id: str | None = None,  # noqa: A002 - its name
        time: Time = None,
    ) -> None:
        """Push a value; returns as soon as there is room for it, not when it is stored.

        Args:
            value: bytes, text, a numpy array, a picture of Pillow's, or what JSON can say.
            stream: where to, for a publisher of many streams.
            content_type: of a stream that has none yet, where the value does not say it.
            id: ``ms-seq``, newer than the last one of the stream; None: the server gives one.
            time: instead of an id, when it was made: a date, or seconds since 1970.

        Raises:
            PlatformError: what went wrong with an earlier one; `flush` tells the last ones.
        """
        await self._add(await self._item(value, stream, content_type, id, time))

    async def send_image(
        self,
        frame: Any,
        *,
        stream: str | None = None,
        quality: int = 85,
        order: Literal["RGB", "BGR"] = "BGR",
        form: str = JPEG,
        id: str | None = None,  # noqa: A002 - its name
        time: Time = None,
    ) -> None:
        """Push a picture as JPEG (or PNG), encoded in a thread.

        Args:
            frame: an array height × width × 3 (or grey), as OpenCV and cameras give it, or a
                picture of Pillow's.
            stream: where to, for a publisher of many streams.
            quality: of the JPEG, 1 to 95.
            order: of the colours in an array: OpenCV's are BGR.
            form: ``image/jpeg`` or ``image/png``.
            id: as for `send`.
            time: as for `send`.
        """
        data = await asyncio.to_thread(encode_image, frame, quality=quality, order=order, form=form)
        name = self.name_of(stream)
        await self.settle(name, form)
        await self._add(Item(name, data, entry_id_of(id, time)))

    async def store(
        self,
        value: Any,
        *,
        stream: str | None = None,
        content_type: str | None = None,
        id: str | None = None,  # noqa: A002 - its name
        time: Time = None,
    ) -> Receipt:
        """Push a value and wait until it is stored.

        Raises:
            PlatformError: it was not.
        """
        return await self.stored_item(await self._item(value, stream, content_type, id, time))

    async def stored_item(self, item: Item) -> Receipt:
        """Push *item* and wait until it is stored."""
        if not self.manner.ack:
            raise InvalidField("ack", "This publisher does not ask what was stored (ack=False).")
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()

        def told(result: Receipt | Exception) -> None:
            if answer.done():
                return
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        item.told = told
        await self.publishing.room()
        self.publishing.add(item)
        return await answer

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until all is acknowledged (with ``ack=False``: has left).

        Raises:
            PlatformError: some of it was refused, or the server was away for too long.
            TimeoutError: it was not within *timeout* seconds.
        """
        async with asyncio.timeout(timeout):
            await self.publishing.flush()

    async def close(self) -> None:
        """End without waiting; what was not acknowledged may be stored, or not."""
        await self.publishing.close()

    # --- shared with the blocking one ------------------------------------------------------------

    def name_of(self, stream: str | None) -> str:
        """The stream that is meant.

        Raises:
            InvalidField: none, or another one than the publisher is for.
        """
        own = self.manner.stream
        if stream is None or stream == own:
            if own is None:
                raise InvalidField("stream", "Say which stream: this publisher is for several.")
            return own
        if own is not None:
            raise InvalidField("stream", f"This publisher is for {own}; push() is for several.")
        return stream

    async def settle(self, stream: str, kind: str | None) -> None:
        """Describe *stream* by the type of its first entry, where it has none."""
        if stream in self.settled:
            return
        self.settled.add(stream)
        if kind is None:
            return
        # Who may write and not read is told nothing; then it stays as it is.
        with suppress(NotFound, Forbidden, Conflict):
            info = await self._api.find(stream)
            if info is None or info.content_type is None:
                path = path_of("streams", stream)
                body = {"content_type": kind}
                self._api.note(await self._api.call("PATCH", path, body=body, returns=StreamInfo))
            elif plain_type(info.content_type) != plain_type(kind):
                log(
                    LogLevel.WARNING,
                    "streams.type_differs",
                    stream=stream,
                    described=info.content_type,
                    pushed=kind,
                )

    async def _item(
        self, value: Any, stream: str | None, kind: str | None, id_: str | None, time: Time
    ) -> Item:
        name = self.name_of(stream)
        if is_large(value):
            data, told = await asyncio.to_thread(encode, value)
        else:
            data, told = encode(value)
        await self.settle(name, kind or told)
        return Item(name, data, entry_id_of(id_, time))

    async def _add(self, item: Item) -> None:
        publishing = self.publishing
        publishing.check()
        if publishing.out.is_full:
            if self.manner.when_full == "wait":
                await publishing.room()
            elif not self.drop_one():
                self.dropped += 1
                return
        publishing.add(item)

    def drop_one(self) -> bool:
        """Make room by the oldest entry that was not sent; False where there is none."""
        if self.publishing.out.drop_oldest() is None:
            return False
        self.dropped += 1
        return True
