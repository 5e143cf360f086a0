"""Deliveries to one reader in another form, one after the other, off the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from downstage.kernel.errors import NotFound, PlatformError
from downstage.kernel.logging import get_logger
from downstage.streams.dialects.ptg.answering import convert_entry
from downstage.streams.model import Caller
from downstage.streams.reading import Delivery, Row
from downstage.streams.service import Streams

__all__ = ["Conversion"]

MOST_TYPES = 1024
log = get_logger(__name__)


class Conversion:
    """Converts what is put in, in order, and hands it on.

    Args:
        streams: say what type a stream's entries are.
        caller: may read them.
        output: the form that is wanted.
        source: the form that they have; None: it is told from them.
    """

    def __init__(self, streams: Streams, caller: Caller, output: str, source: str | None) -> None:
        self.size = 0
        """Bytes that wait."""
        self._streams = streams
        self._caller = caller
        self._output = output
        self._source = source
        self._types: dict[str, str | None] = {}
        self._waiting: deque[Delivery] = deque()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(
        self,
        hand_on: Callable[[Delivery], None],
        freed: Callable[[], None],
        failed: Callable[[PlatformError], None],
    ) -> None:
        """Begin; *freed* is called when nothing waits, *failed* when it cannot go on."""
        self._task = asyncio.get_running_loop().create_task(self._run(hand_on, freed, failed))

    def stop(self) -> None:
        """End; what waits is dropped."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def put(self, delivery: Delivery) -> None:
        """Convert this one, too."""
        self._waiting.append(delivery)
        self.size += delivery.size
        self._more.set()

    async def _run(
        self,
        hand_on: Callable[[Delivery], None],
        freed: Callable[[], None],
        failed: Callable[[PlatformError], None],
    ) -> None:
        try:
            while True:
                while self._waiting:
                    delivery = self._waiting.popleft()
                    hand_on(await self._converted(delivery))
                    self.size -= delivery.size
                self._more.clear()
                freed()
                await self._more.wait()
        except PlatformError as error:
            failed(error)
        except Exception:  # the edge of this task: a mistake of ours ends this reader alone
            log.exception("streams.conversion_crashed", output=self._output)
            failed(PlatformError("An error of ours; the log has it."))

    async def _converted(self, delivery: Delivery) -> Delivery:
        """*delivery* in the form that is wanted; readers who want the same share the work."""
        key = ("converted", self._output, self._source)
        while True:
            found: asyncio.Future[Delivery] | None = delivery.cache.get(key)
            if found is None:
                return await self._convert_shared(delivery, key)
            await asyncio.wait([found])
            if not found.cancelled():
                return found.result()

    async def _convert_shared(self, delivery: Delivery, key: object) -> Delivery:
        found: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        delivery.cache[key] = found
        try:
            converted = await self._convert(delivery)
        except PlatformError as error:
            found.set_exception(error)
            found.exception()  # nobody else need wait for it
            raise
        except BaseException:
            del delivery.cache[key]
            found.cancel()  # whoever waits for it does it itself
            raise
        found.set_result(converted)
        return converted

    async def _convert(self, delivery: Delivery) -> Delivery:
        rows = list[Row]()
        for entry, (stream, id_, _) in zip(delivery.entries, delivery.rows, strict=True):
            type_ = await self._type(stream)
            data = await convert_entry(entry, self._output, self._source, type_)
            rows.append((stream, id_, data))
        return Delivery(tuple(rows))

    async def _type(self, stream: str) -> str | None:
        if stream not in self._types and len(self._types) < MOST_TYPES:
            try:
                info = await self._streams.info(self._caller, stream)
                self._types[stream] = info.spec.content_type
            except NotFound:
                self._types[stream] = None
        return self._types.get(stream)
