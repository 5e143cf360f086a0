"""Times as rows of the manager have them: text in UTC, whose order is that of the times."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["write_moment"]


def write_moment(moment: datetime) -> str:
    """*moment* for a row; `datetime.fromisoformat` reads it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
