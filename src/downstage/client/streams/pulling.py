"""A reader of streams that comes back after an outage where it was: no gap, no duplicate."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import msgspec

from downstage.client.http import Unreachable
from downstage.client.logs import log, log_error
from downstage.client.streams.api import Api, query_of
from downstage.client.streams.buffer import Buffer
from downstage.client.streams.model import Entry, Gap, StreamInfo
from downstage.client.streams.outage import Outage
from downstage.client.streams.places import ZERO, Places
from downstage.client.streams.wire import Wire, open_wire
from downstage.client.types import LogLevel
from downstage.kernel.errors import (
    Damaged,
    Lagged,
    PlatformError,
    TooMany,
    Unauthenticated,
    Unavailable,
)

__all__ = ["AsyncPull", "Wanted"]

AT_ONCE = 64
"""Entries of one stream in one message, when there are many."""
KEPT_GAPS = 256
MOST_ASKED = 32
"""Streams that are asked for one by one."""
IN_THREAD = 16 * 1024
_rows = msgspec.json.Decoder(list[tuple[str, str, int]]).decode


@dataclass(frozen=True, slots=True)
class Wanted:
    """How entries are wanted."""

    count: int | None = None
    """So many, then it ends."""
    latest: bool = False
    """Rather skip than be late."""
    max_fps: float | None = None
    sync: str | None = None
    """A stream: after each of its entries, no older ones of the others."""
    timeout_s: float | None = None
    """It ends after so long without an entry."""
    decode: bool = False
    """Have `Entry.value` ready, decoded in threads."""
    on_gap: Callable[[Gap], object] | None = None


class AsyncPull:
    """Entries of streams, as they come: ``async for entry in pull``.

    Made by `AsyncClient.pull`. Entering it, or iterating, begins it; leaving the loop ends it;
    iterating again goes on where it was.

    Attributes:
        gaps: entries that are missing, as far as it is known; the newest ones.
    """

    def __init__(self, api: Api, places: Places, wanted: Wanted, patience_s: float) -> None:
        self.gaps: deque[Gap] = deque(maxlen=KEPT_GAPS)
        self._api = api
        self._places = places
        self._wanted = wanted
        self._patience_s = patience_s
        self._buffer = Buffer(latest=wanted.latest)
        self._taken = deque[Entry]()
        """What a loop took and did not use."""
        self._loops = 0
        self._task: asyncio.Task[None] | None = None
        self._left = wanted.count
        self._ready = asyncio.Event()
        self._was_connected = False
        self._may_sign_in = False
        """Its token ended while it was good: perhaps there is another one by now."""
        self._skipped_there = 0

    @property
    def skipped(self) -> int:
        """Entries that were passed over because this reader was slow (``latest=True``)."""
        return self._skipped_there + self._buffer.skipped

    @property
    def at_once(self) -> int:
        """Entries to take at once: one where the next may be a newer one, or costs time."""
        return 1 if self._wanted.latest or self._wanted.decode else AT_ONCE

    @property
    def is_open(self) -> bool:
        """Whether it is connected, or trying to be."""
        return self._task is not None

    @property
    def last_ids(self) -> dict[str, str]:
        """The last id that was received of each stream: what ``last=`` takes to go on later."""
        return {name: at for name, at in self._places.at.items() if at != ZERO}

    async def __aenter__(self) -> Self:
        """Connect: what is pushed from here on comes.

        Raises:
            PlatformError: the server refuses, or cannot be reached.
        """
        self._begin()
        try:
            await self._ready.wait()
            if not self._was_connected:
                await self._buffer.take(0)
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
        await self.close()

    def __aiter__(self) -> AsyncGenerator[Entry]:
        return self._entries()

    async def _entries(self) -> AsyncGenerator[Entry]:
        # The end of a loop that was left comes later than the beginning of the next one.
        self._loops += 1
        mine = self._loops
        try:
            while found := await self.take(self.at_once):
                self.give_back(found)
                while self._taken:
                    yield self._taken.popleft()
        finally:
            if mine == self._loops:
                await self.close()

    async def values(self) -> AsyncGenerator[Any]:
        """What the entries mean, by their types: arrays, pixels, objects, text, bytes."""
        async for entry in self:
            yield entry.value

    async def take(self, most: int = AT_ONCE) -> list[Entry]:
        """The next entries: at least one, at most *most*; none: that was all.

        Raises:
            Lagged: what comes next is not kept any more, and nobody asked to be told (``on_gap``).
            Unavailable: the server was away for too long.
            PlatformError: as the server said.
        """
        if self._taken:
            return [self._taken.popleft() for _ in range(min(most, len(self._taken)))]
        if self._left == 0:
            return []
        self._begin()
        wanted = most if self._left is None else min(most, self._left)
        if self._buffer.is_empty and self._wanted.timeout_s is not None:
            try:
                async with asyncio.timeout(self._wanted.timeout_s):
                    found = await self._buffer.take(wanted)
            except TimeoutError:
                return []
        else:
            found = await self._buffer.take(wanted)
        if self._left is not None:
            self._left -= len(found)
        if self._wanted.decode:
            await _decode(found)
        return found

    def give_back(self, entries: Sequence[Entry]) -> None:
        """What was taken and not used comes first the next time."""
        self._taken.extendleft(reversed(entries))

    def _begin(self) -> None:
        if self._task is None:
            self._buffer.reopen()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="streams-pull")

    async def close(self) -> None:
        """End it; what was received stays to be taken."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    # --- the task --------------------------------------------------------------------------------

    async def _run(self) -> None:
        outage = Outage(self._patience_s)
        try:
            while True:
                try:
                    await self._once(outage)
                except Lagged as error:
                    await self._lagged(error)
                except Unauthenticated:
                    if not self._may_sign_in:
                        raise
                    self._may_sign_in = False
                    self._api.forget_token()
                except (Unavailable, TooMany) as error:
                    if isinstance(error, Unreachable) and not self._was_connected:
                        raise  # an address that is wrong is told at once
                    await outage.pause(error)
        except PlatformError as error:
            self._buffer.end(error)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            log_error("streams.pull_crashed", error)
            self._buffer.end(PlatformError(f"An error of this client: {error!r}"))
        finally:
            self._ready.set()

    async def _once(self, outage: Outage) -> None:
        if not self._places.is_settled:
            self._places.settle(await self._infos())
        wire = await open_wire(self._api.http, self._address())
        try:
            if self._was_connected:
                await self._look_for_gaps()
            self._was_connected = True
            self._ready.set()
            while True:
                await self._receive(wire)
                self._may_sign_in = True
                outage.over()
        finally:
            await wire.close()

    def _address(self) -> str:
        streams, ids = self._places.address()
        wanted = self._wanted
        query = {
            "last_entry_id": ids,
            "latest": wanted.latest,
            "count": 1 if wanted.latest else AT_ONCE,
            "max_fps": wanted.max_fps,
            "time_sync_id": wanted.sync,
        }
        return f"/v1/streams/{quote(streams, safe='+*')}/pull{query_of(query)}"

    async def _receive(self, wire: Wire) -> None:
        header = await wire.receive()
        if not isinstance(header, str):
            raise Damaged("The server sent entries without saying which.")
        if header.startswith("{"):
            self._note(header)
            return
        body = await wire.receive()
        if not isinstance(body, bytes):
            raise Damaged("The server said what comes, and sent something else.")
        try:
            rows = _rows(header)
        except msgspec.DecodeError as error:
            raise Damaged("The server's header is out of form.") from error
        ends = [*(row[2] for row in rows[1:]), len(body)]
        types = self._api.types
        for (stream, entry_id, start), end in zip(rows, ends, strict=True):
            data = body if len(rows) == 1 else body[start:end]
            if stream not in types:
                await self._api.type_of(stream)
            entry = Entry(stream, entry_id, data, types.get(stream))
            await self._buffer.put(entry)
            self._places.passed(stream, entry_id)

    def _note(self, text: str) -> None:
        said = cast("dict[str, Any]", msgspec.json.decode(text))
        self._skipped_there += int(said.get("skipped", 0))
        if gap := said.get("gap"):
            self._tell(Gap(str(gap["stream"]), str(gap["after"]), gap.get("lost")))

    # --- gaps ------------------------------------------------------------------------------------

    def _tell(self, gap: Gap) -> None:
        self.gaps.append(gap)
        if self._wanted.on_gap is not None:
            self._wanted.on_gap(gap)
        else:
            lost = "?" if gap.lost is None else gap.lost
            log(LogLevel.WARNING, "streams.entries_missing", stream=gap.stream, lost=lost)

    async def _look_for_gaps(self) -> None:
        """Tell where what came during an outage may be gone; the server cannot know what we had."""
        if self._wanted.latest:
            return
        for stream in self._places.missing(await self._infos()):
            self._tell(Gap(stream, self._places.at[stream], None))

    async def _lagged(self, error: Lagged) -> None:
        if self._wanted.on_gap is None:
            raise error
        # What is kept of the streams is taken; `_look_for_gaps` tells of the rest.
        log(LogLevel.INFO, "streams.reader_lagged", why=error.detail)

    async def _infos(self) -> list[StreamInfo]:
        """The streams that are read, as far as they are there."""
        found = dict[str, StreamInfo]()
        for pattern in self._places.patterns:
            found |= {info.name: info for info in await self._api.infos(pattern)}
        names = [name for name in self._places.names if name not in found]
        if len(names) > MOST_ASKED:
            chosen = set(names)
            every = await self._api.infos()
            return [*found.values(), *(info for info in every if info.name in chosen)]
        for name in names:
            if (info := await self._api.find(name)) is not None:
                found[name] = info
        return list(found.values())


async def _decode(entries: Iterable[Entry]) -> None:
    """Have their values ready; what cannot be decoded raises where it is asked for."""

    def work(entry: Entry) -> None:
        try:
            entry.value  # noqa: B018  # pyright: ignore[reportUnusedExpression]
        except PlatformError:
            return

    for entry in entries:
        if len(entry.data) < IN_THREAD:
            work(entry)
        else:
            await asyncio.to_thread(work, entry)
