"""Server-sent events, as the HTML standard reads them. Sans-I/O: lines in, events out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from downstage.services.errors import ServiceUnavailableError
from downstage.services.transports.transport import MAX_MESSAGE

__all__ = ["Event", "EventReader"]

LONGEST_ID = 1024
UNSENDABLE = re.compile(r"[\x00-\x1f\x7f]")
"""What no header can say: an id comes back in one. Of NUL the standard says so, too."""
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream."""

    data: str
    type: str = "message"
    id: str = ""
    """The last id that the stream has named, with this event or before."""

    def json(self) -> Any:
        """The data as an object.

        Raises:
            ValueError: it is no JSON.
        """
        try:
            return msgspec.json.decode(self.data.encode())
        except RecursionError as error:
            raise ValueError("the event is nested too deeply") from error


class EventReader:
    """Puts lines together to events."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_s: float | None = None
        """How long the service wants us to wait before we come back."""
        self._id = last_id
        self._type = ""
        self._data = list[str]()
        self._size = 0
        self._is_first = True

    def feed(self, line: bytes) -> Event | None:
        """Take one line without its end; an empty one completes an event.

        Raises:
            ServiceUnavailableError: the event is larger than `MAX_MESSAGE`.
        """
        if self._is_first:
            line = line.removeprefix(BOM)
            self._is_first = False
        if not line:
            return self._complete()
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._size += len(line)
                if self._size > MAX_MESSAGE:
                    raise ServiceUnavailableError(f"an event is larger than {MAX_MESSAGE} bytes")
                self._data.append(value)
            case "event":
                self._type = value
            case "id" if len(value) <= LONGEST_ID and not UNSENDABLE.search(value):
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_s = int(value[:9]) / 1000
            case _:
                pass  # a comment, or a field of tomorrow
        return None

    def _complete(self) -> Event | None:
        self.last_id = self._id
        data, kind = self._data, self._type
        self._data, self._type, self._size = [], "", 0
        if not data:
            return None
        return Event("\n".join(data), kind or "message", self.last_id)
