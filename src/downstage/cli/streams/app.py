"""The commands of ``downstage streams``: their words; what they do loads when one is run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from downstage.cli.streams.entries import add_entries
from downstage.cli.streams.options import At, Json, Last
from downstage.cli.streams.recordings import add_recordings

__all__ = ["streams"]

streams = App(
    name="streams",
    help="Live data: list, push, pull, plot, record and replay streams.",
)
add_entries(streams)
add_recordings(streams)


@streams.command(name="ls")
def streams_ls(pattern: str = "*", *, as_json: Json = False, at: At | None = None) -> None:
    """List streams: type, entries, bytes, rate, when the last entry came.

    Parameters
    ----------
    pattern
        A name in which * stands for anything.
    as_json
        One object a line.
    """
    from downstage.cli.streams.listing import print_streams

    print_streams(at, pattern, as_json=as_json)


@streams.command(name="info")
def streams_info(stream: str, *, as_json: Json = False, at: At | None = None) -> None:
    """Tell all that is known of a stream.

    Parameters
    ----------
    stream
        Its name.
    as_json
        One object.
    """
    from downstage.cli.streams.listing import print_stream

    print_stream(at, stream, as_json=as_json)


@streams.command(name="rm")
def streams_rm(
    *names: str,
    yes: Annotated[bool, Parameter(name=("--yes", "-y"), negative="")] = False,
    at: At | None = None,
) -> None:
    """Delete streams: their entries and descriptions.

    Parameters
    ----------
    names
        Of the streams; with * in one, it is asked first.
    yes
        Do not ask.
    """
    from downstage.cli.streams.listing import remove_streams

    remove_streams(at, names, yes=yes)


@streams.command(name="plot")
def streams_plot(
    stream: str,
    *,
    field: Annotated[tuple[str, ...], Parameter(name=("--field", "-f"), negative="")] = (),
    window: float = 30.0,
    height: int = 6,
    last: Last = "$",
    timeout: float | None = None,
    at: At | None = None,
) -> None:
    """Draw numbers of a stream as they come, until Ctrl-C.

    Parameters
    ----------
    stream
        Whose entries are JSON, or arrays of one dimension.
    field
        Which number, for example pose.x or joints.0; may be repeated [default: the first ones].
    window
        Seconds that are shown.
    height
        Rows of each curve.
    last
        Where to begin: $ with what comes, 0 with the oldest, - with the newest, or after an id.
    timeout
        End after so many seconds without an entry.
    """
    from downstage.cli.streams.plotting import Plot, plot

    plot(at, stream, Plot(field, window, height), last=last, timeout=timeout)


@streams.command(name="bench")
def streams_bench(
    *,
    sizes: Annotated[tuple[int, ...], Parameter(name="--size", negative="")] = (),
    seconds: float = 2.0,
    as_json: Json = False,
    at: At | None = None,
) -> None:
    """Measure the way to the server and back: entries a second, bytes a second, latency.

    Parameters
    ----------
    sizes
        Bytes of an entry; may be repeated [default: 1024, 65536, 1048576].
    seconds
        Of each measurement.
    as_json
        One object a line.
    """
    from downstage.cli.streams.measuring import bench

    bench(at, sizes or (1024, 65536, 1 << 20), seconds=seconds, as_json=as_json)
