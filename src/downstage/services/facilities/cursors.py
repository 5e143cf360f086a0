"""Cursors of lists that are read page by page: where the last one shown stands in the order."""

from __future__ import annotations

from datetime import UTC, datetime

from downstage.kernel.errors import InvalidField

__all__ = ["read_cursor", "write_cursor"]


def write_cursor(created_at: datetime, item_id: str) -> str:
    """The cursor of what follows one thing, in a list that is ordered by time, then by id."""
    return f"{created_at.astimezone(UTC).isoformat()}_{item_id}"


def read_cursor(after: str) -> tuple[datetime, str]:
    """The inverse of `write_cursor`.

    Raises:
        InvalidField: *after* is none of ours.
    """
    text, _, last = after.partition("_")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidField("after", "after: this is no cursor of a page.")
    return moment, last
