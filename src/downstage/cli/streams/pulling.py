"""``pull``: entries to standard output, as lines of JSON, or into files."""

from __future__ import annotations

import json
import mimetypes
import re
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from downstage.cli.content.shown import plain, plural, size_of
from downstage.cli.streams.desk import client_at, err, out
from downstage.cli.streams.options import At
from downstage.client.streams import Client, Entry, Gap, Pull
from downstage.client.streams.values import plain_type
from downstage.kernel.errors import Damaged, PlatformError, SetupError

__all__ = ["Reading", "facts_of", "pull"]

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@=-]{0,127}")
ID = re.compile(r"\d{1,20}-\d{1,20}")
SHOWN = 2000
"""Characters of an entry on a terminal."""
EXTENSIONS = {
    "application/vnd.downstage.ndarray": ".npy",
    "image/jpeg": ".jpg",
    "text/plain": ".txt",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """Which entries."""

    last: str = "$"
    count: int | None = None
    timeout: float | None = None
    latest: bool = False
    max_fps: float | None = None
    sync: str | None = None


def pull(
    at: At | None, names: Sequence[str], reading: Reading, *, folder: Path | None, as_json: bool
) -> None:
    """Print or keep entries until it is over.

    Raises:
        SetupError: no stream is named.
    """
    if not names:
        raise SetupError("Name a stream, for example: downstage streams pull cam")
    with client_at(at) as client:
        opened = _opened(client, names, reading)
        with opened:
            try:
                if folder is not None:
                    _keep(opened, folder)
                elif as_json:
                    for entry in opened:
                        print(json.dumps(facts_of(entry), ensure_ascii=False), flush=True)
                else:
                    _print_all(opened)
            finally:
                if opened.skipped:
                    err().print(f"{plural(opened.skipped, 'entry', 'entries')} skipped.")


def _opened(client: Client, names: Sequence[str], reading: Reading) -> Pull:
    return client.pull(
        *names,
        last=reading.last,
        count=reading.count,
        latest=reading.latest,
        max_fps=reading.max_fps,
        sync=reading.sync,
        timeout=reading.timeout,
        on_gap=_tell_gap,
    )


def _tell_gap(gap: Gap) -> None:
    lost = "entries" if gap.lost is None else plural(gap.lost, "entry", "entries")
    err().print(f"{plain(gap.stream)}: {lost} after {gap.after} may be missing.", style="yellow")


def _print_all(entries: Pull) -> None:
    if sys.stdout.isatty():
        console = out()
        for entry in entries:
            console.print(_line(entry))
        return
    for entry in entries:
        sys.stdout.buffer.write(entry.data)
        if _is_text(entry) and not entry.data.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()


def _line(entry: Entry) -> Text:
    line = Text(f"{entry.time.astimezone():%H:%M:%S.%f}"[:-3] + "  ", "dim")
    line.append(f"{plain(entry.stream)}  ", "cyan")
    if _is_text(entry):
        return line.append(plain(entry.text().rstrip("\n"))[:SHOWN])
    return line.append(_told(entry), "dim")


def _told(entry: Entry) -> str:
    """What an entry that is no text is."""
    kind = plain_type(entry.content_type) or "bytes"
    text = f"{kind}  {size_of(len(entry))}"
    try:
        value = entry.value
    except PlatformError:
        return text
    shape = getattr(value, "shape", None)
    return text if shape is None else f"{text}  {' × '.join(str(n) for n in shape)}"


def _is_text(entry: Entry) -> bool:
    kind = plain_type(entry.content_type)
    if kind:
        return kind.startswith("text/") or kind == "application/json" or kind.endswith("+json")
    try:
        return entry.data.decode().isprintable()
    except UnicodeDecodeError:
        return False


def facts_of(entry: Entry) -> dict[str, Any]:
    """An entry for programs."""
    facts: dict[str, Any] = {
        "stream": entry.stream,
        "id": entry.id,
        "time": entry.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "size": len(entry),
    }
    if entry.content_type:
        facts["type"] = entry.content_type
    kind = plain_type(entry.content_type)
    try:
        if kind == "application/json" or kind.endswith("+json"):
            return {**facts, "value": entry.json()}
        if kind.startswith("text/"):
            return {**facts, "value": entry.data.decode()}
    except (PlatformError, UnicodeDecodeError):
        pass
    return {**facts, "data": b64encode(entry.data).decode()}


def _keep(entries: Pull, folder: Path) -> None:
    """Write each entry into a file of its own."""
    console, done = err(), 0
    try:
        for entry in entries:
            path = folder / _safe(entry)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry.data)
            done += 1
            console.print(plain(str(path)), style="dim")
    finally:
        console.print(f"{plural(done, 'entry', 'entries')} written to {plain(str(folder))}.")


def _safe(entry: Entry) -> Path:
    """Where in the folder it goes; never outside, whatever a server says.

    Raises:
        Damaged: that is no name of a stream, or no id.
    """
    if not NAME.fullmatch(entry.stream) or ".." in entry.stream or not ID.fullmatch(entry.id):
        raise Damaged("The server told a stream's name, or an id, that is none.")
    kind = plain_type(entry.content_type)
    ending = EXTENSIONS.get(kind) or mimetypes.guess_extension(kind or "") or ".bin"
    return Path(entry.stream) / f"{entry.id}{ending}"
