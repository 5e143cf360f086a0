"""What ``record``, ``replay`` and ``recordings`` do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from downstage.cli.content.shown import plain, plural, size_of
from downstage.cli.streams.desk import client_at, err, out
from downstage.cli.streams.options import At
from downstage.client.streams import Client, RecordingInfo, ReplayInfo
from downstage.kernel.errors import InvalidInput, NotFound, SetupError, Unavailable

__all__ = [
    "Replaying",
    "export",
    "import_file",
    "print_recordings",
    "record",
    "remove_recordings",
    "replay",
]

LOOK_S = 0.5
FORMS = (".mcap", ".zip")


@dataclass(frozen=True, slots=True)
class Replaying:
    """How a recording is replayed; times in seconds from its first entry."""

    streams: Sequence[str] = ()
    prefix: str = ""
    speed: float = 1.0
    start_s: float = 0.0
    stop_s: float | None = None
    loop: bool = False
    original_ids: bool = False


def record(
    at: At | None, names: Sequence[str], *, name: str | None, duration_s: float | None, quiet: bool
) -> None:
    """Record until Ctrl-C, or so long."""
    with client_at(at) as client:
        info = client.recordings.start(*names, name=name)
        if not quiet:
            err().print(f"Recording {plain(info.name)}. Ctrl-C stops it.", style="dim")
        try:
            info = _watched(client, info, duration_s, quiet=quiet)
        except KeyboardInterrupt:
            pass
        except BaseException:
            with suppress(Unavailable):
                client.recordings.stop(info.name)
            raise
        if info.state in ("recording", "stopping"):
            info = client.recordings.stop(info.name)
    if info.state == "failed":
        raise InvalidInput(f"The recording {plain(info.name)} ended early: {info.reason}.")
    print(info.name)
    if not quiet:
        err().print(f"{_told(info)} recorded in {info.duration_s:.1f} s.")


def _watched(
    client: Client, info: RecordingInfo, duration_s: float | None, *, quiet: bool
) -> RecordingInfo:
    began = time.monotonic()
    with _spinner(f"● {plain(info.name)}", quiet=quiet) as tell:
        while info.state == "recording":
            left = LOOK_S
            if duration_s is not None:
                left = min(left, began + duration_s - time.monotonic())
                if left <= 0:
                    break
            time.sleep(left)
            info = client.recordings.info(info.name)
            tell(_told(info))
    return info


def _told(info: RecordingInfo) -> str:
    count = sum(stream.entries for stream in info.streams)
    text = f"{plural(count, 'entry', 'entries')} of {plural(len(info.streams), 'stream')}"
    gaps = f", {plural(info.gaps, 'gap')}" if info.gaps else ""
    return f"{text} ({size_of(info.size)}{gaps})"


def replay(at: At | None, name: str, wanted: Replaying, *, quiet: bool) -> None:
    """Replay, and wait until it is over."""
    with client_at(at) as client:
        made = client.recordings.replay(
            name,
            streams=wanted.streams or None,
            prefix=wanted.prefix,
            speed=wanted.speed,
            start_ms=round(wanted.start_s * 1000),
            stop_ms=None if wanted.stop_s is None else round(wanted.stop_s * 1000),
            loop=wanted.loop,
            original_ids=wanted.original_ids,
        )
        try:
            made = _followed(client, made, quiet=quiet)
        except KeyboardInterrupt:
            client.recordings.stop_replay(made)
            err().print("Stopped.")
            return
        except BaseException:
            with suppress(Unavailable, NotFound):
                client.recordings.stop_replay(made)
            raise
    if made.state == "failed":
        raise InvalidInput(f"The replay of {plain(name)} failed: {made.reason}.")
    if not quiet:
        count = sum(made.counts.values())
        err().print(f"{plural(count, 'entry', 'entries')} replayed.")


def _followed(client: Client, made: ReplayInfo, *, quiet: bool) -> ReplayInfo:
    console = err()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=32),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
    )
    is_shown = not quiet and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        total = max(made.duration_ms, 1)
        task = progress.add_task(f"▶ {plain(made.recording)}", total=total, told="")
        for now in client.recordings.follow(made, LOOK_S / 2):
            made = now
            count = sum(now.counts.values())
            rounds = f", round {now.rounds + 1}" if now.rounds else ""
            told = f"{now.position_ms / 1000:.1f}/{total / 1000:.1f} s  {count:,} entries{rounds}"
            progress.update(task, completed=min(now.position_ms, total), told=told)
    return made


def print_recordings(at: At | None, pattern: str, *, hidden: bool, as_json: bool) -> None:
    """List them."""
    with client_at(at) as client:
        found = client.recordings.list(pattern, hidden=hidden)
    if as_json:
        for info in found:
            print(json.dumps(msgspec.to_builtins(info), ensure_ascii=False))
        return
    if not found:
        err().print("There are no recordings. Make one: downstage streams record", style="dim")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, right in (("NAME", False), ("BEGAN", False), ("LENGTH", True), ("SIZE", True)):
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "NAME")
    table.add_column("STATE")
    table.add_column("STREAMS", overflow="fold")
    for info in found:
        began = datetime.fromtimestamp(info.started_at / 1000, UTC).astimezone()
        table.add_row(
            Text(plain(info.name)),
            f"{began:%Y-%m-%d %H:%M:%S}",
            f"{info.duration_s:.1f} s",
            size_of(info.size),
            Text(f"{info.state} ({info.reason})" if info.reason else info.state),
            Text(plain(", ".join(stream.name for stream in info.streams)), "dim"),
        )
    out().print(table)


def remove_recordings(at: At | None, names: Sequence[str]) -> None:
    """Delete them.

    Raises:
        SetupError: none is named.
    """
    if not names:
        raise SetupError("Name a recording; downstage streams recordings lists them.")
    with client_at(at) as client:
        for name in names:
            client.recordings.delete(name)
    err().print(f"{plural(len(names), 'recording')} deleted.")


def export(at: At | None, name: str, file: Path, streams: Sequence[str], *, quiet: bool) -> None:
    """Write one into a file."""
    if file.suffix not in FORMS or (streams and file.suffix == ".mcap"):
        raise SetupError("Name a file .mcap (all of it), or .zip (all of it, or some --stream).")
    if file.exists():
        raise SetupError(f"{file} exists; name another file.")
    with client_at(at) as client:
        total = client.recordings.info(name).size if file.suffix == ".mcap" else None
        with _bar(file.name, total, quiet=quiet) as move:
            size = client.recordings.export(name, file, streams=streams or None, progress=move)
    if not quiet:
        err().print(f"{plain(str(file))} written ({size_of(size)}).")


def import_file(at: At | None, file: Path, *, name: str | None, quiet: bool) -> None:
    """Take a file in."""
    if not file.is_file():
        raise SetupError(f"There is no file {file}.")
    with client_at(at) as client, _bar(file.name, file.stat().st_size, quiet=quiet) as move:
        info = client.recordings.import_(file, name=name, progress=move)
    print(info.name)
    if not quiet:
        err().print(f"{_told(info)} imported.")


@contextmanager
def _bar(name: str, total: int | None, *, quiet: bool) -> Generator[Callable[[int], None]]:
    """A bar of bytes."""
    console = err()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=32),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    is_shown = not quiet and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        task = progress.add_task(plain(name), total=total)

        def move(done: int) -> None:
            progress.update(task, completed=done)

        yield move


@contextmanager
def _spinner(name: str, *, quiet: bool) -> Generator[Callable[[str], None]]:
    """Something that moves, and a line about it."""
    console = err()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[told]}", markup=False),
    )
    is_shown = not quiet and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        task = progress.add_task(name, total=None, told="")

        def tell(text: str) -> None:
            progress.update(task, told=text)

        yield tell
