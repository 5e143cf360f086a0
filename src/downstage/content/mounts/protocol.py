"""What a mounted place can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from downstage.content.blobs.protocol import BlobReading, Body

__all__ = ["Found", "Place", "Rest", "pieces_of"]

Rest = tuple[str, ...]
"""The names below the mount; empty: what is mounted itself."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing in a mounted place."""

    name: str
    kind: Literal["file", "folder"]
    size: int = 0
    modified_at: int = 0
    """Nanoseconds since the epoch; 0: not told."""
    etag: str = ""
    """As it was told there, perhaps weak, perhaps in quotes."""

    @property
    def tag(self) -> str:
        """The etag as it is told here, bare."""
        return self.etag.removeprefix("W/").strip('"') or f"{self.modified_at:x}-{self.size:x}"


class Place(Protocol):
    """A mounted place. Everything raises `NotFound` for what is not there.

    Whatever else goes wrong there is `Upstream`; what it cannot do is `NotSupported`.
    """

    @property
    def is_writable(self) -> bool:
        """Whether it may be changed through here."""
        ...

    async def stat(self, rest: Rest) -> Found:
        """What is there."""
        ...

    async def list(self, rest: Rest) -> list[Found]:
        """What a folder holds, in no order."""
        ...

    async def open(self, rest: Rest) -> tuple[Found, BlobReading]:
        """A file and its bytes; close them."""
        ...

    async def write(self, rest: Rest, body: Body) -> Found:
        """Give a file a content, whole or not at all."""
        ...

    async def create_folder(self, rest: Rest) -> Found:
        """Make a folder; the one above is there."""
        ...

    async def delete(self, rest: Rest, *, recursive: bool) -> None:
        """Remove something."""
        ...

    async def close(self) -> None:
        """Give back what is open."""
        ...


def pieces_of(body: Body) -> AsyncIterator[bytes]:
    """A body as its pieces."""
    if not isinstance(body, bytes):
        return body

    async def once() -> AsyncIterator[bytes]:
        yield body

    return once()
