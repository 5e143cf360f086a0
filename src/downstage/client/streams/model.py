"""What the client of streams answers with: entries, receipts, gaps, and what servers say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from downstage.client.streams.values import array_of, decode, image_of, json_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = [
    "ConsumerInfo",
    "Entry",
    "Gap",
    "Place",
    "Receipt",
    "RecordedStream",
    "RecordingInfo",
    "ReplayInfo",
    "Retention",
    "StreamInfo",
    "Taken",
    "Ticket",
]

LATEST_MS = 253402300799999
"""The last millisecond of the year 9999; ids may say later ones."""


class Entry:
    """One entry of a stream."""

    __slots__ = {  # noqa: RUF023 - as one looks at it
        "stream": "Its name.",
        "id": "``ms-seq``.",
        "data": "The bytes that were pushed.",
        "content_type": "What the stream says of its entries; None: nothing.",
        "_value": "",
    }

    def __init__(self, stream: str, id_: str, data: bytes, content_type: str | None = None) -> None:
        self.stream = stream
        self.id = id_
        self.data = data
        self.content_type = content_type
        self._value: Any = _NOTHING

    @property
    def ms(self) -> int:
        """Milliseconds since 1970, by the id."""
        return int(self.id.partition("-")[0])

    @property
    def time(self) -> datetime:
        """The same in UTC."""
        return datetime.fromtimestamp(min(self.ms, LATEST_MS) / 1000, UTC)

    @property
    def value(self) -> Any:
        """What the entry means by its content type, or, without one, by its first bytes.

        An array for arrays and pictures (height × width × 3, RGB), an object for JSON, text for
        text; else the bytes.

        Raises:
            UnsupportedMedia: it is not what its stream says.
        """
        if self._value is _NOTHING:
            self._value = decode(self.data, self.content_type)
        return self._value

    def json(self) -> Any:
        """The object that the entry says as JSON.

        Raises:
            UnsupportedMedia: it is no JSON.
        """
        return json_of(self.data)

    def text(self) -> str:
        """The entry as text; what is no UTF-8 is replaced."""
        return self.data.decode("utf-8", "replace")

    def array(self, order: Literal["RGB", "BGR"] = "RGB") -> NDArray[Any]:
        """The entry as an array: an array that was pushed, the pixels of a picture, a JSON list.

        Args:
            order: of colours in pictures; OpenCV wants ``BGR``.

        Raises:
            UnsupportedMedia: it is none of them.
        """
        return array_of(self.data, order)

    def image(self) -> Image:
        """The entry as a picture of Pillow's.

        Raises:
            UnsupportedMedia: it is no picture.
        """
        return image_of(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __bytes__(self) -> bytes:
        return self.data

    def __repr__(self) -> str:
        kind = self.content_type or "bytes"
        return f"<Entry {self.stream} {self.id} {kind} {len(self.data)} B>"


class _Nothing:
    pass


_NOTHING = _Nothing()


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries of a stream that were not given: lost by the engine, or no longer kept."""

    stream: str
    after: str
    """Id of the last entry before them."""
    lost: int | None
    """How many; None: it is not known."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was stored, in the order in which it was pushed."""

    streams: tuple[str, ...]
    ids: tuple[str, ...]
    durability: str
    """What is promised: ``memory``, ``everysec``, ``always`` or ``replicated``."""
    repeated: bool = False
    """It had been stored before the connection broke, and was not stored again."""


class Retention(msgspec.Struct, kw_only=True):
    """How much a stream keeps; None: what the server's settings say."""

    count: int | None = None
    bytes: int | None = None
    age: float | None = None
    """Seconds."""
    when_full: str = "discard-old"


class StreamInfo(msgspec.Struct, kw_only=True):
    """A stream as it stands."""

    name: str
    content_type: str | None = None
    schema: dict[str, Any] | None = None
    description: str = ""
    durability: str = "everysec"
    retention: Retention = msgspec.field(default_factory=Retention)
    meta: Mapping[str, Any] = {}
    length: int = 0
    """Entries that are kept."""
    bytes: int = 0
    added: int = 0
    """Entries that were ever added."""
    first_id: str | None = None
    last_id: str | None = None
    last_time: datetime | None = None
    rate: float = 0.0
    """Entries a second, over the last seconds."""
    created_at: datetime | None = None


class Place(msgspec.Struct, kw_only=True):
    """Where a consumer stands in one stream."""

    delivered: str
    pending: int = 0
    oldest_pending: str | None = None
    lag: int | None = None


class ConsumerInfo(msgspec.Struct, kw_only=True):
    """A consumer: a place in streams that outlives its readers."""

    name: str
    streams: str
    ack_wait: float
    created_at: datetime
    places: dict[str, Place] = {}


class Taken(Entry):
    """An entry that a consumer was given; acknowledge it, or it is given again."""

    __slots__ = {"deliveries": "How often it was given, this time included."}

    def __init__(
        self, stream: str, id_: str, data: bytes, content_type: str | None, deliveries: int
    ) -> None:
        super().__init__(stream, id_, data, content_type)
        self.deliveries = deliveries


class RecordedStream(msgspec.Struct, kw_only=True):
    """What a recording holds of one stream."""

    name: str
    content_type: str | None = None
    entries: int = 0
    bytes: int = 0
    first_id: str | None = None
    last_id: str | None = None


class RecordingInfo(msgspec.Struct, kw_only=True):
    """A recording as it stands."""

    name: str
    state: str
    """``recording``, ``stopping``, ``stored``, ``failed`` or ``recovered``."""
    reason: str = ""
    owner: str = ""
    patterns: list[str] = []
    started_at: int = 0
    """Milliseconds since 1970."""
    ended_at: int | None = None
    first_id: str | None = None
    last_id: str | None = None
    duration_s: float = 0.0
    size: int = 0
    hidden: bool = False
    imported: bool = False
    gaps: int = 0
    content_path: str = ""
    streams: list[RecordedStream] = []


class ReplayInfo(msgspec.Struct, kw_only=True):
    """A replay as it stands."""

    id: str
    recording: str
    state: str
    """``playing``, ``paused``, ``live``, ``ended``, ``stopped`` or ``failed``."""
    reason: str = ""
    position_ms: int = 0
    duration_ms: int = 0
    speed: float = 1.0
    rounds: int = 0
    counts: dict[str, int] = {}
    active: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ("ended", "stopped", "failed")


class Ticket(msgspec.Struct, kw_only=True):
    """Opens one address, once, within a minute: ``?token=…``."""

    ticket: str
    expires_at: datetime
