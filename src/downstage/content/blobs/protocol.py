"""What the tree asks of the store of bytes: stage, commit, open.

A body is *staged* first: streamed, hashed in passing, durable on disk, but named by nothing. The
tree then commits its own rows and `Ledger.adopt` in one transaction, and releases the staging::

    staged = await store.stage(body, previous=head)
    try:
        await database.write(lambda db: (adopt(db, staged), insert_version(db, staged.hash)))
    finally:
        staged.release()

Crashing between any two of those steps leaves an orphan at most, and the collector takes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar

__all__ = [
    "INLINE_MAX",
    "BlobReading",
    "BlobRef",
    "BlobStore",
    "Body",
    "Database",
    "Extent",
    "Place",
    "Staged",
]

T = TypeVar("T")

INLINE_MAX = 64 * 1024
"""Largest body kept inside the database itself, bytes."""

Body = bytes | AsyncIterator[bytes]

Place = Literal["inline", "file", "extents"]
"""Where bytes lie: in their row, as one file of their own, or as ranges of several files."""


class Database(Protocol):
    """The one writer of the database, and readers beside it."""

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run *job* in the writer's thread inside a transaction; back after it is durable."""
        ...

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection that only reads, for this thread."""
        ...


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Names bytes: their BLAKE3 in hexadecimal, and how many they are."""

    hash: str
    size: int


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of a file below the folder of content: of the *source*, *length* bytes from *at*."""

    source: str
    at: int
    length: int


class Staged(Protocol):
    """Bytes that are durable but belong to nothing yet. Release it, committed or not."""

    @property
    def hash(self) -> str:
        """BLAKE3 of the bytes, hexadecimal."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def inline(self) -> bytes | None:
        """The bytes themselves where they go into the database."""
        ...

    @property
    def extents(self) -> Sequence[Extent] | None:
        """Where the new bytes lie; None: inline, or known before."""
        ...

    @property
    def place(self) -> Place:
        """Where the bytes lie."""
        ...

    def release(self) -> None:
        """Let the collector have what was not committed; idempotent, never raises."""
        ...


class BlobReading(Protocol):
    """Open bytes; they stay readable until closed, whatever is deleted meanwhile."""

    @property
    def ref(self) -> BlobRef:
        """What is read."""
        ...

    @property
    def data(self) -> bytes | None:
        """All of it, where it is inline."""
        ...

    @property
    def file(self) -> Path | None:
        """One plain file that holds exactly these bytes, for sendfile; None: use `pieces`."""
        ...

    def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from *start* up to *stop*, in pieces of at most 1 MiB.

        From start to end, the last piece comes only after the hash was found right.

        Raises:
            Damaged: the stored bytes are not what was stored.
        """
        ...

    def close(self) -> None:
        """Give the descriptors back; idempotent."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BlobStore(Protocol):
    """Bytes by their hash."""

    async def stage(
        self,
        body: Body,
        *,
        previous: BlobRef | None = None,
        size_hint: int | None = None,
        max_size: int | None = None,
        idle_s: float | None = None,
    ) -> Staged:
        """Take *body* in and make it durable.

        Args:
            body: all of it, or its pieces as they come.
            previous: what the same file held before; a large body is then stored as its
                differences from that.
            size_hint: bytes announced, to refuse early what cannot fit.
            max_size: bytes allowed.
            idle_s: seconds that the next piece may take; None: the store's own bound.

        Raises:
            OutOfSpace: the disk is full; nothing is left behind.
            TooLarge: more than *max_size*.
            DeadlineExceeded: no piece for *idle_s*.
        """
        ...

    async def open(self, ref: BlobRef) -> BlobReading:
        """Bytes that some version holds.

        Raises:
            NotFound: nothing of that hash is stored.
            Damaged: they are known to be damaged.
        """
        ...
