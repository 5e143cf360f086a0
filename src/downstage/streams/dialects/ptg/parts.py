"""Entries out of a multipart body, cut as it comes; what they are of which stream.

Bounded in every direction: bytes of all entries, their number, the headers of each. Nothing is
written to a disk on the way.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from downstage.kernel.errors import InvalidField, InvalidInput, TooLarge
from downstage.streams import names
from downstage.streams.model import AUTO

if TYPE_CHECKING:
    from downstage.streams.append import Item

__all__ = ["FIELD", "MAX_PARTS", "Part", "boundary_of", "cut", "deal"]

FIELD: Final = "entries"
ALL: Final = "*"
MAX_PARTS: Final = 4096
MAX_HEAD: Final = 4096
"""Bytes of the headers of one part."""
BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")


@dataclass(slots=True)
class Part:
    """One entry on its way."""

    name: str = ""
    filename: str | None = None
    data: bytearray = field(default_factory=bytearray)


def boundary_of(content_type: str) -> bytes:
    """What lies between the parts.

    Raises:
        InvalidField: that is no multipart form.
        InvalidInput: it is one, without a boundary.
    """
    message = Message()
    message["content-type"] = content_type[:MAX_HEAD]
    if message.get_content_type() != "multipart/form-data":
        raise InvalidField(FIELD, "Send entries as multipart/form-data.")
    found = message.get_param("boundary")
    if not isinstance(found, str) or BOUNDARY.fullmatch(found) is None:
        raise InvalidInput("The form says no boundary of its parts.")
    return found.encode("ascii")


async def cut(body: AsyncIterator[bytes], boundary: bytes, *, most: int) -> list[Part]:
    """The parts of *body*, whose data may have *most* bytes together.

    Raises:
        InvalidInput: the body is out of form, or ends before its last boundary.
        TooLarge: too many parts, or bytes.
    """
    cutter = _Cutter(most)
    parser = MultipartParser(boundary, cutter.callbacks())
    try:
        async for piece in body:
            # In a thread: it looks at each byte, and what comes may be made to be slow.
            await anyio.to_thread.run_sync(parser.write, piece)
        parser.finalize()
    except FormParserError as error:
        raise InvalidInput("The form is out of form.") from error
    if not cutter.ended:
        raise InvalidInput("The form is cut short: its last boundary is missing.")
    return cutter.parts


class _Cutter:
    """Collects what the parser finds."""

    def __init__(self, most: int) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._most = most
        self._size = 0
        self._head = 0
        self._name = bytearray()
        self._value = bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._more_of_name,
            "on_header_value": self._more_of_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._check,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise TooLarge(f"A form holds at most {MAX_PARTS} entries.", limit=MAX_PARTS)
        self.parts.append(Part())
        self._head = 0

    def _more_of_name(self, data: bytes, start: int, end: int) -> None:
        self._count_head(end - start)
        self._name += data[start:end]

    def _more_of_value(self, data: bytes, start: int, end: int) -> None:
        self._count_head(end - start)
        self._value += data[start:end]

    def _count_head(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD:
            raise TooLarge("The headers of a part are too large.", limit=MAX_HEAD)

    def _end_header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            message = Message()
            message["content-disposition"] = self._value.decode("utf-8", "replace")
            part = self.parts[-1]
            name = message.get_param("name", header="content-disposition")
            part.name = name if isinstance(name, str) else ""
            part.filename = _filename(message)
        self._name.clear()
        self._value.clear()

    def _check(self) -> None:
        if not self.parts[-1].name:
            raise InvalidInput("A part of the form has no name.")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._most:
            raise TooLarge(f"A form holds at most {self._most} bytes.", limit=self._most)
        self.parts[-1].data += memoryview(data)[start:end]

    def _end(self) -> None:
        self.ended = True


def _filename(message: Message) -> str | None:
    try:
        return message.get_filename()
    except ValueError as error:  # the sender names the codec, and not all of them are for text
        raise InvalidInput("A file name of the form cannot be read.") from error


def deal(joined: str, parts: Sequence[Part], *, by_time: bool) -> list[Item]:
    """Which stream each part is an entry of.

    Args:
        joined: of the path: a name, some joined by ``+`` among which parts are dealt in turn, or
            ``*``: each part names its own, by its file name.
        parts: of the form. Those named ``entries``, or after a stream of the path, count.
        by_time: take ids from the times that HoloLens frames say.

    Raises:
        InvalidField: a part is of no stream, or there is none at all.
    """
    if not parts:
        raise InvalidField(FIELD, "field required")
    streams = () if joined == ALL else names.split(joined)
    turn = cycle(streams)
    return [(_stream(part, streams, turn), _id(part, by_time=by_time), part.data) for part in parts]


def _stream(part: Part, streams: Sequence[str], turn: Iterator[str]) -> str:
    if not streams:
        if part.name != FIELD:
            return names.check(part.name)
        return names.check((part.filename or "").partition("/")[0])
    if part.name in streams:
        return part.name
    if part.name == FIELD:
        return next(turn)
    raise InvalidField(FIELD, f"Name the parts {FIELD}, or after a stream of the path.")


def _id(part: Part, *, by_time: bool) -> bytes:
    if not by_time:
        return AUTO
    from downstage.media.holo import time_ms

    found = time_ms(part.data)
    return AUTO if found is None else b"%d" % found
