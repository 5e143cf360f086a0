"""Entries on their way into the store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

import anyio

from downstage.kernel.errors import (
    DeadlineExceeded,
    PlatformError,
    Unavailable,
)
from downstage.streams import entry_ids, names
from downstage.streams.engine import Lost, NotReady
from downstage.streams.model import AUTO, Caller, Durability, Receipt, Right
from downstage.streams.outbox import HOLD_S, Answer, Outbox, Unit
from downstage.streams.outlet import Outlet
from downstage.streams.outlets import (
    Outlets,
    needs_guard,
)
from downstage.streams.sending import (
    Settled,
    account,
    check_key,
    count_in,
    open_all,
    send,
)
from downstage.streams.words import Data, Done, Item

__all__ = ["Data", "Done", "Item", "Producer"]

END = b"\r\n"
PAUSE_S = 0.05
Spawn = Callable[[Coroutine[Any, Any, None]], None]


class _Route:
    """What a producer needs for each entry of one stream."""

    __slots__ = ("outbox", "outlet", "producer")

    def __init__(self, producer: Producer, outlet: Outlet) -> None:
        self.producer = producer
        self.outlet = outlet
        self.outbox = outlet.outbox

    def tell(self, unit: Unit, answers: list[Answer]) -> None:
        """Answers to entries that nobody waits for."""
        outlet, refused = self.outlet, 0
        for answer in answers:
            if isinstance(answer, PlatformError):
                refused += 1
                self.producer.note(answer)
            else:
                outlet.last_id = answer
        count_in(self.producer.totals, outlet.figures, unit.count - refused, unit.size, refused)
        self.producer.answered(unit.count)


class Producer:
    """Pushes without waiting: one for each socket that pushes. Made by `Streams.producer`.

    What is put within one turn of the event loop leaves as one train. Order is kept.
    """

    def __init__(
        self, caller: Caller, streams: Collection[str] | None, outlets: Outlets, spawn: Spawn
    ) -> None:
        self.on_pressure: Callable[[bool], None] | None = None
        """Called with True when too much is unanswered: stop reading from the producer."""
        self.failed: PlatformError | None = None
        """Why an unacknowledged `put` was not stored, the first time that happened."""
        self.on_failed: Callable[[PlatformError], None] | None = None
        """Called when `failed` is set."""
        self._caller = caller
        self._outlets = outlets
        self._spawn = spawn
        self._allowed: set[str] = set()
        self._routes: dict[str, _Route] = {}
        self._queue: deque[tuple[Sequence[Item], Done | None, str | None]] = deque()
        self._is_working = False
        self._is_closed = False
        self._is_pressed = False
        self._pressing: set[Outbox] = set()
        self._listening: dict[Outbox, Callable[[bool], None]] = {}
        self._pending = 0
        self._waiting: list[asyncio.Future[None]] = []
        self.totals = outlets.figures.totals
        self.totals.producers += 1
        for name in streams or ():
            self._allow(name)

    def put(self, stream: str, data: Data) -> None:
        """Store one entry, with an id of the engine's; nobody waits for the answer.

        Raises:
            Forbidden, NotFound, InvalidField: not into this stream.
            PlatformError: `failed`, once it is set.
        """
        route = self._routes.get(stream)
        if route is None or self._queue or self.failed or not route.outlet.is_made:
            self._later(((stream, AUTO, data),), None, None)
            return
        outbox = route.outbox
        unit = outbox.unit
        if unit is None or unit.owner is not route:
            unit = outbox.begin(route, route.tell, [route.outlet])
        size = len(data)
        unit.count += 1
        unit.size += size
        self._pending += 1
        outbox.out += (route.outlet.head(size), data, END)

    def put_batch(
        self, items: Sequence[Item], done: Done | None = None, *, key: str | None = None
    ) -> None:
        """Store all of *items* or none; then *done* is called, on the loop.

        Raises:
            Forbidden, NotFound, InvalidField, BadId: at once, before anything is sent.
        """
        if not items:
            if done is not None:
                done(Receipt((), Durability.MEMORY))
            return
        check_key(key)
        settled = self._settled(items)
        if settled is None or self._queue or self.failed or needs_guard(settled, key):
            self._later(items, done, key)
            return
        self._send(settled, done)

    def _settled(self, items: Sequence[Item]) -> list[Settled] | None:
        """*items* with their outlets; None where one of them is not open yet."""
        routes, settled = self._routes, list[Settled]()
        for stream, given, data in items:
            route = routes.get(stream)
            if given != AUTO:
                entry_ids.check_form(given)
            if route is None or not route.outlet.is_made:
                self._allow(stream)
                settled = None
            elif settled is not None:
                settled.append((route.outlet, given, data))
        return settled

    # --- sending -------------------------------------------------------------------------------

    def _send(self, items: list[Settled], done: Done | None) -> None:
        self._pending += len(items)
        send(items, lambda result: self._told(len(items), done, result), self.totals, copied=False)

    def _told(self, count: int, done: Done | None, result: Receipt | PlatformError) -> None:
        if isinstance(result, PlatformError) and done is None:
            self.note(result)
        self.answered(count)
        if done is not None:
            done(result)

    def note(self, error: PlatformError) -> None:
        """An entry that nobody waits for was not stored."""
        if self.failed is None and not isinstance(error, Lost):
            self.failed = error
            if self.on_failed is not None:
                self.on_failed(error)

    def answered(self, count: int) -> None:
        """*count* entries were answered for."""
        self._pending -= count
        if self._waiting and not self._pending:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    # --- what cannot be sent at once -------------------------------------------------------------

    def _later(self, items: Sequence[Item], done: Done | None, key: str | None) -> None:
        if self.failed is not None:
            raise self.failed
        if self._is_closed:
            raise Unavailable("This producer was closed.")
        for stream, _, _ in items:
            self._allow(stream)
        self._queue.append((items, done, key))
        if not self._is_working:
            self._is_working = True
            self._spawn(self._work())
        self._weigh()

    async def _work(self) -> None:
        try:
            while self._queue:
                items, done, key = self._queue[0]
                try:
                    await self._one(items, done, key)
                except PlatformError as error:
                    self._refuse(items, done, error)
                self._queue.popleft()
        finally:
            self._is_working = False
            self._weigh()
            self.answered(0)

    async def _one(self, items: Sequence[Item], done: Done | None, key: str | None) -> None:
        opened = await self._opened(items)
        settled = [(opened[stream], given, data) for stream, given, data in items]
        for outlet in opened.values():
            self._route(outlet)
        if not needs_guard(settled, key):
            if len(settled) == 1 and done is None and settled[0][1] == AUTO:
                self._put_settled(settled[0])
            else:
                self._send(settled, done)
            return
        await self._sent()  # what was put before must be there before
        receipt = await self._outlets.guarded(settled, key)
        account(self._outlets, settled, receipt)
        if done is not None:
            done(receipt)

    async def _opened(self, items: Sequence[Item]) -> dict[str, Outlet]:
        """Their outlets; a break of the engine is a pause, as for what was opened before it."""
        deadline = anyio.current_time() + HOLD_S
        while True:
            try:
                return await open_all(self._outlets, self._caller.tenant, items)
            except NotReady:
                if anyio.current_time() > deadline:
                    raise
                await anyio.sleep(PAUSE_S)

    def _put_settled(self, item: Settled) -> None:
        outlet, _, data = item
        route = self._routes[outlet.name]
        unit = outlet.outbox.begin(route, route.tell, [outlet])
        unit.count, unit.size = 1, len(data)
        self._pending += 1
        outlet.outbox.out += (outlet.head(len(data)), data, END)

    def _refuse(self, items: Sequence[Item], done: Done | None, error: PlatformError) -> None:
        self.totals.refused += len(items)
        if done is not None:
            done(error)
        else:
            self.note(error)

    async def _sent(self) -> None:
        """Return once all that was sent is answered."""
        while self._pending:
            await self._wait()

    async def _wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    # --- rights, routes, pressure --------------------------------------------------------------

    def _allow(self, stream: str) -> None:
        if stream not in self._allowed:
            names.check(stream)
            self._caller.need(stream, Right.WRITE)
            self._allowed.add(stream)

    def _route(self, outlet: Outlet) -> None:
        known = self._routes.get(outlet.name)
        if known is not None and known.outlet is outlet:
            return
        self._routes[outlet.name] = _Route(self, outlet)
        if self._is_closed:
            return  # nobody would let go of it
        outlet.users += 1
        if known is not None:
            known.outlet.users -= 1
        outbox = outlet.outbox
        if outbox not in self._listening:

            def listen(is_pressed: bool) -> None:
                (self._pressing.add if is_pressed else self._pressing.discard)(outbox)
                self._weigh()

            self._listening[outbox] = listen
            outbox.pressure.add(listen)
            if outbox.is_pressed:
                listen(True)

    def _weigh(self) -> None:
        """Tell whether to go on reading, where that has changed."""
        is_pressed = bool(self._pressing) or len(self._queue) > 0
        if is_pressed != self._is_pressed and not self._is_closed:
            self._is_pressed = is_pressed
            if self.on_pressure is not None:
                self.on_pressure(is_pressed)

    # --- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more; what was put goes on. Safe to repeat."""
        if self._is_closed:
            return
        self._is_closed = True
        self._outlets.figures.totals.producers -= 1
        for outbox, listen in self._listening.items():
            outbox.pressure.discard(listen)
        for route in self._routes.values():
            route.outlet.users -= 1
        self._listening.clear()

    async def drain(self, deadline_s: float) -> None:
        """Wait until all that was put is answered.

        Raises:
            DeadlineExceeded: it was not within *deadline_s* seconds.
            PlatformError: `failed`.
        """
        with anyio.move_on_after(deadline_s) as scope:
            while self._pending or self._is_working:
                await self._wait()
        if scope.cancelled_caught:
            raise DeadlineExceeded(f"Not everything was stored within {deadline_s:g} s.")
        if self.failed is not None:
            raise self.failed
