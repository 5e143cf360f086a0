"""Named consumers: places in streams that outlive their readers, kept by acknowledgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from downstage.streams.model import Caller, Entry, EntryId
from downstage.streams.reading import LAST, Cursor

__all__ = ["Consumer", "Consumers", "Place", "Taken"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a consumer stands in one stream."""

    delivered: EntryId
    """The last that was given to somebody."""
    pending: int
    """Given, not acknowledged."""
    oldest_pending: EntryId | None
    lag: int | None
    """Stored, not given yet; None where the engine cannot tell."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """A named consumer as it stands."""

    name: str
    streams: str
    """A stream or a pattern."""
    ack_wait: timedelta
    """How long an entry may stay unacknowledged before it is given again."""
    created_at: datetime
    places: Mapping[str, Place]


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry that was given and is to be acknowledged."""

    entry: Entry
    deliveries: int
    """How often it was given, this time included."""


class Consumers:
    """Named consumers of a tenant; readers of one name share its entries."""

    def __init__(self, parts: object, index: object, subscribe: object) -> None:
        del parts, index, subscribe

    async def create(
        self,
        caller: Caller,
        name: str,
        streams: str,
        *,
        start: Cursor = LAST,
        ack_wait: timedelta = timedelta(seconds=30),
    ) -> Consumer:
        """Make a consumer of a stream or a pattern; making the same again is fine.

        Raises:
            AlreadyExists: there is one of that name with other streams.
        """
        raise NotImplementedError

    async def list(self, caller: Caller) -> list[Consumer]:
        """Those whose streams the caller may read."""
        raise NotImplementedError

    async def info(self, caller: Caller, name: str) -> Consumer:
        """One of them, with its places and lag.

        Raises:
            NotFound: there is none.
        """
        raise NotImplementedError

    async def delete(self, caller: Caller, name: str) -> None:
        """Forget it and its places.

        Raises:
            NotFound: there is none.
        """
        raise NotImplementedError

    async def take(
        self, caller: Caller, name: str, *, count: int = 1, wait_s: float = 0
    ) -> list[Taken]:
        """Up to *count* entries, first those that are due again; waits up to *wait_s* for one."""
        raise NotImplementedError

    async def ack(
        self,
        caller: Caller,
        name: str,
        stream: str,
        ids: Sequence[EntryId],
        *,
        through: bool = False,
    ) -> int:
        """Acknowledge; returns how many were pending. *through*: all up to the id, too."""
        raise NotImplementedError
