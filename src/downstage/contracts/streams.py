"""What streams says over HTTP, by our own API. Sockets of entries: `downstage.streams.framing`.

A token stands in ``Authorization: Bearer``, or, where an address must carry it, as a one-time
ticket in ``?token=``. A stream that the token may not read is a stream that is not there (404).

========  =========================================  ============================================
verb      path                                       body → answer
========  =========================================  ============================================
GET       /v1/streams                                → StreamNames; ``details=true`` → StreamPage
GET       /v1/streams/{name}                         → StreamView
PUT       /v1/streams/{name}                         StreamSpecBody → StreamView (201 new, 200)
PATCH     /v1/streams/{name}                         StreamPatch → StreamView
DELETE    /v1/streams/{name}                         → 204, its entries and description
POST      /v1/streams/{name}/entries                 an entry, or JSON lines → EntriesStored (201)
GET       /v1/streams/{name}/entries                 → EntryPage; its bytes; multipart/mixed
DELETE    /v1/streams/{name}/entries                 → EntriesRemoved, the oldest ones
GET       /v1/streams/{name}/entries/{id}            → the bytes of one entry
GET       /v1/streams-at                             → MomentView: several streams at one time
GET       /v1/streams-consumers                      → ConsumerList
PUT       /v1/streams-consumers/{name}               ConsumerBody → ConsumerView (201 new, 200)
GET       /v1/streams-consumers/{name}               → ConsumerView
DELETE    /v1/streams-consumers/{name}               → 204
POST      /v1/streams-consumers/{name}/fetch         FetchRequest → FetchedEntries
POST      /v1/streams-consumers/{name}/ack           AckRequest → AckAnswer
GET       /v1/streams-events                         → server-sent events (`EntryView`, …)
POST      /v1/streams/tickets                        StreamTicketRequest → StreamTicket
========  =========================================  ============================================
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from downstage.contracts.wire import Answer, Request

__all__ = [
    "MAX_PAGE",
    "AckAnswer",
    "AckRequest",
    "ConsumerBody",
    "ConsumerList",
    "ConsumerView",
    "DurabilityWord",
    "EntriesRemoved",
    "EntriesStored",
    "EntryPage",
    "EntryView",
    "FetchRequest",
    "FetchedEntries",
    "MomentView",
    "PlaceView",
    "RetentionBody",
    "StreamChange",
    "StreamGap",
    "StreamNames",
    "StreamPage",
    "StreamPatch",
    "StreamSpecBody",
    "StreamTicket",
    "StreamTicketRequest",
    "StreamView",
    "TakenView",
]

MAX_PAGE = 1000
"""Streams, or entries, of one answer."""
MAX_TYPE = 128
MOST = 2**53
WORD = r"[A-Za-z0-9!#$&^_.+-]+"
CONTENT_TYPE = rf"^{WORD}/{WORD}(; ?{WORD}={WORD})*$"
ENTRY_ID = r"^\d{1,20}(-\d{1,20})?$"
STREAM = r"^[A-Za-z0-9_.:@=*-]{1,128}$"

DurabilityWord = Literal["memory", "everysec", "always", "replicated"]
"""What an acknowledgement promises: lost with the engine; a crash loses nothing, a power cut about
a second; on the disk; at a second engine."""


class RetentionBody(Request):
    """How much a stream keeps; what is absent is as the platform's settings say."""

    count: int | None = Field(default=None, ge=1, le=MOST)
    """Entries."""
    bytes: int | None = Field(default=None, ge=1, le=MOST)
    """Of all entries together."""
    age: float | None = Field(default=None, gt=0, le=10 * 366 * 86400)
    """Seconds."""
    when_full: Literal["discard-old", "refuse-new"] = "discard-old"
    """What gives way: the oldest entries, or the push (507)."""


class _Spec(Request):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=True
    )

    content_type: str | None = Field(default=None, max_length=MAX_TYPE, pattern=CONTENT_TYPE)
    """Of each entry: ``image/jpeg``, ``application/json``, ``text/plain``, …"""
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    """JSON Schema of entries that are JSON; free for others."""
    description: str = Field(default="", max_length=4096)
    """For people."""
    retention: RetentionBody = RetentionBody()
    """How much is kept."""
    meta: dict[str, Any] = Field(default_factory=dict[str, Any], max_length=256)
    """Whatever belongs to the stream: a camera's calibration, who made it."""


class StreamSpecBody(_Spec):
    """A stream as it is to be; what is absent is as it is for a new one."""

    durability: DurabilityWord | None = None
    """Of every entry; stays as it is once the stream holds some."""


