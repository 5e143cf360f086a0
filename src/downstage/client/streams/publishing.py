"""The task of a publisher: sends batches, hears what became of them, comes back after an outage.

With acknowledgements each batch has a key: sent again after a broken connection, it is stored once.
A server remembers keys for two minutes. A batch that was sent and is older than that is not sent
again: nobody knows whether it was stored, and that is what its sender is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import msgspec

from downstage.client.http import Unreachable
from downstage.client.logs import log_error
from downstage.client.outcome import error_of_code
from downstage.client.streams.api import Api, query_of
from downstage.client.streams.model import Receipt
from downstage.client.streams.outage import Outage
from downstage.client.streams.outgoing import Batch, Item, Outgoing, Sizes
from downstage.client.streams.wire import Broken, Wire, open_wire
from downstage.kernel.errors import (
    Damaged,
    DeadlineExceeded,
    PlatformError,
    TooMany,
    Unauthenticated,
    Unavailable,
)

__all__ = ["Publishing"]

REMEMBERED_S = 100.0
"""Seconds for which a server surely knows a key."""
MOST_PENDING = 64
"""Batches that are sent and not acknowledged."""
ALL = "*"


class _Refusal(msgspec.Struct):
    code: str = ""
    detail: str = ""


class _Answer(msgspec.Struct):
    """What a server says of one batch."""

    ids: list[str] = []
    durability: str = ""
    repeated: bool = False
    key: str = ""
    error: _Refusal | None = None


_answer = msgspec.json.Decoder(_Answer).decode


class Publishing:
    """Brings entries to a server, in order. All of it runs on one loop.

    Args:
        api: the server.
        stream: the one that is pushed to; None: each entry says its own.
        ack: whether the server says what it stored.
        sizes: bounds.
        patience_s: how long an outage may last.
        on_receipt: hears of each batch that was stored.

    Attributes:
        sent, stored: entries that left, and that were acknowledged.
        failed: why it has ended.
        refused: the first batch that was refused and that nobody else heard of.
    """

    def __init__(
        self,
        api: Api,
        stream: str | None,
        sizes: Sizes,
        patience_s: float,
        *,
        ack: bool,
        on_receipt: Callable[[Receipt], object] | None,
    ) -> None:
        self.sent = 0
        self.stored = 0
        self.failed: PlatformError | None = None
        self.refused: PlatformError | None = None
        self.out = Outgoing(sizes)
        self.on_freed: Callable[[], None] | None = None
        self._api = api
        self._stream = stream
        self._sizes = sizes
        self._outage = Outage(patience_s)
        self._ack = ack
        self._on_receipt = on_receipt
        self._more = asyncio.Event()
        self._freed = asyncio.Event()
        self._ready = asyncio.Event()
        self._urgent = False
        self._task: asyncio.Task[None] | None = None
        self._was_connected = False
        self._may_sign_in = False

    async def start(self) -> None:
        """Connect.

        Raises:
            PlatformError: the server refuses, or cannot be reached.
        """
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="streams-push")
        await self._ready.wait()
        self.check()

    def add(self, item: Item) -> None:
        """One more entry, whether there is room or not."""
        if self.failed is not None:
            self._tell(item, self.failed)
            return
        self.out.add(item)
        self._more.set()

    async def room(self) -> None:
        """Return once more may come.

        Raises:
            PlatformError: it has ended.
        """
        while self.out.is_full and self.failed is None:
            self._freed.clear()
            await self._freed.wait()
        self.check()

    async def flush(self) -> None:
        """Return once all is acknowledged, or, without acknowledgements, has left.

        Raises:
            PlatformError: something was refused, or it has ended.
        """
        self._urgent = True
        self._more.set()
        try:
            while not self.out.is_empty and self.failed is None:
                self._freed.clear()
                await self._freed.wait()
        finally:
            self._urgent = False
        self.check()

    def check(self) -> None:
        """Raise what nobody heard of yet."""
        if self.failed is not None:
            raise self.failed
        if self.refused is not None:
            error, self.refused = self.refused, None
            raise error

    async def close(self) -> None:
        """End; what was not acknowledged may be stored, or not."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._fail(Unavailable("This publisher was closed."))

    # --- the task --------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                try:
                    await self._once()
                except Unauthenticated:
                    if not self._may_sign_in:
                        raise
                    self._may_sign_in = False
                    self._api.forget_token()
                except (Unavailable, TooMany) as error:
                    if isinstance(error, Unreachable) and not self._was_connected:
                        raise
                    await self._outage.pause(error)
        except PlatformError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            log_error("streams.push_crashed", error)
            self._fail(PlatformError(f"An error of this client: {error!r}"))

    def _fail(self, error: PlatformError) -> None:
        if self.failed is not None:
            return
        self.failed = error
        items = [item for batch in self.out.pending.values() for item in batch.items]
        for item in [*items, *self.out.waiting]:
            if item.told is not None:
                item.told(error)
        self.out.pending.clear()
        self.out.waiting.clear()
        self.out.bytes = 0
        self._ready.set()
        self._free()

    def _free(self) -> None:
        self._freed.set()
        if self.on_freed is not None:
            self.on_freed()

    async def _once(self) -> None:
        query = {"batch": True, "ack": self._ack}
        path = f"/v1/streams/{quote(self._stream or ALL, safe='*')}/push{query_of(query)}"
        wire = await open_wire(self._api.http, path)
        self._was_connected = True
        self._ready.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear(wire))
                tasks.create_task(self._send_all(wire))
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            await wire.close()

    async def _send_all(self, wire: Wire) -> None:
        for batch in list(self.out.pending.values()):
            if self._is_forgotten(batch):
                why = "It was away too long to tell whether this was stored."
                self._refuse(batch, DeadlineExceeded(why))
            else:
                await self._send(wire, batch)
        while True:
            await self._until_more()
            while self.out.waiting and len(self.out.pending) < MOST_PENDING:
                await self._send(wire, self.out.next_batch())
            if self.out.waiting:
                self._more.clear()
                await self._more.wait()

    def _is_forgotten(self, batch: Batch) -> bool:
        if batch.sent_at is None:
            return False
        return asyncio.get_running_loop().time() - batch.sent_at > REMEMBERED_S

    async def _until_more(self) -> None:
        while not self.out.waiting:
            self._more.clear()
            await self._more.wait()
        if not self._sizes.linger_s:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._sizes.linger_s):
                while not self.out.has_batch() and not self._urgent:
                    self._more.clear()
                    await self._more.wait()

    async def _send(self, wire: Wire, batch: Batch) -> None:
        if batch.sent_at is None:
            batch.sent_at = asyncio.get_running_loop().time()
            self.sent += len(batch.items)
        await wire.send(batch.header(keyed=self._ack), batch.body())
        if not self._ack:
            self._outage.over()
            self.out.done(batch)
            self._free()

    # --- what the server says --------------------------------------------------------------------

    async def _hear(self, wire: Wire) -> None:
        while True:
            said = await wire.receive()
            try:
                answer = _answer(said)
            except msgspec.DecodeError as error:
                raise Damaged("The server's answer is out of form.") from error
            batch = self.out.pending.get(answer.key)
            if batch is None:
                continue
            if answer.error is None:
                self._done(batch, answer)
                continue
            error = error_of_code(answer.error.code, answer.error.detail)
            if isinstance(error, Unavailable | TooMany):
                raise Broken(error.detail)  # all is sent again, in order, a little later
            self._refuse(batch, error)

    def _done(self, batch: Batch, answer: _Answer) -> None:
        self._outage.over()
        self._may_sign_in = True
        streams = tuple(item.stream for item in batch.items)
        receipt = Receipt(streams, tuple(answer.ids), answer.durability, answer.repeated)
        self.stored += len(batch.items)
        self.out.done(batch)
        if self._on_receipt is not None:
            self._on_receipt(receipt)
        for at, item in enumerate(batch.items):
            if item.told is not None:
                ids = receipt.ids[at : at + 1]
                item.told(Receipt((item.stream,), ids, receipt.durability, receipt.repeated))
        self._more.set()
        self._free()

    def _refuse(self, batch: Batch, error: PlatformError) -> None:
        self.out.done(batch)
        for item in batch.items:
            self._tell(item, error)
        self._more.set()
        self._free()

    def _tell(self, item: Item, error: PlatformError) -> None:
        if item.told is not None:
            item.told(error)
        elif self.refused is None:
            self.refused = error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that says most: what the server said, before that the connection is gone."""
    found = [error for error in group.exceptions if isinstance(error, PlatformError)]
    if len(found) < len(group.exceptions):
        return group
    return next((error for error in found if not isinstance(error, Broken)), found[0])
