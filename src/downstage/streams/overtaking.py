"""Live readers that a stream overtook: what came next was removed before it was read.

The engine does not say so: it gives what is there. Only a read that came back full, or with as many
entries as the smallest stream keeps, can have missed something; then the entry before the first of
its rows is looked for. Where that is gone, too, so is what followed it.
"""

from __future__ import annotations

from downstage.kernel.errors import Lagged, PlatformError
from downstage.streams.engine import Lane, encode
from downstage.streams.stats import Figures
from downstage.streams.watching import Watch

__all__ = ["is_suspect", "look_behind"]

LEAST = 64
"""Entries of one read below which nothing can have been missed: streams keep a node of the engine
at least, which is more."""


def is_suspect(rows: int, asked: int) -> bool:
    """Whether a read of so many rows, where so many were asked for, can have missed some."""
    return rows >= min(asked, LEAST)


def look_behind(lane: Lane, watch: Watch, before: bytes, figures: Figures) -> None:
    """See whether the entry *before*, which was read last, is still there; if not, tell so.

    Asked for on the reader's own lane right after the read, so that next to nothing of others lies
    between the two.
    """

    def told(replies: list[object]) -> None:
        if replies[0] == []:
            _tell(watch, figures)

    lane.send([encode("XRANGE", watch.key, before, before)], 1, told)


def _tell(watch: Watch, figures: Figures) -> None:
    """Those who may not miss anything are ended; the others skip, which is counted."""
    grouped = [member for group in watch.groups for member in group.members]
    for user in (*grouped, *watch.singles):
        if user.is_closed:
            continue
        if user.wish.latest:
            user.skip(1)  # at least: the engine does not know how many
            watch.figures.skipped += 1
        else:
            figures.totals.lagged += 1
            user.fail(_lagged(watch))


def _lagged(watch: Watch) -> PlatformError:
    return Lagged(
        f"What came next of {watch.name} was removed before it could be read: the stream keeps "
        "less than is pushed between two reads.",
        stream=watch.name,
    )
