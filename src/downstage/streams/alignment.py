"""What several streams held at one time: the nearest entry, the one before, or one in between."""

from __future__ import annotations

import io
import json
from collections.abc import Collection
from typing import Any, cast

import anyio.to_thread

from downstage.kernel.errors import InvalidField
from downstage.streams.engine import encode
from downstage.streams.model import Entry, EntryId
from downstage.streams.pipeline import gather
from downstage.streams.reading import How
from downstage.streams.reads import Reads, payload
from downstage.streams.tail import last_id

__all__ = ["Alignment", "blend", "choose"]

MOST_BLEND = 8 << 20
"""Bytes of an entry up to which it is interpolated."""
MOST_DEPTH = 32
NPY = b"\x93NUMPY"


class Alignment:
    """Looks around a time in streams."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def at(
        self,
        tenant: str,
        streams: Collection[str],
        time: EntryId,
        *,
        how: How,
        tolerance_ms: int | None,
    ) -> dict[str, Entry | None]:
        """See `Streams.at`."""
        if how not in ("nearest", "previous", "interpolate"):
            raise InvalidField("how", "Say nearest, previous or interpolate.")
        if tolerance_ms is not None and tolerance_ms < 0:
            raise InvalidField("tolerance_ms", "Say how many milliseconds: 0 or more.")
        found: dict[str, Entry | None] = {}
        for name in streams:
            before, after = await self._around(tenant, name, time)
            if how == "interpolate" and before is not None and after is not None:
                found[name] = await self._between(before, after, time, tolerance_ms)
            else:
                found[name] = choose(before, after, time, how=how, tolerance_ms=tolerance_ms)
        return found

    async def is_past(self, tenant: str, streams: Collection[str], time: EntryId) -> bool:
        """Whether each of *streams* holds an entry at *time* or later."""
        for name in streams:
            part, key = await self._reads.place(tenant, name)
            if await last_id(part.command, key) < time:
                return False
        return True

    async def _around(
        self, tenant: str, name: str, time: EntryId
    ) -> tuple[Entry | None, Entry | None]:
        """The last entry up to *time*, and the first after it."""
        part, key = await self._reads.place(tenant, name)
        low, high = await gather(
            part.command,
            [
                encode("XREVRANGE", key, str(time), "-", "COUNT", 1),
                encode("XRANGE", key, f"({time}", "+", "COUNT", 1),
            ],
        )
        for reply in (low, high):
            if isinstance(reply, Exception):
                raise reply
        before, after = (
            Entry(name, EntryId.parse(reply[0][0]), payload(reply[0][1])) if reply else None
            for reply in (low, high)
        )
        return before, after

    async def _between(
        self, before: Entry, after: Entry, time: EntryId, tolerance_ms: int | None
    ) -> Entry | None:
        near = choose(before, after, time, how="nearest", tolerance_ms=tolerance_ms)
        if (
            near is None
            or before.id.ms == time.ms
            or max(map(len, (before.data, after.data))) > (MOST_BLEND)
        ):
            return near if near is None or before.id.ms != time.ms else before
        share = (time.ms - before.id.ms) / (after.id.ms - before.id.ms)
        data = await anyio.to_thread.run_sync(blend, before.data, after.data, share)
        return near if data is None else Entry(before.stream, time, data)


def choose(
    before: Entry | None,
    after: Entry | None,
    time: EntryId,
    *,
    how: How,
    tolerance_ms: int | None,
) -> Entry | None:
    """The one that counts at *time*; None where it is too far off."""
    if how == "previous" or after is None:
        best = before
    elif before is None:
        best = after
    else:
        best = before if time.ms - before.id.ms <= after.id.ms - time.ms else after
    if best is None or (tolerance_ms is not None and abs(best.id.ms - time.ms) > tolerance_ms):
        return None
    return best


def blend(before: bytes, after: bytes, share: float) -> bytes | None:
    """*share* of the way from *before* to *after*; None where they are not numeric and alike."""
    if before.startswith(NPY) and after.startswith(NPY):
        return _blend_arrays(before, after, share)
    try:
        first, second = json.loads(before), json.loads(after)
        return json.dumps(_blend_json(first, second, share, 0)).encode()
    except (ValueError, TypeError, RecursionError):
        return None


def _blend_json(first: Any, second: Any, share: float, depth: int) -> Any:
    """Numbers in between; what is no number in both stays as in the nearer one.

    Raises:
        TypeError: they are not alike, or too deep.
    """
    if depth > MOST_DEPTH:
        raise TypeError("too deep")
    if _is_number(first) and _is_number(second):
        return first + (second - first) * share
    if isinstance(first, list) and isinstance(second, list):
        left, right = cast("list[Any]", first), cast("list[Any]", second)
        if len(left) != len(right):
            raise TypeError("not alike")
        return [
            _blend_json(one, other, share, depth + 1)
            for one, other in zip(left, right, strict=True)
        ]
    if isinstance(first, dict) and isinstance(second, dict):
        mine, other = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
        if mine.keys() != other.keys():
            raise TypeError("not alike")
        return {name: _blend_json(mine[name], other[name], share, depth + 1) for name in mine}
    if depth == 0:
        raise TypeError("not numeric")
    return cast("object", first if share <= 1 / 2 else second)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _blend_arrays(before: bytes, after: bytes, share: float) -> bytes | None:
    # Imported here: most streams are never interpolated, and numpy takes its time.
    import numpy as np

    try:
        first = np.load(io.BytesIO(before), allow_pickle=False)
        second = np.load(io.BytesIO(after), allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None
    if first.shape != second.shape or first.dtype != second.dtype:
        return None
    if first.dtype.kind not in "iuf":
        return None
    mixed = first + (second.astype(np.float64) - first) * share
    out = io.BytesIO()
    np.save(out, mixed.astype(first.dtype), allow_pickle=False)
    return out.getvalue()
