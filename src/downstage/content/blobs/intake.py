"""A body from its sender to its sink: bounded in memory, bounded in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, Self, TypeVar

import anyio

from downstage.kernel.errors import DeadlineExceeded, TooLarge

__all__ = ["BATCH", "Budget", "Intake", "Paced", "Target", "in_worker"]

T = TypeVar("T")

BATCH = 1024 * 1024
"""Bytes gathered before a worker writes them; while it does, the next batch comes in."""


class Paced:
    """The pieces of *body*, each within *idle_s* of being asked for; slow but moving is fine.

    One timer looks at all pieces: what a body costs is its bytes, not a deadline for each piece.
    Time that the receiver takes between two pieces does not count.

    Raises:
        DeadlineExceeded: when iterated over: the sender fell silent.
    """

    def __init__(self, body: AsyncIterator[bytes], idle_s: float) -> None:
        self._pieces = aiter(body)
        self._idle_s = idle_s
        self._loop = asyncio.get_running_loop()
        self._waits_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._is_silent = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        task = asyncio.current_task()
        self._task = task
        self._waits_since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._idle_s, self._look)
        try:
            return await anext(self._pieces)
        except asyncio.CancelledError:
            if self._is_silent and task is not None and task.uncancel() == 0:
                raise DeadlineExceeded(f"Nothing came for {self._idle_s:g} seconds.") from None
            raise
        finally:
            self._waits_since = None

    def _look(self) -> None:
        self._timer = None
        if self._waits_since is None or self._task is None:
            return
        left = self._waits_since + self._idle_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._is_silent = True
            self._task.cancel()


class Target(Protocol):
    """Takes the bytes, in a worker's thread, one call at a time."""

    def write(self, data: bytes | bytearray, /) -> None:
        """Take the next bytes."""
        ...


class Budget:
    """Bytes of all bodies that wait in memory; beyond it batches are written as they are.

    Nobody waits for anybody: a slow sender that holds half a batch cannot stop another.
    """

    def __init__(self, size: int) -> None:
        self._free = size

    def take(self, size: int) -> None:
        """Account for *size* more."""
        self._free -= size

    def give(self, size: int) -> None:
        """They are on disk."""
        self._free += size

    @property
    def spent(self) -> bool:
        """Whether batches should be written at once."""
        return self._free < 0


class Intake:
    """Runs one body into one sink: the loop gathers while a worker writes.

    Args:
        pool: of the workers.
        budget: shared by all bodies.
        sink: for this one.
        max_size: bytes allowed; None: any.
        room: raises where the disk has no room for so many bytes; asked in a worker.
        keep_partial: write also what came before the body failed.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        budget: Budget,
        sink: Target,
        max_size: int | None,
        room: Callable[[int], None],
        *,
        keep_partial: bool = False,
    ) -> None:
        self._pool = pool
        self._budget = budget
        self._sink = sink
        self._max_size = max_size
        self._room = room
        self._keep_partial = keep_partial
        self._writing: asyncio.Future[None] | None = None
        self._batch: list[bytes | bytearray] = []
        self._gathered = 0
        self._written = 0
        self._is_broken = False
        self.size = 0

    async def pump(self, first: bytes | bytearray, rest: AsyncIterator[bytes]) -> None:
        """All of the body; the sink is idle again when this returns or raises.

        Raises:
            TooLarge: more than allowed.
            OutOfSpace: the disk is full.
        """
        try:
            self._count(first)
            async for piece in rest:
                self._count(piece)
                if self._gathered >= BATCH or self._budget.spent:
                    await self._hand_over()
            await self._hand_over()
            await self._rest()
        except BaseException:
            if self._keep_partial:
                with anyio.CancelScope(shield=True):
                    await self._leave()
                    if not self._is_broken:
                        await self._hand_over()
            raise
        finally:
            self._budget.give(self._gathered)
            await self._leave()

    def _count(self, piece: bytes | bytearray) -> None:
        size = self.size + len(piece)
        if self._max_size is not None and size > self._max_size:
            raise TooLarge("The body is larger than allowed.", max_bytes=self._max_size)
        self.size = size
        self._budget.take(len(piece))
        if piece:
            self._batch.append(piece)
            self._gathered += len(piece)

    async def _hand_over(self) -> None:
        await self._rest()
        if self._batch:
            batch, self._batch = self._batch, []
            self._written, self._gathered = self._gathered, 0
            self._writing = asyncio.get_running_loop().run_in_executor(
                self._pool, self._write, batch
            )

    def _write(self, batch: list[bytes | bytearray]) -> None:
        try:
            data = batch[0] if len(batch) == 1 else b"".join(batch)
            self._room(len(data))
            self._sink.write(data)
        except BaseException:
            self._is_broken = True  # nothing may follow in its place
            raise

    async def _rest(self) -> None:
        """Wait until the worker is done; the disk answers, so this has an end."""
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                await _settled(writing)
            finally:
                self._budget.give(self._written)

    async def _leave(self) -> None:
        """The same on the way out of a failure, which is the one that counts."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await _ended(writing)
            self._budget.give(self._written)


async def _ended(future: asyncio.Future[T]) -> None:
    with anyio.CancelScope(shield=True):
        await asyncio.wait([future])
    future.exception()


async def _settled(future: asyncio.Future[T]) -> T:
    """Wait for a worker even when cancelled: what it writes to must not be closed under it."""
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        raise


async def in_worker(
    pool: ThreadPoolExecutor,
    job: Callable[[], T],
    *,
    undo: Callable[[T], object] | None = None,
) -> T:
    """Run *job* in a worker to its end, cancelled or not.

    Args:
        pool: of the workers.
        job: what to run.
        undo: takes back what *job* gave, where nobody is left to have it: closes what it opened.
    """
    future = asyncio.get_running_loop().run_in_executor(pool, job)
    try:
        return await _settled(future)
    except asyncio.CancelledError:
        if undo is not None:
            future.add_done_callback(lambda done: _take_back(done, undo))
        raise


def _take_back(done: asyncio.Future[T], undo: Callable[[T], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        undo(done.result())
