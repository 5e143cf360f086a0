"""Sockets that pull: ``/data/{ids}/pull`` as the data server has it, and our own.

For each delivery a text says what comes, and one binary message brings it; see `delivery`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from downstage.kernel.errors import InvalidField, UnsupportedMedia
from downstage.services.sockets import CLOSE, Listener, SocketRequest
from downstage.streams import names
from downstage.streams.dialects.asked import Asked, Refused
from downstage.streams.dialects.conversion import Conversion
from downstage.streams.dialects.ptg.cursors import MAX_TEXT, read_cursors
from downstage.streams.dialects.pulling import PullSocket, Wishes
from downstage.streams.model import Caller, Right
from downstage.streams.reading import (
    LAST,
    MOST_COUNT,
    Align,
    Cursor,
    From,
    How,
    Wish,
    read_cursor,
)
from downstage.streams.service import Streams

__all__ = ["PullOpener"]

MAX_RATE_S = 3600.0
MAX_TIMEOUT_MS = 24 * 3600 * 1000


def read_wishes(asked: Asked, *, patterns: bool) -> Wishes:
    """What the address asks for.

    Raises:
        InvalidField: something there is out of form.
        UnsupportedMedia: entries cannot be converted to that.
    """
    output, source = asked.text("output"), asked.text("input")
    if output is not None or source is not None:
        _check_forms(output, source)
    rate_s = asked.number("rate_limit") or 0.0
    timeout_ms = asked.number("timeout") or 0.0
    if rate_s > MAX_RATE_S or timeout_ms > MAX_TIMEOUT_MS:
        raise InvalidField("timeout", "So long waits nobody.")
    return Wishes(
        _wish(asked, patterns=patterns),
        asked.yes("header", True),
        asked.yes("ack", False),
        rate_s,
        timeout_ms / 1000,
        output,
        source,
    )


def _wish(asked: Asked, *, patterns: bool) -> Wish:
    cursors, found, start = _places(asked, patterns=patterns)
    begins = [start] if found else []
    is_live = all(isinstance(cursor, From) for cursor in (*cursors.values(), *begins))
    return Wish(
        cursors,
        patterns=found,
        start=start,
        count=min(asked.whole("count", 1, least=1), MOST_COUNT),
        latest=asked.yes("latest", is_live),
        sync_to=_leader(asked.text("time_sync_id"), tuple(cursors)),
        one_by_one=asked.yes("onebyone", False),
        max_fps=asked.number("max_fps"),
        align=_align(asked, tuple(cursors)),
    )


def _places(
    asked: Asked, *, patterns: bool
) -> tuple[Mapping[str, Cursor], tuple[str, ...], Cursor]:
    text = asked.text("last_entry_id") or "$"
    if len(text) > MAX_TEXT:
        raise InvalidField("last_entry_id", "That is longer than all ids could be.")
    if not patterns or not names.is_pattern(asked.names):
        return read_cursors(names.split(asked.names), text), (), LAST
    parts = tuple(dict.fromkeys(part for part in asked.names.replace(" ", "+").split("+") if part))
    found = tuple(names.check_pattern(part) for part in parts if names.is_pattern(part))
    named = tuple(names.check(part) for part in parts if not names.is_pattern(part))
    # As many ids as there are names, and one more: the last is where the patterns begin.
    *own, last = text.replace(" ", "+").split("+")
    start = read_cursor(last)
    if not own:
        return dict.fromkeys(named, start), found, start
    return read_cursors(named, "+".join(own)) if named else {}, found, start


def _leader(given: str | None, streams: tuple[str, ...]) -> str | None:
    """``time_sync_id``: a stream's name, or its number."""
    if not given:
        return None
    if given in streams:
        return given
    if given.isascii() and given.isdigit() and len(given) < 5 and int(given) < len(streams):  # noqa: PLR2004
        return streams[int(given)]
    raise InvalidField("time_sync_id", "Name one of the streams, or its number.")


def _align(asked: Asked, streams: tuple[str, ...]) -> Align | None:
    leader = _leader(asked.text("align"), streams)
    if leader is None:
        return None
    how = asked.one_of("how", "nearest", "previous", "interpolate") or "nearest"
    tolerance = asked.text("tolerance_ms")
    most = None if tolerance is None else asked.whole("tolerance_ms", 0, least=0)
    return Align(leader, cast("How", how), most)


def _check_forms(output: str | None, source: str | None) -> None:
    from downstage.media.images import check

    check(output, source)


class PullOpener:
    """Makes listeners to sockets that pull.

    Args:
        streams: where from.
        own: our own API: patterns, and texts about what was skipped or lost.
    """

    def __init__(self, streams: Streams, *, own: bool = False) -> None:
        self._streams = streams
        self._own = own

    def listen(self, caller: Caller, request: SocketRequest) -> Listener:
        """For a reader.

        Raises:
            PlatformError: it may not read there.
        """
        try:
            wishes = read_wishes(Asked(request), patterns=self._own)
        except InvalidField as error:
            return Refused(error)
        except UnsupportedMedia as error:
            return Refused(error, CLOSE.UNSUPPORTED)
        for stream in wishes.wish.cursors:
            caller.need(stream, Right.READ)
        subscribe = self._streams.subscribe  # raises where the engine is not there
        conversion = None
        if wishes.output is not None:
            conversion = Conversion(self._streams, caller, wishes.output, wishes.source)
        return PullSocket(subscribe, caller, wishes, conversion, own=self._own)
