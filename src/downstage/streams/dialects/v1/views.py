"""Streams, consumers and ids as our own API tells them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from downstage.contracts.streams import (
    ConsumerView,
    PlaceView,
    RetentionBody,
    StreamPatch,
    StreamSpecBody,
    StreamView,
)
from downstage.kernel.errors import BadId, InvalidField
from downstage.streams.consumers import Consumer
from downstage.streams.model import MOST as MOST_ID
from downstage.streams.model import Durability, EntryId, Retention, StreamInfo

__all__ = [
    "changes_of",
    "consumer_view",
    "first_id",
    "last_id",
    "moment",
    "stream_view",
    "time_of",
]

LAST_ID = EntryId(MOST_ID, MOST_ID)
LATEST_MS = 253402300799999
"""The last millisecond of the year 9999; ids may say later ones."""


def time_of(entry_id: EntryId) -> datetime:
    """The time that an id says, as far as dates go."""
    return datetime.fromtimestamp(min(entry_id.ms, LATEST_MS) / 1000, UTC)


def stream_view(info: StreamInfo) -> StreamView:
    """A stream as it is told."""
    spec = info.spec
    return StreamView(
        name=info.name,
        content_type=spec.content_type,
        schema=None if spec.schema is None else dict(spec.schema),
        description=spec.description,
        durability=spec.durability.value,
        retention=_retention(spec.retention),
        meta=dict(spec.meta),
        length=info.length,
        bytes=info.bytes,
        added=info.added,
        first_id=None if info.first is None else str(info.first),
        last_id=None if info.last is None else str(info.last),
        last_time=None if info.last is None else time_of(info.last),
        rate=round(info.rate, 3),
        created_at=info.created_at,
    )


def _retention(kept: Retention) -> RetentionBody:
    return RetentionBody.model_validate(
        {
            "count": kept.count,
            "bytes": kept.bytes,
            "age": None if kept.age is None else kept.age.total_seconds(),
            "when_full": kept.when_full,
        }
    )


def changes_of(body: StreamSpecBody | StreamPatch) -> dict[str, Any]:
    """What *body* names, as `Streams.describe` takes it."""
    named = body.model_fields_set
    found: dict[str, Any] = {
        field: getattr(body, field) for field in named & {"content_type", "description", "meta"}
    }
    if "schema_" in named:
        found["schema"] = body.schema_
    if "retention" in named:
        found["retention"] = body.retention.model_dump(exclude_unset=True)
    if body.durability is not None:
        found["durability"] = Durability(body.durability)
    return found


def consumer_view(consumer: Consumer) -> ConsumerView:
    """A consumer as it is told."""
    places = {
        stream: PlaceView(
            delivered=str(place.delivered),
            pending=place.pending,
            oldest_pending=None if place.oldest_pending is None else str(place.oldest_pending),
            lag=place.lag,
        )
        for stream, place in consumer.places.items()
    }
    return ConsumerView(
        name=consumer.name,
        streams=consumer.streams,
        ack_wait=consumer.ack_wait.total_seconds(),
        created_at=consumer.created_at,
        places=places,
    )


def moment(text: str, field: str) -> EntryId:
    """A time: milliseconds since 1970, an id, or a date (``2026-05-01T12:00:00Z``).

    Raises:
        InvalidField: it is none of them; names *field*.
    """
    try:
        return EntryId.parse(text)
    except BadId:
        pass
    try:
        date = datetime.fromisoformat(text)
        stamp = date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidField(
            field, f"{field}: say milliseconds since 1970, an entry's id, or an ISO date."
        ) from error
    return EntryId(max(0, round(stamp * 1000)))


def first_id(after: str | None, since: str | None) -> EntryId | None:
    """The first id that counts, of what a query says; None: the oldest that is kept."""
    found = [min(EntryId.parse(after).next(), LAST_ID)] if after else []
    if since:
        found.append(moment(since, "from"))
    return max(found, default=None)


def last_id(until: str | None, to: str | None) -> EntryId | None:
    """The last id that counts; None: the newest. A time means all of its millisecond."""
    found = [EntryId.parse(until, seq=MOST_ID)] if until else []
    if to:
        try:
            found.append(EntryId.parse(to, seq=MOST_ID))
        except BadId:
            found.append(EntryId(moment(to, "to").ms, MOST_ID))
    return min(found, default=None)