class StreamPatch(_Spec):
    """What is to change of a stream; what is absent stays."""

    durability: DurabilityWord | None = None
    """As in `StreamSpecBody`."""


class StreamView(Answer):
    """A stream as it stands."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, use_attribute_docstrings=True, populate_by_name=True
    )

    name: str
    content_type: str | None
    schema_: dict[str, Any] | None = Field(alias="schema")
    description: str
    durability: DurabilityWord
    retention: RetentionBody
    meta: dict[str, Any]
    length: int
    """Entries that are kept."""
    bytes: int
    """Of the entries that are kept, about."""
    added: int
    """Entries that were ever added."""
    first_id: str | None
    last_id: str | None
    last_time: datetime | None
    """By the id of the last entry."""
    rate: float
    """Entries a second, over the last seconds."""
    created_at: datetime | None


class StreamNames(Answer):
    """Names of streams, in order; `next` is what to go on ``after``, None at the end."""

    items: list[str]
    next: str | None = None


class StreamPage(Answer):
    """The same with what is known of each."""

    items: list[StreamView]
    next: str | None = None


class EntriesStored(Answer):
    """What was stored."""

    ids: list[str]
    """In the order in which the entries were given."""
    durability: DurabilityWord
    """What is promised of them."""
    repeated: bool
    """They had been stored before, under the same key."""


class EntriesRemoved(Answer):
    """How many entries went."""

    removed: int


class EntryView(Answer):
    """One entry. JSON and text stand in `value`; anything else, or what is broken, in `data`."""

    stream: str
    id: str
    time: datetime
    """By its id."""
    size: int
    """Bytes."""
    value: Any = None
    """JSON as it is, text as a string."""
    data: str | None = None
    """Base64."""


class EntryPage(Answer):
    """Entries of one stream; `next` is what to go on with, None where there are no more.

    That is the next ``after``, or, the newest first, the next ``until``.
    """

    items: list[EntryView]
    next: str | None = None


class MomentView(Answer):
    """What several streams held at one time; None: nothing near enough."""

    time: datetime
    items: dict[str, EntryView | None]


class ConsumerBody(Request):
    """A consumer: a place in streams that outlives its readers."""

    streams: str = Field(pattern=STREAM)
    """A stream, or a pattern (``camera-*``)."""
    start: str = Field(default="$", max_length=64)
    """Where it begins: ``$`` after what is there, ``0`` at the oldest, ``-`` at the newest, or
    after an id."""
    ack_wait: float = Field(default=30, ge=1, le=7 * 86400)
    """Seconds that an entry may stay unacknowledged before it is given again."""


class PlaceView(Answer):
    """Where a consumer stands in one stream."""

    delivered: str
    """Id of the last entry that was given to somebody."""
    pending: int
    """Given, not acknowledged."""
    oldest_pending: str | None
    lag: int | None
    """Stored, not given yet; None where the engine cannot tell."""


class ConsumerView(Answer):
    """A consumer as it stands."""

    name: str
    streams: str
    ack_wait: float
    created_at: datetime
    places: dict[str, PlaceView]


class ConsumerList(Answer):
    """Consumers of streams that the caller may read."""

    items: list[ConsumerView]


class FetchRequest(Request):
    """Asks for entries that nobody was given, or that are due again."""

    count: int = Field(default=1, ge=1, le=MAX_PAGE)
    wait: float = Field(default=0, ge=0, le=30)
    """Seconds to wait for the first one."""


class TakenView(EntryView):
    """An entry that was given and is to be acknowledged."""

    deliveries: int
    """How often it was given, this time included."""


class FetchedEntries(Answer):
    """What was given."""

    items: list[TakenView]


class AckRequest(Request):
    """Acknowledges entries of one stream."""

    stream: str = Field(pattern=STREAM)
    ids: list[str] = Field(min_length=1, max_length=MAX_PAGE)
    through: bool = False
    """Everything up to the ids, too."""


class AckAnswer(Answer):
    """How many of them were pending."""

    acked: int


class StreamTicketRequest(Request):
    """Asks for a one-time ticket, for an address that a page opens."""

    purpose: Literal["push", "pull", "read"] = "read"
    """What it opens: a socket that pushes, one that pulls, or any read by HTTP."""


class StreamTicket(Answer):
    """Opens one address, once, within a minute: ``?token=…``."""

    ticket: str
    expires_at: datetime


class StreamChange(Answer):
    """Data of the event ``change``: something happened to the list of streams."""

    stream: str
    what: Literal["made", "described", "gone", "gap"]
    """``gap``: some may have been missed; list again."""


class StreamGap(Answer):
    """Data of the event ``gap``: the engine lost entries."""

    stream: str
    after: str
    lost: int | None
