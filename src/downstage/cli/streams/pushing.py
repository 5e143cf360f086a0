"""``push``: files, lines, a camera or a test picture into a stream."""

from __future__ import annotations

import mimetypes
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from downstage.cli.content.shown import plain, plural, size_of
from downstage.cli.streams.desk import client_at, err
from downstage.cli.streams.options import At
from downstage.cli.streams.pictures import opened_camera, size_of_picture, test_pattern
from downstage.client.streams import Push
from downstage.client.streams.values import JPEG, JSON, TEXT, encode_image
from downstage.kernel.errors import SetupError

__all__ = ["Source", "push"]

FPS = 30.0
TYPES = {".npy": "application/vnd.downstage.ndarray", ".json": JSON, ".txt": TEXT}
MOST_FILE = 1 << 30


@dataclass(frozen=True, slots=True)
class Source:
    """Where entries come from."""

    files: Sequence[Path] = ()
    test_pattern: bool = False
    camera: str | None = None
    whole: bool = False
    fps: float | None = None
    size: str = "640x480"
    quality: int = 80
    count: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether it makes pictures by the clock."""
        return self.test_pattern or self.camera is not None

    def check(self) -> None:
        """Return if that can be done.

        Raises:
            SetupError: several at once, or a number that is none.
        """
        named = [bool(self.files), self.test_pattern, self.camera is not None, self.whole]
        if sum(named) > 1:
            raise SetupError("Push files, a camera, the test pattern, or standard input: one.")
        if not any(named) and sys.stdin.isatty():
            raise SetupError(
                "Say what to push: files, --test-pattern, --camera 0, or lines by a pipe: "
                "ping localhost | downstage streams push pings"
            )
        if self.fps is not None and not 0 < self.fps <= 10_000:  # noqa: PLR2004
            raise SetupError("--fps is a number above 0.")
        if not 1 <= self.quality <= 95:  # noqa: PLR2004
            raise SetupError("--quality is a number from 1 to 95.")


Entry = tuple[bytes, str | None]
"""Bytes, and their type where it is known."""


def push(
    at: At | None,
    stream: str,
    source: Source,
    *,
    content_type: str | None,
    ack: bool,
    quiet: bool,
) -> None:
    """Push until there is no more, or Ctrl-C: what was sent is stored then, too."""
    source.check()
    began, size = time.monotonic(), 0
    with client_at(at) as client, _entries(source) as entries:
        first = next(entries, None)
        if first is None:
            err().print("There was nothing to push.")
            return
        options: dict[str, Any] = {"when_full": "drop"} if source.is_live else {}
        with client.push(stream, ack=ack, content_type=content_type, **options) as opened:
            with _meter(stream, opened, quiet=quiet) as meter:
                try:
                    for data, kind in _chained(first, entries):
                        opened.send(data, content_type=kind)
                        size += len(data)
                        meter(size)
                except KeyboardInterrupt:
                    pass  # what was sent is stored; then it ends as it should
            opened.flush(60)
            done = opened.sent - opened.dropped
    if not quiet:
        seconds = max(time.monotonic() - began, 1e-3)
        text = f"{plural(done, 'entry', 'entries')} pushed to {plain(stream)} ({size_of(size)}"
        err().print(f"{text}, {done / seconds:.1f}/s).")


def _chained(first: Entry, rest: Iterator[Entry]) -> Iterator[Entry]:
    yield first
    yield from rest


@contextmanager
def _entries(source: Source) -> Generator[Iterator[Entry]]:
    if source.camera is not None:
        width, height = size_of_picture(source.size)
        with opened_camera(source.camera, (width, height)) as take:
            frames = _frames(take, source, "BGR")
            yield _paced(frames, source.fps or FPS, source.count)
        return
    if source.test_pattern:
        draw = test_pattern(*size_of_picture(source.size))
        numbers = iter(range(sys.maxsize))
        frames = _frames(lambda: draw(next(numbers)), source, "RGB")
        yield _paced(frames, source.fps or FPS, source.count)
        return
    found = _files(source.files) if source.files else _input(whole=source.whole)
    yield _paced(found, source.fps, source.count)


def _frames(take: Any, source: Source, order: Any) -> Iterator[Entry]:
    while True:
        yield encode_image(take(), quality=source.quality, order=order), JPEG


def _paced(entries: Iterator[Entry], fps: float | None, count: int | None) -> Iterator[Entry]:
    """At most *fps* of them a second, by a clock that does not drift; at most *count*."""
    began = time.monotonic()
    for number, entry in enumerate(entries):
        if number == count:
            return
        if fps is not None:
            time.sleep(max(0.0, began + number / fps - time.monotonic()))
        yield entry
        if number + 1 == count:
            return


def _files(files: Sequence[Path]) -> Iterator[Entry]:
    for path in files:
        kind = TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]
        try:
            if path.stat().st_size > MOST_FILE:
                raise SetupError(f"{path} is too large for one entry.")
            yield path.read_bytes(), kind
        except OSError as error:
            raise SetupError(f"{path} cannot be read: {error.strerror or error}.") from error


def _input(*, whole: bool) -> Iterator[Entry]:
    """Standard input: all of it, or each line without its end."""
    stdin = sys.stdin.buffer
    if whole:
        yield stdin.read(), None
        return
    for line in stdin:
        data = line.rstrip(b"\r\n")
        yield data, _line_type(data)


def _line_type(line: bytes) -> str | None:
    if line[:1] in (b"{", b"["):
        try:
            msgspec.json.decode(line)
        except msgspec.DecodeError:
            return TEXT
        return JSON
    try:
        line.decode()
    except UnicodeDecodeError:
        return None
    return TEXT


@contextmanager
def _meter(stream: str, opened: Push, *, quiet: bool) -> Generator[Any]:
    """Shows how much went; called with the bytes."""
    console = err()
    if quiet or not console.is_terminal:
        yield _silent
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"→ {plain(stream)}", total=None, told="")

        def move(size: int) -> None:
            rate = opened.sent / max(time.monotonic() - began, 1e-3)
            dropped = f"  {opened.dropped:,} dropped" if opened.dropped else ""
            told = f"{opened.sent:,} entries  {size_of(size)}  {rate:.1f}/s{dropped}"
            progress.update(task, told=told)

        yield move


def _silent(_: int) -> None: ...
