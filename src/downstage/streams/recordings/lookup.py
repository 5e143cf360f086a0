"""Finding recordings and reading them; the part of `Recordings` that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from downstage.kernel.errors import Conflict, NotFound
from downstage.streams import names
from downstage.streams.model import Caller, Entry, EntryId
from downstage.streams.recordings.catalogue import Catalogue
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


def _refuse_unknown(stream: str, allowed: Sequence[str]) -> None:
    if stream not in allowed:
        raise NotFound(f"There is no stream {stream} in this recording.")
