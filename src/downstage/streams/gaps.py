"""Entries that an engine lost: read by somebody, gone after a restart or a failover."""

from __future__ import annotations

from dataclasses import dataclass

from downstage.kernel.errors import PlatformError
from downstage.streams.engine import Lane
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
    mean = watch.figures.bytes_seen // max(watch.figures.entries_seen, 1) + 64
    recent = recent[-max(1, CHUNK_BYTES // mean) :]
    reply = await lane.call("XRANGE", watch.key, recent[0], recent[-1])
    there = {id_ for id_, _ in reply}
    last = bytes(await last_id(lane, watch.key))
    is_behind = id_key(last) < id_key(watch.position)
    if not there and not is_behind and await _is_trimmed(lane, watch, recent[-1]):
        return None
    lost = next((at for at, id_ in enumerate(reversed(recent)) if id_ in there), None)
    if lost == 0:
        return None
    after = last if lost is None else recent[-1 - lost]
    return Gap(lost, after, last if is_behind else watch.position)


async def _is_trimmed(lane: Lane, watch: Watch, newest: bytes) -> bool:
    """Whether all that was read is gone because the stream keeps only what is newer."""
    try:
        first = await lane.call("XRANGE", watch.key, "-", "+", "COUNT", 1)
    except PlatformError:
        return False
    return bool(first) and id_key(first[0][0]) > id_key(newest) and watch.ordinal > len(first)
