"""Entries that an engine lost: read by somebody, gone after a restart or a failover."""

from __future__ import annotations

from dataclasses import dataclass

from downstage.kernel.errors import PlatformError
from downstage.streams.engine import Lane, NotReady
from downstage.streams.tail import last_id
from downstage.streams.watching import Watch, id_key

__all__ = ["Gap", "find_gap"]

CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing of a stream."""

    lost: int | None
    """Entries that were read here and are gone; None: more than can be told."""
    after: bytes
    """The newest id that was read here and is still there."""
    position: bytes
    """After which id to read on."""


async def find_gap(lane: Lane, watch: Watch) -> Gap | None:
    """What of *watch* was lost; None: nothing that was read is missing.

    Raises:
        NotReady: the engine does not answer.
    """
    recent = list(watch.recent)
    if not recent:
        return None
    lost = await _missing(lane, watch, recent)
    if lost == 0:
        return None
    if lost is None and await _is_trimmed(lane, watch, len(recent)):
        return None
    last = bytes(await last_id(lane, watch.key))
    is_behind = id_key(last) < id_key(watch.position)
    position = last if is_behind else watch.position
    if lost is not None:
        return Gap(lost, recent[-1 - lost], position)
    if watch.ordinal == len(recent) and id_key(last) >= id_key(watch.begin):
        return Gap(len(recent), watch.begin, position)  # all that was read since it is followed
    return Gap(None, last if is_behind else watch.begin, position)


async def _missing(lane: Lane, watch: Watch, recent: list[bytes]) -> int | None:
    """How many of the newest of *recent* are gone; None: all of them.

    Looked for from the newest on, in chunks that grow: most often the very newest is there, and
    what is gone costs nothing to look for.
    """
    mean = watch.figures.bytes_seen // max(watch.figures.entries_seen, 1) + 64
    most = max(1, CHUNK_BYTES // mean)
    end, chunk = len(recent), 1
    while end > 0:
        some = recent[max(0, end - chunk) : end]
        reply = await lane.call("XRANGE", watch.key, some[0], some[-1])
        there = {id_ for id_, _ in reply}
        for at, id_ in enumerate(reversed(some)):
            if id_ in there:
                return len(recent) - end + at
        end -= chunk
        chunk = min(8 * chunk, most)
    return None


async def _is_trimmed(lane: Lane, watch: Watch, count: int) -> bool:
    """Whether the newest *count* are gone because the stream keeps only what is newer."""
    try:
        reply = await lane.call("XINFO", "STREAM", watch.key)
    except NotReady:
        raise
    except PlatformError:
        return False  # there is no such key
    facts = dict(zip(reply[::2], reply[1::2], strict=True))
    return int(facts.get(b"entries-added", 0)) - int(facts[b"length"]) >= count
