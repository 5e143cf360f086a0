"""Places of named consumers in single streams: groups of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from downstage.kernel.errors import PlatformError
from downstage.streams.engine import Refused, encode
from downstage.streams.model import ZERO, Entry, EntryId
from downstage.streams.part import Part
from downstage.streams.pipeline import gather
from downstage.streams.reading import LAST, NEWEST, Cursor
from downstage.streams.reads import payload

__all__ = ["Groups", "Place", "Spot"]

MEMBER = b"w"
"""All who take under one name are one to the engine: what matters is how long ago that was."""
CHUNK = 1000


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
class Spot:
    """A stream of a consumer."""

    name: str
    part: Part
    key: bytes


class Groups:
    """Reads, acknowledges and looks at groups; makes them where streams came later."""

    async def make(self, spot: Spot, name: str, start: Cursor) -> None:
        """Make the group of *name*, beginning at *start*; one that is there stays as it is."""
        await _quietly(
            spot,
            "BUSYGROUP",
            encode("XGROUP", "CREATE", spot.key, _group(name), await _start(spot, start)),
        )

    async def destroy(self, spot: Spot, name: str) -> None:
        """Forget it."""
        await _quietly(spot, "ERR", encode("XGROUP", "DESTROY", spot.key, _group(name)))

    async def place(self, spot: Spot, name: str) -> Place | None:
        """Where it stands; None: it has not begun in this stream."""
        groups, pending = await gather(
            spot.part.command,
            [
                encode("XINFO", "GROUPS", spot.key),
                encode("XPENDING", spot.key, _group(name)),
            ],
        )
        if isinstance(groups, Refused) or isinstance(pending, Refused):
            return None
        if isinstance(groups, PlatformError):
            raise groups
        for flat in groups:
            facts = dict(zip(flat[::2], flat[1::2], strict=True))
            if facts[b"name"] == _group(name):
                lag = facts.get(b"lag")
                return Place(
                    EntryId.parse(facts[b"last-delivered-id"]),
                    int(facts[b"pending"]),
                    EntryId.parse(pending[1]) if pending[1] else None,
                    None if lag is None else int(lag),
                )
        return None

    async def due(
        self, spot: Spot, name: str, ack_wait_s: float, count: int
    ) -> list[tuple[Entry, int]]:
        """Entries that were given too long ago, and how often they were given, now included."""
        command = encode(
            "XAUTOCLAIM",
            spot.key,
            _group(name),
            MEMBER,
            int(ack_wait_s * 1000),
            "0-0",
            "COUNT",
            count,
        )
        (reply,) = await gather(spot.part.command, [command])
        if isinstance(reply, Refused):
            return []  # no group yet: nothing was given
        if isinstance(reply, PlatformError):
            raise reply
        claimed = [item for item in reply[1] if item is not None and item[1] is not None]
        looks = [encode("XPENDING", spot.key, _group(name), id_, id_, 1) for id_, _ in claimed]
        times = await gather(spot.part.command, looks) if looks else []
        return [
            (Entry(spot.name, EntryId.parse(id_), payload(fields)), _times(pending))
            for (id_, fields), pending in zip(claimed, times, strict=True)
        ]

    async def fresh(self, spots: Sequence[Spot], name: str, count: int) -> list[Entry]:
        """Up to *count* entries of each of *spots* that were given to nobody yet."""
        found: list[Entry] = []
        by_part: dict[Part, list[Spot]] = {}
        for spot in spots:
            by_part.setdefault(spot.part, []).append(spot)
        for part, mine in by_part.items():
            reply = await self._read(part, mine, name, count)
            by_key = {spot.key: spot.name for spot in mine}
            for key, entries in reply or ():
                found += [
                    Entry(by_key[key], EntryId.parse(id_), payload(fields))
                    for id_, fields in entries
                ]
        return found

    async def _read(self, part: Part, spots: list[Spot], name: str, count: int) -> Any:
        command = encode(
            "XREADGROUP",
            "GROUP",
            _group(name),
            MEMBER,
            "COUNT",
            count,
            "STREAMS",
            *[spot.key for spot in spots],
            *[">"] * len(spots),
        )
        (reply,) = await gather(part.command, [command])
        if isinstance(reply, Refused) and reply.word == "NOGROUP":
            for spot in spots:  # made after the consumer: from its beginning
                await self.make(spot, name, ZERO)
            (reply,) = await gather(part.command, [command])
        if isinstance(reply, Refused) and reply.word == "NOGROUP":
            return None  # deleted just now
        if isinstance(reply, PlatformError):
            raise reply
        return reply

    async def ack(self, spot: Spot, name: str, ids: Sequence[bytes]) -> int:
        """Acknowledge; how many were pending."""
        return int(await spot.part.command.call("XACK", spot.key, _group(name), *ids))

    async def ack_through(self, spot: Spot, name: str, newest: EntryId) -> int:
        """Acknowledge all up to *newest*; how many that were."""
        acked = 0
        while True:
            command = encode("XPENDING", spot.key, _group(name), "-", str(newest), CHUNK)
            (pending,) = await gather(spot.part.command, [command])
            if isinstance(pending, Refused):
                return acked
            if isinstance(pending, PlatformError):
                raise pending
            if not pending:
                return acked
            acked += await self.ack(spot, name, [item[0] for item in pending])


def _times(pending: Any) -> int:
    """How often an entry was given, from what XPENDING says of it."""
    return 1 if isinstance(pending, PlatformError) or not pending else int(pending[0][3])


def _group(name: str) -> bytes:
    return b"c/" + name.encode()


async def _start(spot: Spot, start: Cursor) -> str | bytes:
    if isinstance(start, EntryId):
        return str(start)
    if start is LAST:
        return "$"
    assert start is NEWEST  # noqa: S101 - there is no other
    newest = await spot.part.command.call("XREVRANGE", spot.key, "+", "-", "COUNT", 2)
    return newest[1][0] if len(newest) > 1 else b"0-0"


async def _quietly(spot: Spot, word: str, command: bytes) -> None:
    """Do it; that *word* is answered is fine."""
    (reply,) = await gather(spot.part.command, [command])
    if isinstance(reply, Refused) and reply.word == word:
        return
    if isinstance(reply, PlatformError):
        raise reply
