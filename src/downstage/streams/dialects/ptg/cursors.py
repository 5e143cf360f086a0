"""``last_entry_id``: for each stream one, joined by ``+``; fewer than streams begin anew."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import cycle

from downstage.kernel.errors import InvalidField
from downstage.streams.reading import MOST_STREAMS, Cursor, read_cursor

__all__ = ["MAX_TEXT", "read_cursors"]

MAX_TEXT = 48 * MOST_STREAMS
"""Characters of all of them: two numbers of 20 digits each, and what joins them."""


def read_cursors(streams: Sequence[str], text: str) -> Mapping[str, Cursor]:
    """Where reading begins in each of *streams*.

    Raises:
        BadId: one of them is no place in a stream.
        InvalidField: there is none.
    """
    given = [part for part in re.split(r"[+ ]", text) if part]
    if not given:
        raise InvalidField("last_entry_id", "Say $, -, *, or an id: ms or ms-seq.")
    read = [read_cursor(part) for part in given[: len(streams)]]
    return dict(zip(streams, cycle(read), strict=False))
