"""Bodies on their way into files: counted, bounded, gone again when they break off."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Receive

from downstage.kernel.errors import (
    DeadlineExceeded,
    InvalidField,
    InvalidInput,
    OutOfSpace,
    TooLarge,
    UnsupportedMedia,
)

__all__ = ["MOST", "body_of", "receive_file", "receive_form_file"]

MOST: Final = 64 << 30
"""Bytes of one body."""
IDLE_S: Final = 60.0
PIECE: Final = 1 << 20
"""Bytes that are written at once; so many wait in memory."""
MOST_PARTS: Final = 16
MOST_HEADERS: Final = 8 << 10
"""Bytes of the headers of one part."""
LONGEST_BOUNDARY: Final = 256


async def body_of(receive: Receive) -> AsyncGenerator[bytes]:
    """The pieces of a body as they come.

    Raises:
        DeadlineExceeded: nothing came for a minute.
        InvalidInput: the caller went away.
    """
    more = True
    while more:
        try:
            async with asyncio.timeout(IDLE_S):
                message = await receive()
        except TimeoutError as error:
            raise DeadlineExceeded(f"No byte of the body came for {IDLE_S:g} s.") from error
        if message["type"] != "http.request":
            raise InvalidInput("The body ended early.")
        more = bool(message.get("more_body", False))
        piece: bytes = message.get("body", b"")
        if piece:
            yield piece


@asynccontextmanager
async def receive_file(
    pieces: AsyncIterator[bytes], path: Path, floor: int, most: int = MOST
) -> AsyncGenerator[Path]:
    """The *pieces* as a file, which is removed at the end of the block.

    Args:
        pieces: of a body.
        path: a new file.
        floor: bytes that stay free on the disk.
        most: bytes of all pieces.

    Raises:
        TooLarge: they are more.
        OutOfSpace: the disk is too full.
    """
    descriptor = await anyio.to_thread.run_sync(_create, path)
    try:
        try:
            await _write_all(pieces, descriptor, path, floor, most)
        finally:
            os.close(descriptor)
        yield path
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))


async def _write_all(
    pieces: AsyncIterator[bytes], descriptor: int, path: Path, floor: int, most: int
) -> None:
    waiting, size = bytearray(), 0
    async for piece in pieces:
        size += len(piece)
        if size > most:
            raise TooLarge(f"The body is larger than {most} bytes.", limit=most)
        waiting += piece
        if len(waiting) >= PIECE:
            await anyio.to_thread.run_sync(_write, descriptor, bytes(waiting), path, floor)
            waiting.clear()
    await anyio.to_thread.run_sync(_write, descriptor, bytes(waiting), path, floor)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write(descriptor: int, data: bytes, path: Path, floor: int) -> None:
    try:
        if shutil.disk_usage(path.parent).free < floor + len(data):
            raise OutOfSpace("The disk has too little room left for this.")
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise OutOfSpace("The disk is full.") from error


async def receive_form_file(
    pieces: AsyncIterator[bytes], headers: Mapping[str, str], field: str
) -> AsyncGenerator[bytes]:
    """The pieces of the one file *field* of a form; other fields are passed over.

    Raises:
        UnsupportedMedia: it is no form.
        InvalidInput: it is none that can be read, or breaks off.
        InvalidField: *field* is not in it.
        TooLarge: it has too many parts.
    """
    form = _Form(_boundary(headers.get("content-type", "")), field)
    async for piece in pieces:
        for found in form.take(piece):
            yield found
    form.end()


def _boundary(content_type: str) -> bytes:
    kind, told = parse_options_header(content_type)
    boundary = told.get(b"boundary", b"")
    if kind != b"multipart/form-data":
        raise UnsupportedMedia("Send the file as multipart/form-data.")
    if not 1 <= len(boundary) <= LONGEST_BOUNDARY:
        raise InvalidInput("The form has no boundary.")
    return boundary


class _Form:
    """Finds one file in the pieces of a form."""

    def __init__(self, boundary: bytes, field: str) -> None:
        self._field = field.encode()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part,
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_end": self._on_end,
            },
        )
        self._parts = 0
        self._name, self._value, self._headers_size = b"", b"", 0
        self._disposition = b""
        self._is_it = False
        self._found = False
        self._ended = False
        self._pieces: list[bytes] = []

    def take(self, piece: bytes) -> list[bytes]:
        """What *piece* brings of the file."""
        try:
            self._parser.write(piece)
        except MultipartParseError as error:
            raise InvalidInput("The form cannot be read.") from error
        found, self._pieces = self._pieces, []
        return found

    def end(self) -> None:
        """The body has ended: so must the form."""
        if not self._ended:
            raise InvalidInput("The form breaks off.")
        if not self._found:
            raise InvalidField(self._field.decode(), "The form has no such file.")

    def _on_part(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise TooLarge(f"The form has more than {MOST_PARTS} parts.", limit=MOST_PARTS)
        self._disposition, self._headers_size, self._is_it = b"", 0, False

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._grow(end - start)
        self._value += data[start:end]

    def _grow(self, size: int) -> None:
        self._headers_size += size
        if self._headers_size > MOST_HEADERS:
            raise TooLarge("A part of the form has too large headers.", limit=MOST_HEADERS)

    def _on_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name, self._value = b"", b""

    def _on_headers(self) -> None:
        _, told = parse_options_header(self._disposition)
        self._is_it = told.get(b"name") == self._field
        if self._is_it and self._found:
            raise InvalidInput("The form has this file twice.")
        self._found = self._found or self._is_it

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_it:
            self._pieces.append(data[start:end])

    def _on_end(self) -> None:
        self._ended = True
