"""What a process knows of a stream that it appends to; shared by all its producers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downstage.streams.model import StreamSpec
from downstage.streams.retention import Account, Bounds
from downstage.streams.stats import StreamFigures

if TYPE_CHECKING:
    from downstage.streams.part import Part

__all__ = ["Outlet"]

STEP = 64
"""The number of entries to keep is told anew when it is off by more than one part in so many."""


class Outlet:
    """One stream on its way out: where to, under which key, keeping how much.

    Args:
        key: of the stream in the engine.
        part: where it is kept.
        spec, bounds: as described.
        figures: of the stream in this process.
    """

    __slots__ = (
        "_head",
        "_prefix",
        "_size",
        "_suffix",
        "account",
        "figures",
        "is_made",
        "keep",
        "key",
        "last_id",
        "made_at",
        "name",
        "outbox",
        "part",
        "spec",
        "tenant",
        "used_at",
        "users",
    )

    def __init__(
        self, key: bytes, part: Part, spec: StreamSpec, bounds: Bounds, figures: StreamFigures
    ) -> None:
        self.key = key
        self.part = part
        self.outbox = part.outbox_of(spec)
        self.spec = spec
        self.figures = figures
        self.tenant = figures.tenant
        self.name = figures.stream
        self.account = Account(bounds)
        self.is_made = False
        """Whether the index has it; until then nothing is appended."""
        self.made_at = 0
        """When it was made, ms, as far as is known here."""
        self.last_id: bytes | None = None
        """The newest id that an answer told us."""
        self.used_at = 0.0
        self.users = 0
        """Producers that have it open."""
        self.keep = 0
        self._prefix = self._suffix = self._head = b""
        self._size = -1
        self.settle()

    @property
    def bounds(self) -> Bounds:
        """How much it keeps."""
        return self.account.bounds

    def describe(self, spec: StreamSpec, bounds: Bounds) -> None:
        """It was described anew."""
        self.spec = spec
        self.account.bounds = bounds
        self.settle()

    def settle(self) -> None:
        """Write the head of its commands anew, where the number to keep has changed."""
        keep = self.account.keep
        if self.bounds.refuse:
            keep = -1
        if self.keep and abs(keep - self.keep) * STEP <= self.keep:
            return
        self.keep = keep
        trim = b"" if keep < 0 else b"$6\r\nMAXLEN\r\n$1\r\n~\r\n%b" % _bulk(b"%d" % keep)
        count = 5 if keep < 0 else 8
        self._prefix = b"*%d\r\n$4\r\nXADD\r\n%b%b" % (count, _bulk(self.key), trim)
        self._suffix = b"$1\r\n*\r\n$1\r\nd\r\n"
        self._size = -1

    def head(self, size: int) -> bytes:
        """What comes before a payload of *size* bytes, when the engine gives the id."""
        if size != self._size:
            self._head = b"%b%b$%d\r\n" % (self._prefix, self._suffix, size)
            self._size = size
        return self._head

    def head_of(self, id_: bytes, size: int) -> bytes:
        """The same with an id that was given."""
        return b"%b%b$1\r\nd\r\n$%d\r\n" % (self._prefix, _bulk(id_), size)

    def took(self, entries: int, size: int) -> None:
        """Count *entries* of *size* bytes that leave now."""
        if self.account.add(entries, size):
            self.settle()


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)
