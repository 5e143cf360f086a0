"""Finding recordings and reading them; the part of `Recordings` that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from downstage.kernel.errors import Conflict, NotFound
from downstage.streams import names
from downstage.streams.model import Caller, Entry, EntryId, Grant, Right
from downstage.streams.recordings.catalogue import Catalogue
from downstage.streams.recordings.exporting import export_zip
from downstage.streams.recordings.model import Recording, may_read_all, may_see, readable
from downstage.streams.recordings.reader import How, RecordingReader
from downstage.streams.recordings.readers import Readers
from downstage.streams.recordings.running import Running
from downstage.streams.recordings.shelf import ContentShelf, Shelf

__all__ = ["MOST_RANGE", "Lookup"]

T = TypeVar("T")
MOST_RANGE: Final = 4096
"""Entries of one answer."""
MOST_BYTES: Final = 32 << 20
"""Of one answer."""


class Lookup:
    """Reads; see `Recordings`."""

    def __init__(
        self, shelf: Shelf, catalogue: Catalogue, content: ContentShelf, running: Running
    ) -> None:
        self.shelf = shelf
        self.readers = Readers()
        self._catalogue = catalogue
        self._content = content
        self._running = running
        self._fetching = anyio.Lock()

    @property
    def floor(self) -> int:
        """Bytes that stay free on the disk."""
        return self._running.floor

    def now_ms(self) -> int:
        """The time, as recordings have it."""
        return self._running.now_ms()

    def name_of(self, now_ms: int) -> str:
        """What a recording is called that nobody names: date and time, here."""
        at = datetime.fromtimestamp(now_ms / 1000)  # noqa: DTZ006 - the clock on the wall
        return at.strftime("%Y.%m.%d-%H.%M.%S")

    async def list(self, caller: Caller, *, hidden: bool = False) -> list[Recording]:
        """Those that the caller may see, the oldest first; *hidden*: those too."""
        found = await self._catalogue.all(caller.tenant)
        return [
            self._running.fresh(recording)
            for recording in found
            if may_see(caller, recording) and (hidden or not recording.hidden)
        ]

    async def get(self, caller: Caller, name: str) -> Recording:
        """One of them.

        Raises:
            NotFound: there is none, or the caller may not see it.
        """
        names.check(name, "name")
        found = self._running.fresh(await self._catalogue.find(caller.tenant, name))
        if not may_see(caller, found):
            raise NotFound(f"There is no recording {name}.")
        return found

    async def current(self, caller: Caller) -> Recording | None:
        """The one that was started last of those that run."""
        running = [r for r in await self.list(caller, hidden=True) if not r.life.ended]
        return max(running, key=lambda r: r.started_at, default=None)

    async def file(self, caller: Caller, name: str) -> tuple[Recording, Path]:
        """The whole file of one that has ended, for who may read all that is in it.

        Raises:
            Forbidden: not all of it.
            Conflict: it is still being written.
        """
        recording = await self.get(caller, name)
        may_read_all(caller, recording)
        if not recording.life.ended:
            raise Conflict("This recording still runs. Stop it first.")
        return recording, await self.local(recording)

    async def local(self, recording: Recording) -> Path:
        """Where its file lies, fetched from the content service where it is only there."""
        path = self.shelf.file(recording)
        if not recording.content_path or await anyio.to_thread.run_sync(path.exists):
            return path
        async with self._fetching:
            if not await anyio.to_thread.run_sync(path.exists):
                await self._content.fetch(recording)
        return path

    async def by_link(self, tenant: str, name: str) -> Recording:
        """One that a signed link names; nothing of it may be told before the link is checked.

        Raises:
            NotFound: there is none.
        """
        names.check(name, "name")
        return await self._catalogue.find(tenant, name)

    @staticmethod
    def link_reader(recording: Recording) -> Caller:
        """Whom a link that counts stands for: who may read this recording, and nothing else."""
        grants = tuple(Grant(stream, Right.READ) for stream in recording.facts)
        return Caller("service:links", "a link", recording.tenant, grants)

    async def read(
        self, caller: Caller, name: str, job: Callable[[RecordingReader, list[str]], T]
    ) -> T:
        """Run *job* in a thread, over a reader and the streams that the caller may read."""
        recording = await self.get(caller, name)
        allowed = readable(caller, recording)
        path = await self.local(recording)
        return await self.readers.read(
            recording.id,
            path,
            lambda reader: job(reader, allowed),
            self._running.ledger(recording.id),
        )

    async def at(
        self,
        caller: Caller,
        name: str,
        streams: Sequence[str],
        time: EntryId,
        *,
        how: How = "nearest",
        tolerance_ms: int | None = None,
    ) -> dict[str, Entry | None]:
        """What each of *streams* held at *time*; None: nothing within the tolerance."""

        def job(reader: RecordingReader, allowed: list[str]) -> dict[str, Entry | None]:
            found: dict[str, Entry | None] = {}
            for stream in streams:
                _refuse_unknown(stream, allowed)
                entry = reader.at(stream, time, how)
                far = entry is not None and abs(entry.id.ms - time.ms) > (tolerance_ms or 0)
                found[stream] = None if tolerance_ms is not None and far else entry
            return found

        return await self.read(caller, name, job)

    async def range(
        self,
        caller: Caller,
        name: str,
        streams: Sequence[str],
        start: EntryId,
        stop: EntryId | None,
        *,
        count: int = 100,
        reverse: bool = False,
        every: int = 1,
    ) -> list[Entry]:
        """Entries of *streams* between two ids, by id: at most *count*, and `MOST_BYTES`.

        Args:
            caller: may read them.
            name: of the recording.
            streams: names of streams in it.
            start: the first id that counts.
            stop: the last id that counts; None: to the end.
            count: entries in the answer, at most.
            reverse: begin with the newest.
            every: only each so manieth.
        """

        def job(reader: RecordingReader, allowed: list[str]) -> list[Entry]:
            for stream in streams:
                _refuse_unknown(stream, allowed)
            found: list[Entry] = []
            size = 0
            entries = reader.entries(streams, start, stop, reverse=reverse)
            for number, entry in enumerate(entries):
                if number % every:
                    continue
                size += len(entry.data)
                if found and size > MOST_BYTES:
                    break
                found.append(entry)
                if len(found) >= min(count, MOST_RANGE):
                    break
            return found

        return await self.read(caller, name, job)

    async def ticks(
        self, caller: Caller, name: str, streams: Sequence[str], buckets: int
    ) -> tuple[int, int, dict[str, list[int]]]:
        """How many entries lie where: first and last ms, and *buckets* counts of each stream."""

        def job(
            reader: RecordingReader, allowed: list[str]
        ) -> tuple[int, int, dict[str, list[int]]]:
            for stream in streams:
                _refuse_unknown(stream, allowed)
            facts = reader.facts()
            firsts = [facts[s].first for s in allowed if facts[s].first is not None]
            lasts = [facts[s].last for s in allowed if facts[s].last is not None]
            start = min((i.ms for i in firsts if i), default=0)
            stop = max((i.ms for i in lasts if i), default=0)
            counts = {s: reader.count(s, start, stop, buckets) for s in streams}
            return start, stop, counts

        return await self.read(caller, name, job)

    async def export(
        self, caller: Caller, name: str, streams: Sequence[str] | None
    ) -> Iterator[bytes]:
        """The pieces of a zip of the data server's layout; made in a thread, while it is sent.

        Raises:
            NotFound: one of *streams* is not there for this caller.
            Conflict: it is still being written.
        """
        recording = await self.get(caller, name)
        if not recording.life.ended:
            raise Conflict("This recording still runs. Stop it first.")
        allowed = readable(caller, recording)
        for stream in streams or ():
            _refuse_unknown(stream, allowed)
        path = await self.local(recording)
        if not await anyio.to_thread.run_sync(path.exists):
            raise NotFound("The file of this recording is gone.")
        return _exported(path, recording.name, list(streams or allowed))


def _exported(path: Path, name: str, streams: list[str]) -> Iterator[bytes]:
    with RecordingReader(path) as reader:
        yield from export_zip(reader, name, streams)


def _refuse_unknown(stream: str, allowed: Sequence[str]) -> None:
    if stream not in allowed:
        raise NotFound(f"There is no stream {stream} in this recording.")
