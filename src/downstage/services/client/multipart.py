"""Bodies that are read while they are sent: files, and forms with files in them."""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import IO, Any, cast

import anyio
import anyio.to_thread

from downstage.services.client.asked import BYTES, OCTETS
from downstage.services.client.encoding import SEVERAL, text

__all__ = [
    "MULTIPART",
    "Progress",
    "Source",
    "is_repeatable",
    "multipart",
    "open_source",
    "watched",
]

MULTIPART = "multipart/form-data"
PIECE = 256 * 1024
Progress = Callable[[int, int | None], object]
"""Called with the bytes gone so far and all there are, None where that is not known."""


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes to be sent, and what is known of them."""

    pieces: Callable[[], AsyncGenerator[bytes]]
    size: int | None
    name: str
    kind: str
    is_repeatable: bool
    opened: list[AsyncGenerator[bytes]] = field(default_factory=list[AsyncGenerator[bytes]])

    def __aiter__(self) -> AsyncGenerator[bytes]:
        pieces = self.pieces()
        self.opened.append(pieces)
        return pieces

    async def aclose(self) -> None:
        """Close what was read and not to its end: a call may be over before its body."""
        while self.opened:
            await self.opened.pop().aclose()


async def open_source(given: Any) -> Source:
    """A file's path, bytes, an open file or an asynchronous iterable, as something to send.

    A pair or triple gives the name, and the media type, itself: ``("a.usd", path, "model/usd")``.

    Raises:
        OSError: the file cannot be read.
        TypeError: it is none of these.
    """
    if isinstance(given, tuple):
        name, inner, *kind = cast("tuple[Any, ...]", given)
        found = await open_source(inner)
        media = str(kind[0]) if kind else _kind(str(name))
        return Source(found.pieces, found.size, str(name), media, found.is_repeatable)
    if isinstance(given, BYTES):
        return _of_bytes(bytes(cast("bytes", given)))
    if isinstance(given, PurePath):
        path = anyio.Path(given)
        size = (await path.stat()).st_size
        return Source(lambda: _read_path(Path(given)), size, given.name, _kind(given.name), True)
    if isinstance(given, AsyncIterable):
        pieces = cast("AsyncIterable[bytes]", given)
        return Source(lambda: _each(pieces), None, "file", OCTETS, False)
    if hasattr(given, "read"):
        return await _of_file(cast("IO[bytes]", given))
    raise TypeError(f"{type(given).__name__} cannot be sent: give a Path, bytes or an open file")


def _of_bytes(data: bytes) -> Source:
    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]

    return Source(pieces, len(data), "file", OCTETS, True)


async def _of_file(file: IO[bytes]) -> Source:
    """An open binary file, from where it stands; its owner closes it."""
    start, end = await anyio.to_thread.run_sync(_extent, file)

    async def pieces() -> AsyncGenerator[bytes]:
        if start is not None:
            await anyio.to_thread.run_sync(file.seek, start)
        while piece := await anyio.to_thread.run_sync(file.read, PIECE):
            yield piece

    size = end - start if start is not None and end is not None else None
    name = PurePath(str(getattr(file, "name", "file"))).name
    return Source(pieces, size, name, _kind(name), start is not None)


async def _each(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    async for piece in pieces:
        yield piece


def _extent(file: IO[bytes]) -> tuple[int | None, int | None]:
    if not file.seekable():
        return None, None
    start = file.tell()
    end = file.seek(0, 2)
    file.seek(start)
    return start, end


async def _read_path(path: Path) -> AsyncGenerator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        piece = await file.read(PIECE)
        while following := await file.read(PIECE):
            yield piece
            piece = following
    # The file is closed by now: who has all bytes that were announced asks for no more.
    if piece:
        yield piece


def _kind(name: str) -> str:
    return mimetypes.guess_type(name)[0] or OCTETS


def is_repeatable(body: object) -> bool:
    """Can *body* be read once more from its start?"""
    return isinstance(body, Source) and body.is_repeatable


def watched(source: Source, progress: Progress | None) -> Source:
    """*source*, telling *progress* how far it has gone."""
    if progress is None:
        return source

    async def pieces() -> AsyncGenerator[bytes]:
        gone = 0
        progress(0, source.size)
        async with aclosing(aiter(source)) as inner:
            async for piece in inner:
                yield piece
                gone += len(piece)
                progress(gone, source.size)

    return Source(pieces, source.size, source.name, source.kind, source.is_repeatable)


def multipart(fields: Mapping[str, object], files: Mapping[str, Source] | None = None) -> Source:
    """A form of *fields* and *files*, ``multipart/form-data``."""
    boundary = f"downstage-{secrets.token_hex(16)}"
    parts = list[tuple[bytes, Source]]()
    for name, value in fields.items():
        values = cast("list[object]", value) if isinstance(value, SEVERAL) else [value]
        for item in values:
            if item is not None:
                parts.append(_field(boundary, name, item))
    for name, source in (files or {}).items():
        parts.append((_head(boundary, name, source.name, source.kind), source))
    end = f"--{boundary}--\r\n".encode()
    return Source(
        lambda: _join(parts, end),
        _size(parts, end),
        "form",
        f"{MULTIPART}; boundary={boundary}",
        all(source.is_repeatable for _, source in parts),
    )


def _field(boundary: str, name: str, value: object) -> tuple[bytes, Source]:
    if isinstance(value, bytes | bytearray):
        return _head(boundary, name, "file", OCTETS), _of_bytes(bytes(value))
    return _head(boundary, name, None, None), _of_bytes(text(value).encode())


def _head(boundary: str, name: str, filename: str | None, kind: str | None) -> bytes:
    lines = [f"--{boundary}", f'content-disposition: form-data; name="{_quoted(name)}"']
    if filename is not None:
        lines[1] += f'; filename="{_quoted(filename)}"'
    if kind is not None:
        lines.append(f"content-type: {_quoted(kind)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _quoted(value: str) -> str:
    """As browsers write names: what would end the line or the quotes is percent-encoded."""
    return value.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").replace("\0", "%00")


def _size(parts: list[tuple[bytes, Source]], end: bytes) -> int | None:
    total = len(end)
    for head, source in parts:
        if source.size is None:
            return None
        total += len(head) + source.size + 2
    return total


async def _join(parts: list[tuple[bytes, Source]], end: bytes) -> AsyncGenerator[bytes]:
    for head, source in parts:
        yield head
        async with aclosing(aiter(source)) as inner:
            async for piece in inner:
                yield piece
        yield b"\r\n"
    yield end
