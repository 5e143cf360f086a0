"""Words of the data plane: streams, entries, cursors, retention, callers. Data alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, Flag, auto
from typing import Any, Final

from downstage.kernel.errors import BadId, Forbidden, NotFound
from downstage.streams import names

__all__ = [
    "AUTO",
    "LATEST",
    "ZERO",
    "Caller",
    "Durability",
    "Entry",
    "EntryId",
    "Grant",
    "Receipt",
    "Retention",
    "Right",
    "StreamInfo",
    "StreamSpec",
]

ID = re.compile(r"(\d{1,20})(?:-(\d{1,20}))?")
MOST = 2**64 - 1


class Durability(Enum):
    """What an acknowledgement promises; the words of every ack and every stream."""

    MEMORY = "memory"
    """Lost with the engine's process."""
    EVERYSEC = "everysec"
    """A crash of the process loses nothing, a power cut up to about a second."""
    ALWAYS = "always"
    """On the disk before it was answered."""
    REPLICATED = "replicated"
    """A second engine had it before it was answered."""


class Right(Flag):
    """What a caller may do with a stream."""

    NONE = 0
    READ = auto()
    WRITE = auto()
    RECORD = auto()
    ADMIN = auto()


@dataclass(frozen=True, slots=True, order=True)
class EntryId:
    """``ms-seq``: milliseconds since 1970 and a number among those of one millisecond."""

    ms: int
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    def __bytes__(self) -> bytes:
        return b"%d-%d" % (self.ms, self.seq)

    def next(self) -> EntryId:
        """The id right after this one."""
        return EntryId(self.ms, self.seq + 1) if self.seq < MOST else EntryId(self.ms + 1)

    @classmethod
    def parse(cls, text: str | bytes, *, seq: int = 0) -> EntryId:
        """Read ``ms`` or ``ms-seq``; *seq* is taken where none is given.

        Raises:
            BadId: it is neither.
        """
        given = text.decode("latin-1") if isinstance(text, bytes) else text
        found = ID.fullmatch(given)
        if found is None or int(found[1]) > MOST or int(found[2] or 0) > MOST:
            raise BadId("id", "An entry id is ms-seq: two whole numbers.")
        return cls(int(found[1]), int(found[2]) if found[2] is not None else seq)


ZERO: Final = EntryId(0, 0)
LATEST: Final = EntryId(MOST, MOST)
"""The last id that there can be."""
AUTO: Final = b"*"
"""In place of an id: the engine gives one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is read."""

    stream: str
    id: EntryId
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was stored, in the order in which it was given."""

    ids: tuple[bytes, ...]
    durability: Durability
    repeated: bool = False
    """It had been stored before, under the same key."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much a stream keeps; None: what the platform's settings say. The oldest go first."""

    count: int | None = None
    bytes: int | None = None
    age: timedelta | None = None
    when_full: str = "discard-old"
    """``discard-old``, or ``refuse-new``: then a push that would not fit is refused with 507."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What a stream was described as; everything may be absent."""

    content_type: str | None = None
    """Of each entry: ``image/jpeg``, ``application/json``, ``text/plain``, …; None: just bytes."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema of entries that are JSON; the shape of arrays; free for others."""
    description: str = ""
    durability: Durability = Durability.EVERYSEC
    """``always`` and ``replicated`` are asked for when a stream is made, and stay."""
    retention: Retention = Retention()
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the data server's API keeps for a stream (``PUT /streams/{sid}``)."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream as it stands."""

    name: str
    spec: StreamSpec
    length: int
    first: EntryId | None
    last: EntryId | None
    added: int
    """Entries that were ever added."""
    bytes: int
    """Of the entries that are kept, about."""
    rate: float
    """Entries a second, over the last seconds, as this process saw them."""
    created_at: datetime | None = None
    engine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the engine itself says of it (XINFO STREAM)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights on the streams that match a pattern."""

    pattern: str
    rights: Right
    of_sessions: bool = False
    """Also on the pictures and sound of sessions, which are their owners' and not everybody's."""

    def covers(self, name: str) -> bool:
        """Whether the stream *name* is meant."""
        if not self.of_sessions and names.is_of_session(name):
            return False
        return self.pattern == "*" or names.matcher(self.pattern).match(name) is not None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: its tenant, and what it may do with which streams."""

    subject: str
    name: str
    tenant: str
    grants: tuple[Grant, ...]

    def rights(self, stream: str) -> Right:
        """What it may do with *stream*."""
        found = Right.NONE
        for grant in self.grants:
            if grant.rights not in found and grant.covers(stream):
                found |= grant.rights
        if Right.ADMIN in found:
            found |= Right.READ | Right.WRITE | Right.RECORD
        return found

    def need(self, stream: str, right: Right) -> None:
        """Return if it may.

        Raises:
            NotFound: it may not even read the stream: as if there was none.
            Forbidden: it may read it, but not that.
        """
        held = self.rights(stream)
        if right in held:
            return
        if Right.READ not in held and right is not Right.WRITE:
            raise NotFound(f"There is no stream {stream}.")
        word = (right.name or "").lower()
        raise Forbidden(f"This token may not {word} the stream {stream}.", stream=stream)
