"""``push`` and ``pull``: their words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from downstage.cli.streams.options import At, Flag, Json, Last

__all__ = ["add_entries"]


def add_entries(streams: App) -> None:
    """Let *streams* have them."""
    streams.command(name="push")(streams_push)
    streams.command(name="pull")(streams_pull)


def streams_push(
    stream: str,
    *files: Path,
    test_pattern: Annotated[bool, Flag] = False,
    camera: Annotated[str | None, Parameter(negative="")] = None,
    whole: Annotated[bool, Flag] = False,
    content_type: Annotated[str | None, Parameter(name=("--type", "-t"))] = None,
    fps: float | None = None,
    size: str = "640x480",
    quality: int = 80,
    count: int | None = None,
    no_ack: Annotated[bool, Flag] = False,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False,
    at: At | None = None,
) -> None:
    """Push files, lines of standard input, a camera, or a test picture into a stream.

    Parameters
    ----------
    stream
        Its name; made where there is none.
    files
        Each becomes an entry; none: each line of standard input does.
    test_pattern
        Push a moving picture, as a camera would.
    camera
        Push a camera: its number or device, for example 0 or /dev/video0. Needs OpenCV.
    whole
        Push standard input as one entry.
    content_type
        What the entries are, for example application/json [default: told from what is pushed].
    fps
        Entries a second [default: 30 for pictures, else as fast as they come].
    size
        Of the picture, WIDTHxHEIGHT.
    quality
        Of its JPEG, 1 to 95.
    count
        End after so many.
    no_ack
        Do not wait for the server to say what it stored: faster, and what is on its way when the
        connection breaks is lost.
    quiet
        Show no progress.
    """
    from downstage.cli.streams.pushing import Source, push

    source = Source(files, test_pattern, camera, whole, fps, size, quality, count)
    push(at, stream, source, content_type=content_type, ack=not no_ack, quiet=quiet)


def streams_pull(
    *names: str,
    last: Last = "$",
    count: Annotated[int | None, Parameter(name=("--count", "-n"))] = None,
    timeout: float | None = None,
    latest: Annotated[bool, Flag] = False,
    max_fps: float | None = None,
    sync: str | None = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    as_json: Json = False,
    at: At | None = None,
) -> None:
    """Print entries as they come, until Ctrl-C; into a pipe their bytes go as they are.

    Parameters
    ----------
    names
        Streams, and patterns such as 'camera-*'.
    last
        Where to begin: $ with what comes, 0 with the oldest, - with the newest, or after an id.
    count
        End after so many.
    timeout
        End after so many seconds without an entry.
    latest
        Rather skip entries than be late.
    max_fps
        At most so many a second of each stream.
    sync
        A stream; after each of its entries come no older ones of the others.
    output
        Folder: each entry becomes a file STREAM/ID.EXT there.
    as_json
        One object a line: stream, id, time, size, value (JSON and text) or data (base64).
    """
    from downstage.cli.streams.pulling import Reading, pull

    reading = Reading(last, count, timeout, latest, max_fps, sync)
    pull(at, names, reading, folder=output, as_json=as_json)
