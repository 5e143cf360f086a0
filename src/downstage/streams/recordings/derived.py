"""Files that are made of a recording when somebody asks for them: films, sound, JSON."""

from __future__ import annotations

import json
import struct
import wave
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from downstage.kernel.errors import NotFound, UnsupportedMedia
from downstage.streams.model import Entry
from downstage.streams.recordings.reader import RecordingReader

__all__ = ["KINDS", "Stopped", "make", "parse_kind"]

KINDS: Final = ("mp4", "mjpeg", "wav", "json", "ndjson")
PICTURES: Final = ("image/jpeg", "image/png", "image/webp")
PCM_RATE: Final = 48_000
WIDTHS: Final = {"audio/pcm": 2, "audio/l16": 2}
MOST_WAV: Final = 0xFFFFFFFF - 64
JSON_TYPES: Final = ("application/json", "text/json")


class Stopped(Exception):
    """The service ends: what was begun is dropped."""


def make(
    reader: RecordingReader, stream: str, kind: str, path: Path, is_ending: Callable[[], bool]
) -> None:
    """Make the file *path* of a stream's entries. Blocks, for long.

    Args:
        reader: of the recording.
        stream: that is in it.
        kind: one of `KINDS`.
        path: a new file.
        is_ending: asked between entries.

    Raises:
        UnsupportedMedia: what the stream holds cannot become that.
        NotFound: it holds nothing.
        Stopped: *is_ending* said so.
    """
    facts = reader.facts().get(stream)
    if facts is None or not facts.count:
        raise NotFound(f"There is no stream {stream} in this recording.")
    entries = _watched(reader.entries([stream]), is_ending)
    content_type = (facts.content_type or "").lower()
    if kind == "mp4":
        _make_film(entries, content_type, path)
        return
    with path.open("xb") as file:
        if kind == "mjpeg":
            _need(content_type == "image/jpeg", content_type, "JPEG pictures")
            for entry in entries:
                file.write(entry.data)
        elif kind == "wav":
            _make_sound(entries, content_type, file)
        else:
            _make_json(entries, file, lines=kind == "ndjson")


def _watched(entries: Iterator[Entry], is_ending: Callable[[], bool]) -> Iterator[Entry]:
    for entry in entries:
        if is_ending():
            raise Stopped
        yield entry


def _need(holds: bool, content_type: str, what: str) -> None:
    if not holds:
        known = content_type or "of no known type"
        raise UnsupportedMedia(f"This needs a stream of {what}; its entries are {known}.")


def _make_film(entries: Iterator[Entry], content_type: str, path: Path) -> None:
    _need(content_type in PICTURES, content_type, "pictures")
    from downstage.media.films import NotDecoded, write_film

    try:
        write_film(path, ((entry.id.ms, entry.data) for entry in entries), content_type)
    except NotDecoded as error:
        raise UnsupportedMedia("No picture of this stream can be decoded.") from error


def parse_kind(content_type: str) -> tuple[str, dict[str, str]]:
    """``audio/pcm; rate=16000`` as the type and its parameters."""
    kind, *rest = content_type.split(";")
    pairs = (part.partition("=") for part in rest)
    return kind.strip(), {name.strip(): value.strip() for name, _, value in pairs}


def _make_sound(entries: Iterator[Entry], content_type: str, file: BinaryIO) -> None:
    kind, told = parse_kind(content_type)
    _need(kind in (*WIDTHS, "audio/wav", "audio/x-wav"), content_type, "PCM sound")
    first = next(entries)
    if kind in WIDTHS:
        rate, channels, width = _number(told, "rate", PCM_RATE), _number(told, "channels", 1), 2
        decode: Callable[[bytes], bytes] = _swapped if kind == "audio/l16" else bytes
    else:
        rate, channels, width = _wave_form(first.data)
        decode = _wave_data
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        size = 0
        for entry in _chain(first, entries):
            data = decode(entry.data)
            size += len(data)
            if size > MOST_WAV:
                raise UnsupportedMedia("This is more sound than one WAV file holds.")
            sound.writeframesraw(data)


def _number(told: dict[str, str], name: str, usual: int) -> int:
    text = told.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) <= 6 else usual  # noqa: PLR2004 - digits


def _swapped(data: bytes) -> bytes:
    count = len(data) // 2
    return struct.pack(f"<{count}H", *struct.unpack(f">{count}H", data[: 2 * count]))


def _wave_form(data: bytes) -> tuple[int, int, int]:
    try:
        with wave.open(BytesIO(data)) as sound:
            return sound.getframerate(), sound.getnchannels(), sound.getsampwidth()
    except (wave.Error, EOFError) as error:
        raise UnsupportedMedia("The entries of this stream are no WAV.") from error


def _wave_data(data: bytes) -> bytes:
    try:
        with wave.open(BytesIO(data)) as sound:
            return sound.readframes(sound.getnframes())
    except (wave.Error, EOFError):
        return b""


def _chain(first: Entry, rest: Iterator[Entry]) -> Iterator[Entry]:
    yield first
    yield from rest


def _make_json(entries: Iterator[Entry], file: BinaryIO, *, lines: bool) -> None:
    """Objects as they are, with their entry's id as ``timestamp`` where they have none."""
    separator, count = b"\n" if lines else b",\n", 0
    file.write(b"" if lines else b"[\n")
    for entry in entries:
        try:
            value: Any = json.loads(entry.data)
        except (ValueError, RecursionError) as error:
            if not count:
                raise UnsupportedMedia("The entries of this stream are no JSON.") from error
            continue
        said = cast("dict[str, Any]", value) if isinstance(value, dict) else {"value": value}
        text = json.dumps({"timestamp": str(entry.id), **said}, separators=(",", ":"))
        file.write((separator if count else b"") + text.encode())
        count += 1
    file.write(b"\n" if lines else b"\n]\n")
