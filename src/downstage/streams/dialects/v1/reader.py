"""Reads ranges of a stream piece by piece, so that no answer takes more memory than it should."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

from downstage.kernel.errors import NotFound
from downstage.streams.callers import Guest
from downstage.streams.model import Entry, EntryId, StreamSpec
from downstage.streams.service import Streams

__all__ = ["PAGE_BYTES", "Range", "Reader"]

PIECE_BYTES: Final = 4 << 20
"""Of entries that are in memory at once, about."""
PAGE_BYTES: Final = 16 << 20
"""Of entries in one page; a page that has more ends early."""
MOST_PIECE: Final = 1000


@dataclass(frozen=True, slots=True)
class Range:
    """Which entries of a stream, in which order."""

    start: EntryId | None
    stop: EntryId | None
    limit: int
    reverse: bool = False
    every: int = 1
    max_fps: float | None = None

    @property
    def is_sampled(self) -> bool:
        """Whether entries are left out: then it is read in one piece, as the rhythm runs on."""
        return self.every > 1 or self.max_fps is not None

    def after(self, entry: Entry) -> Range | None:
        """What is left behind *entry*; None: nothing."""
        if not self.reverse:
            return replace(self, start=entry.id.next())
        before = _before(entry.id)
        return None if before is None else replace(self, stop=before)


class Reader:
    """Reads one stream for one caller.

    Args:
        streams: the service.
        guest: who reads.
        stream: a name that was checked.
    """

    def __init__(self, streams: Streams, guest: Guest, stream: str) -> None:
        self._streams = streams
        self._caller = guest.caller
        self._stream = stream
        self._average = 0

    async def spec(self) -> StreamSpec:
        """What the stream is described as.

        Raises:
            NotFound: there is none.
        """
        info = await self._streams.info(self._caller, self._stream)
        self._average = info.bytes // max(info.length, 1)
        return info.spec

    async def pieces(self, wanted: Range) -> AsyncIterator[list[Entry]]:
        """Entries in pieces of about `PIECE_BYTES`."""
        left: Range | None = wanted
        count = wanted.limit
        while left is not None and count > 0:
            asked = count if wanted.is_sampled else min(count, self._fits())
            found = await self._streams.range(
                self._caller,
                self._stream,
                left.start,
                left.stop,
                count=asked,
                reverse=left.reverse,
                every=left.every,
                max_fps=left.max_fps,
            )
            if found:
                self._average = sum(len(entry.data) for entry in found) // len(found)
                yield found
            if len(found) < asked:
                return
            count -= len(found)
            left = left.after(found[-1])

    async def page(self, wanted: Range) -> tuple[list[Entry], str | None]:
        """As many as are wanted and fit, and the id to go on with; None: that was all.

        The next page is what comes `after` that id, or, the newest first, `until` it.
        """
        found, size = list[Entry](), 0
        async for piece in self.pieces(replace(wanted, limit=wanted.limit + 1)):
            for entry in piece:
                if len(found) == wanted.limit or (found and size + len(entry.data) > PAGE_BYTES):
                    return found, _next(found[-1].id, reverse=wanted.reverse)
                found.append(entry)
                size += len(entry.data)
        return found, None

    async def one(self, entry_id: str) -> Entry:
        """The entry of an id, or the ``newest``, or the ``oldest``.

        Raises:
            NotFound: there is none.
            BadId: that is no id.
        """
        if entry_id in ("newest", "oldest"):
            bounds, reverse = (None, None), entry_id == "newest"
        else:
            wanted = EntryId.parse(entry_id)
            bounds, reverse = (wanted, wanted), False
        found = await self._streams.range(
            self._caller, self._stream, *bounds, count=1, reverse=reverse
        )
        if not found:
            raise NotFound("There is no such entry.")
        return found[0]

    def _fits(self) -> int:
        return max(1, min(MOST_PIECE, PIECE_BYTES // max(self._average, 1)))


def _next(last: EntryId, *, reverse: bool) -> str | None:
    before = _before(last) if reverse else last
    return None if before is None else str(before)


def _before(entry_id: EntryId) -> EntryId | None:
    """The id right before *entry_id*."""
    if entry_id.seq:
        return EntryId(entry_id.ms, entry_id.seq - 1)
    return EntryId(entry_id.ms - 1, 2**64 - 1) if entry_id.ms else None
