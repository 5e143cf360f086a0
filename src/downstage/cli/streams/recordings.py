"""``record``, ``replay`` and ``recordings``: their words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from downstage.cli.streams.options import At, Flag, Json

__all__ = ["add_recordings"]

Quiet = Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")]


def add_recordings(streams: App) -> None:
    """Let *streams* have them."""
    recordings = App(name="recordings", help="Recordings: list, delete, export, import.")
    recordings.default(recordings_ls)
    recordings.command(name="ls")(recordings_ls)
    recordings.command(name="rm")(recordings_rm)
    recordings.command(name="export")(recordings_export)
    recordings.command(name="import")(recordings_import)
    streams.command(recordings)
    streams.command(name="record")(streams_record)
    streams.command(name="replay")(streams_replay)


def streams_record(
    *names: str,
    name: str | None = None,
    duration: float | None = None,
    quiet: Quiet = False,
    at: At | None = None,
) -> None:
    """Record streams at the server until Ctrl-C, which closes the recording properly.

    Parameters
    ----------
    names
        Streams, and patterns such as 'camera-*' [default: all, and those made meanwhile].
    name
        Of the recording [default: date and time].
    duration
        End by itself after so many seconds.
    quiet
        Show no progress.
    """
    from downstage.cli.streams.recorder import record

    record(at, names, name=name, duration_s=duration, quiet=quiet)


def streams_replay(
    name: str,
    *,
    stream: Annotated[tuple[str, ...], Parameter(name=("--stream", "-s"), negative="")] = (),
    prefix: str = "",
    speed: float = 1.0,
    start: float = 0.0,
    stop: float | None = None,
    loop: Annotated[bool, Flag] = False,
    original_ids: Annotated[bool, Flag] = False,
    quiet: Quiet = False,
    at: At | None = None,
) -> None:
    """Push what was recorded into streams again; Ctrl-C ends it.

    Parameters
    ----------
    name
        Of the recording.
    stream
        One of those recorded; may be repeated [default: all].
    prefix
        Put before the names of the streams, for example replay-.
    speed
        Times the recorded speed; 0 is as fast as it goes.
    start
        Seconds from the first entry where it begins.
    stop
        Seconds from the first entry where it ends.
    loop
        Begin anew at the end, until Ctrl-C.
    original_ids
        Keep the ids, and with them the times.
    quiet
        Show no progress.
    """
    from downstage.cli.streams.recorder import Replaying, replay

    wanted = Replaying(stream, prefix, speed, start, stop, loop, original_ids)
    replay(at, name, wanted, quiet=quiet)


def recordings_ls(
    pattern: str = "*",
    *,
    hidden: Annotated[bool, Flag] = False,
    as_json: Json = False,
    at: At | None = None,
) -> None:
    """List recordings: when, how long, how large, which streams.

    Parameters
    ----------
    pattern
        A name in which * stands for anything.
    hidden
        Those that were hidden, too.
    as_json
        One object a line.
    """
    from downstage.cli.streams.recorder import print_recordings

    print_recordings(at, pattern, hidden=hidden, as_json=as_json)


def recordings_rm(*names: str, at: At | None = None) -> None:
    """Delete recordings for good.

    Parameters
    ----------
    names
        Of the recordings.
    """
    from downstage.cli.streams.recorder import remove_recordings

    remove_recordings(at, names)


def recordings_export(
    name: str,
    file: Path,
    *,
    stream: Annotated[tuple[str, ...], Parameter(name=("--stream", "-s"), negative="")] = (),
    quiet: Quiet = False,
    at: At | None = None,
) -> None:
    """Write a recording into FILE: .mcap as it lies there, .zip in the data server's layout.

    Parameters
    ----------
    name
        Of the recording.
    file
        Where to.
    stream
        One of those recorded, for a .zip; may be repeated [default: all].
    quiet
        Show no progress.
    """
    from downstage.cli.streams.recorder import export

    export(at, name, file, stream, quiet=quiet)


def recordings_import(
    file: Path, *, name: str | None = None, quiet: Quiet = False, at: At | None = None
) -> None:
    """Take a .mcap or .zip file as a recording of the server.

    Parameters
    ----------
    file
        From where.
    name
        Of the recording [default: what the file says].
    quiet
        Show no progress.
    """
    from downstage.cli.streams.recorder import import_file

    import_file(at, file, name=name, quiet=quiet)
