"""Batches on the wire: one text header, then one binary message with every payload. No I/O.

A header is a JSON list with one row for each entry, in order: ``[stream, mark]``,
``[stream, id, mark]``, or the mark alone. A mark is a number of bytes into the binary message:
where the entry ends, or where it begins. The data server's documentation says the one and its
only client sends the other; which of them a batch means is told from the batch itself, see
`bounds_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, pairwise
from typing import Final, Literal, cast

import msgspec

from downstage.kernel.errors import BadFrame, BadId
from downstage.streams.entry_ids import check_form
from downstage.streams.model import AUTO
from downstage.streams.words import Item

__all__ = ["MAX_ENTRIES", "MAX_HEADER", "Offsets", "Rows", "bounds_of", "cut", "join", "read_rows"]

MAX_ENTRIES: Final = 4096
"""Entries of one batch."""
MAX_HEADER: Final = 256 * 1024
"""Bytes of its header."""
Offsets = Literal["start", "end"]
"""What marks are, where the client says so."""

Rows = list[tuple[str | None, bytes, int]]
"""Of each entry: the stream that the header names, where it names one; its id; its mark."""

WITHOUT_IDS = msgspec.json.Decoder(list[tuple[str, int]])
ANYTHING = msgspec.json.Decoder()
ROW, ROW_WITH_ID = 2, 3
FORMS = "A header is a JSON list of [stream, offset], [stream, id, offset] or offset."


def read_rows(header: str | bytes) -> Rows:
    """What *header* says of each entry.

    Raises:
        BadFrame: it is of none of the three forms, or too long.
        BadId: an id is none.
    """
    if len(header) > MAX_HEADER:
        raise BadFrame(f"A header has at most {MAX_HEADER} bytes.", bytes=len(header))
    try:
        plain = WITHOUT_IDS.decode(header)  # what most send
        _check_count(len(plain))
        return [(stream, AUTO, mark) for stream, mark in plain]
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise BadFrame("The header is not JSON.") from error
    try:
        raw: object = ANYTHING.decode(header)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise BadFrame("The header is not JSON.") from error
    if not isinstance(raw, list):
        raise BadFrame(FORMS)
    rows = cast("list[object]", raw)
    _check_count(len(rows))
    return [_row(row, at) for at, row in enumerate(rows)]


def cut(
    rows: Rows,
    body: bytes,
    streams: Sequence[str] | None,
    *,
    offsets: Offsets | None = None,
) -> list[Item]:
    """Cut *body* into entries without copying it.

    Args:
        rows: of the header.
        body: every payload, one after the other.
        streams: of the path. One of them wins over whatever the header names; where there are
            several, the header names one of them, or entries are dealt to them in turn. None: the
            header names them.
        offsets: what the marks are; None: told from them.

    Returns:
        Entries in the order of the header, as views of *body*.

    Raises:
        BadFrame: the marks do not fit *body*, or a stream is not named where it must be.
    """
    bounds = bounds_of([row[2] for row in rows], len(body), offsets)
    names = _names(rows, streams)
    if len(rows) == 1:
        return [(names[0], rows[0][1], body)]
    view = memoryview(body)
    return [
        (name, row[1], view[start:end])
        for name, row, (start, end) in zip(names, rows, pairwise(bounds), strict=True)
    ]


def bounds_of(marks: Sequence[int], size: int, offsets: Offsets | None = None) -> list[int]:
    """Where entries begin and end, one more than there are marks: from 0 to *size*.

    Marks that do not begin with 0 are ends. Those that begin with 0 and do not end with *size* are
    starts. Where both readings fit, either the first entry is empty or the last one: they are read
    as ends, which is what the client in use sends.

    Raises:
        BadFrame: they are not in order, or do not cover the *size* bytes of the message.
    """
    if not marks:
        if size:
            raise BadFrame("The header names no entries, and the message is not empty.", size=size)
        return [0]
    are_starts = marks[0] == 0 and marks[-1] != size if offsets is None else offsets == "start"
    if are_starts:
        bounds = [*marks, size]
        if marks[0] != 0:
            raise BadFrame("The first entry does not begin at 0.", at=0)
    else:
        bounds = [0, *marks]
        if marks[-1] != size:
            raise BadFrame("The last entry does not end with the message.", size=size)
    low = 0
    for at, bound in enumerate(bounds):
        if not low <= bound <= size:
            raise BadFrame("An offset decreases, or lies outside of the message.", at=at)
        low = bound
    return bounds


def join(entries: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """The inverse of `cut` for entries of named streams: a header with ends, and the message."""
    rows, at = list[tuple[str, int]](), 0
    for stream, data in entries:
        at += len(data)
        rows.append((stream, at))
    return msgspec.json.encode(rows).decode(), b"".join([data for _, data in entries])


def _names(rows: Rows, streams: Sequence[str] | None) -> list[str]:
    if streams is None:
        if any(not name for name, _, _ in rows):
            raise BadFrame("Name the stream of each entry: the path names none.")
        return [cast("str", name) for name, _, _ in rows]
    if len(streams) == 1:
        return [streams[0]] * len(rows)
    turn = cycle(streams)
    names = [next(turn) if name is None else name for name, _, _ in rows]
    if not set(names) <= set(streams):
        raise BadFrame("An entry names a stream that the path does not.")
    return names


def _check_count(count: int) -> None:
    if count > MAX_ENTRIES:
        raise BadFrame(f"A batch has at most {MAX_ENTRIES} entries.", entries=count)


def _row(row: object, at: int) -> tuple[str | None, bytes, int]:
    parts = cast("list[object]", row) if isinstance(row, list) else [None, row]
    stream: object = parts[0] if parts else None
    mark = parts[-1] if parts else None
    if len(parts) not in (ROW, ROW_WITH_ID) or type(mark) is not int:
        raise BadFrame(FORMS, at=at)
    if not isinstance(stream, str) and (stream is not None or isinstance(row, list)):
        raise BadFrame(FORMS, at=at)
    return stream, _id(parts[1]) if len(parts) == ROW_WITH_ID else AUTO, mark


def _id(given: object) -> bytes:
    if type(given) is int:
        given = str(given)
    if not isinstance(given, str):
        raise BadId("id", "An entry id is ms, ms-seq or ms-*.")
    try:
        id_ = given.encode("ascii") or AUTO
    except UnicodeEncodeError:
        raise BadId("id", "An entry id is ms, ms-seq or ms-*.") from None
    check_form(id_)
    return id_
