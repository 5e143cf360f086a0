"""Bytes that are durable but belong to nothing yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from downstage.content.blobs.pins import Hold
from downstage.content.blobs.protocol import Extent, Place

__all__ = ["Staging", "Strays"]


class Strays:
    """Files that stagings left without anybody knowing whether they were committed.

    The collector looks them up and takes what no row names; a restart forgets them and sweeps.
    """

    def __init__(self) -> None:
        self._names = dict[str, None]()

    def add(self, names: Sequence[str]) -> None:
        """Have *names* looked up some time."""
        self._names.update(dict.fromkeys(names))

    def take(self) -> list[str]:
        """All of them, from now on the caller's."""
        names, self._names = self._names, {}
        return list(names)


@dataclass(slots=True)
class Staging:
    """What `stage` gives; see `protocol.Staged`."""

    hash: str
    size: int
    inline: bytes | None = None
    extents: Sequence[Extent] | None = None
    """Where the new bytes lie; None: inline, or known before."""
    hold: Hold | None = None
    strays: Strays | None = None
    _released: bool = field(default=False)

    @property
    def place(self) -> Place:
        """Where the bytes lie."""
        if self.inline is not None:
            return "inline"
        if self.extents is None or len(self.extents) == 1:
            return "file"
        return "extents"

    def release(self) -> None:
        """Let the collector have what was not committed."""
        if self._released:
            return
        self._released = True
        if self.strays is not None and self.extents:
            self.strays.add([extent.source for extent in self.extents])
        if self.hold is not None:
            self.hold.release()
