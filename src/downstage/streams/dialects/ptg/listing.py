"""``/streams``: which there are, what they are described as, and away with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException

from downstage.kernel.errors import InvalidField, NotFound, TooLarge
from downstage.streams import names
from downstage.streams.dialects.ptg.answers import Json, listed
from downstage.streams.dialects.ptg.dialect import Dialect, SignedIn
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.model import EntryId, StreamInfo, StreamSpec
from downstage.streams.service import Streams

__all__ = ["stream_routes"]

MAX_META = 64 * 1024
NO_KEY = "no such key"
LONGEST_S = 100 * 366 * 86400
MOST = 2**53
LIMITS = {"max_len": "count", "max_bytes": "bytes", "max_age": "age"}
"""What of a stream's metadata takes effect, and what of its retention that is."""
COUNTS = ("radix-tree-keys", "radix-tree-nodes", "groups")
ZERO_ID = "0-0"


def stream_routes(door: Door, streams: Streams) -> Dialect:
    """The routes."""
    dialect = Dialect(door, "streams")
    _add_reading(dialect, streams)
    _add_changes(dialect, streams)
    return dialect


def _add_reading(dialect: Dialect, streams: Streams) -> None:
    async def list_streams(caller: SignedIn, info: bool = False) -> Json:
        """Names of the streams that hold data, or with *info* what is known of each."""
        if info:
            return await listed(await streams.list(caller, details=True), _shown)
        return await listed(await streams.list(caller), str)

    async def get_stream(stream_id: str, caller: SignedIn, report_error: bool = False) -> Json:
        """What is known of a stream; of one without entries: an error in the answer."""
        names.check(stream_id)
        found = await _find(streams, caller, stream_id)
        if found is not None and found.last is not None:
            return Json(_shown(found))
        if report_error:
            raise HTTPException(400, NO_KEY)
        meta = None if found is None else _meta(found)
        return Json({"sid": stream_id, "error": NO_KEY, "meta": meta})

    dialect.serve("GET", "/streams", list_streams)
    dialect.serve("GET", "/streams/{stream_id}", get_stream, 400)


def _add_changes(dialect: Dialect, streams: Streams) -> None:
    async def change_stream(
        stream_id: str, body: dict[str, Any], caller: SignedIn, override: bool = False
    ) -> Json:
        """Describe a stream: fields are merged, or with *override* replaced.

        ``max_len``, ``max_bytes`` and ``max_age`` (seconds) are kept to from now on.
        """
        names.check(stream_id)
        before = await _find(streams, caller, stream_id)
        spec = StreamSpec() if before is None else before.spec
        meta = body if override else {**spec.meta, **body}
        text = _text(meta)
        changes: dict[str, Any] = {"meta": meta, "retention": _retention(body)}
        if "desc" in body or override:
            changes["description"] = str(body.get("desc") or "")
        if override:  # all that is no metadata stays
            changes = {"content_type": spec.content_type, "schema": spec.schema, **changes}
            changes["durability"] = spec.durability.value
            changes["retention"] |= {"when_full": spec.retention.when_full}
        await streams.describe(caller, stream_id, changes, replace=override)
        return Json(text)

    async def delete_streams(stream_id: str, caller: SignedIn) -> Json:
        """Delete streams; three numbers for each: description, entries and stream removed."""
        found: list[int] = []
        for name in names.split(stream_id):
            gone = await streams.delete(caller, name)
            found += [int(gone.described), gone.entries, int(gone.existed)]
        return Json(found)

    dialect.serve("PUT", "/streams/{stream_id}", change_stream, 400, 404, 413, 507)
    dialect.serve("DELETE", "/streams/{stream_id}", delete_streams, 404)


async def _find(streams: Streams, caller: SignedIn, name: str) -> StreamInfo | None:
    try:
        return await streams.info(caller, name)
    except NotFound:
        return None


def _retention(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `Retention` that *given* names."""
    return {field: _limit(name, given[name]) for name, field in LIMITS.items() if name in given}


def _limit(name: str, value: object) -> int | float | None:
    if value is None:
        return None
    fractions = name == "max_age"
    right = isinstance(value, (int, float) if fractions else int) and not isinstance(value, bool)
    if not right or not 0 < value <= (LONGEST_S if fractions else MOST):  # pyright: ignore[reportOperatorIssue]
        raise InvalidField(name, f"{name} is a number above 0, or null: no limit of its own.")
    return value  # pyright: ignore[reportReturnType]


def _text(meta: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(meta, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise InvalidField("body", "JSON has no such numbers, or is not so deep.") from error
    if len(text) > MAX_META:
        raise TooLarge(f"What a stream is described as has at most {MAX_META} characters.")
    return text


def _meta(info: StreamInfo) -> str | None:
    return _text(info.spec.meta) if info.spec.meta else None


def _shown(info: StreamInfo) -> dict[str, Any]:
    """A stream as the data server shows it, which is what its engine says and two times."""
    engine = info.engine
    shown: dict[str, Any] = {"sid": info.name, "length": info.length}
    shown |= {name: _number(engine.get(name)) for name in COUNTS[:2]}
    last = _id(engine.get("last-generated-id")) or str(info.last or ZERO_ID)
    shown |= {
        "last-generated-id": last,
        "max-deleted-entry-id": _id(engine.get("max-deleted-entry-id")) or ZERO_ID,
        "entries-added": info.added,
        "recorded-first-entry-id": _id(engine.get("recorded-first-entry-id"))
        or str(info.first or ZERO_ID),
        "groups": _number(engine.get("groups")),
        "first-entry": _told(info.first),
        "last-entry": _told(info.last),
    }
    for name, id_ in (("first-entry-time", info.first), ("last-entry-time", info.last)):
        if id_ is not None:
            shown[name] = _time(id_)
    return {**shown, "meta": _meta(info)}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _id(value: object) -> str | None:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return text if isinstance(text, str) else None


def _told(id_: EntryId | None) -> str | None:
    return None if id_ is None else str(id_)


def _time(id_: EntryId) -> str | None:
    """The local time of an id, which need not be a time at all."""
    try:
        moment = datetime.fromtimestamp(id_.ms / 1000)  # noqa: DTZ006 - local, as clients know it
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(sep=" ", timespec="microseconds")
