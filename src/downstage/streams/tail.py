"""The ends of streams: their last ids, and which ids entries got whose answer was lost."""

from __future__ import annotations

from downstage.kernel.errors import PlatformError, Unavailable
from downstage.streams.engine import Lane, NotReady
from downstage.streams.model import ZERO, EntryId
from downstage.streams.outbox import Answer, Train
from downstage.streams.outlet import Outlet

__all__ = ["find_ids", "last_id"]

CHUNK = 64
MOST = 4096
"""Entries of one stream that are looked through."""


async def last_id(lane: Lane, key: bytes) -> EntryId:
    """The last id that a stream ever gave; `ZERO` where there is none.

    Raises:
        NotReady: the engine does not answer.
    """
    newest = await lane.call("XREVRANGE", key, "+", "-", "COUNT", 1)
    if newest:
        return EntryId.parse(newest[0][0])
    # Without entries it may have had some; XINFO would send whole entries where there are any.
    try:
        reply = await lane.call("XINFO", "STREAM", key)
    except NotReady:
        raise
    except PlatformError:
        return ZERO  # there is no such key
    facts = dict(zip(reply[::2], reply[1::2], strict=True))
    return EntryId.parse(facts[b"last-generated-id"])


async def find_ids(lane: Lane, train: Train) -> list[Answer]:
    """Ids of the entries of *train*, of which it is known that they are stored.

    Raises:
        NotReady: the engine does not answer.
    """
    places: dict[int, tuple[Outlet, list[int]]] = {}
    at = 0
    for unit in train.units:
        for offset in range(unit.count):
            outlet = unit.outlets[offset if len(unit.outlets) > 1 else 0]
            places.setdefault(id(outlet), (outlet, []))[1].append(at + offset)
        at += unit.count
    answers: list[Answer] = [_unknown()] * train.count
    for outlet, wanted in places.values():
        payloads = [bytes(train.buffers[3 * place + 1]) for place in wanted]
        for place, found in zip(wanted, await _search(lane, outlet, payloads), strict=True):
            if found is not None:
                answers[place] = found
    return answers


async def _search(lane: Lane, outlet: Outlet, payloads: list[bytes]) -> list[bytes | None]:
    """The newest entries of a stream that hold *payloads*, in that order."""
    found: list[bytes | None] = [None] * len(payloads)
    left, seen, stop = len(payloads), 0, b"+"
    floor = b"(" + outlet.last_id if outlet.last_id else b"-"
    while left and seen < MOST:
        chunk = await lane.call("XREVRANGE", outlet.key, stop, floor, "COUNT", CHUNK)
        for id_, fields in chunk:
            if left and fields[1] == payloads[left - 1]:
                left -= 1
                found[left] = id_
        if len(chunk) < CHUNK:
            break
        seen += len(chunk)
        stop = b"(" + chunk[-1][0]
    return found


def _unknown() -> PlatformError:
    return Unavailable("It was stored, but its id is not known.")
