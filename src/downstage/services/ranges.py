"""The part of a file that somebody asks for by a Range header."""

from __future__ import annotations

import re

from downstage.kernel.errors import RangeNotSatisfiable

__all__ = ["one_range"]

RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


def one_range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last that a Range header asks for; None: everything.

    A unit that is not bytes, or a form that is not understood, asks for everything, as the
    standard says. Several ranges are refused: they cost the server more than the caller.

    Raises:
        RangeNotSatisfiable: none of it is there, or several were asked for.
    """
    if not header.startswith("bytes="):
        return None
    if "," in header:
        raise RangeNotSatisfiable("One range at a time.", size=size)
    found = RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        count = min(int(last), size)
        start, stop = size - count, size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if start >= size or stop <= start:
        raise RangeNotSatisfiable(f"The file has {size} bytes.", size=size)
    return start, stop
