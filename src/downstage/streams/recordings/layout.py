"""The data server's layout of recordings: zips of entries, at paths that say which.

``raw/{recording}/{stream}/{first}_{last}.zip``: nothing in it is packed, each member is one entry
and is named by its id; cut at 1000 entries or 9.5 MB. An export also says at ``downstage.json``
what the streams were described as; others ignore it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from downstage.kernel.errors import BadId, InvalidInput
from downstage.streams import names
from downstage.streams.model import EntryId

__all__ = [
    "ABOUT",
    "CUT_BYTES",
    "CUT_ENTRIES",
    "EARLIEST",
    "RawPath",
    "date_of",
    "member_id",
    "raw_path",
    "read_raw_path",
]

ABOUT: Final = "downstage.json"
CUT_ENTRIES: Final = 1000
CUT_BYTES: Final = 9_500_000
EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
LAST_YEAR: Final = 2107
MOST_PARTS: Final = 4
FILE = re.compile(r"(\d{1,20}(?:-\d{1,20})?)_(\d{1,20}(?:-\d{1,20})?)\.zip")


@dataclass(frozen=True, slots=True)
class RawPath:
    """What a path of the layout says."""

    recording: str
    """Empty where it does not say."""
    stream: str
    first: EntryId
    last: EntryId


def raw_path(recording: str, stream: str, first: EntryId, last: EntryId) -> str:
    """Where entries of *stream* lie."""
    return f"raw/{recording}/{stream}/{first}_{last}.zip"


def read_raw_path(path: str) -> RawPath:
    """What *path* says; ``raw/`` and the recording may be missing.

    Raises:
        InvalidInput: it is none of the layout.
    """
    parts = path.split("/")
    found = FILE.fullmatch(parts[-1])
    before = parts[:-1]
    if before and before[0] == "raw" and len(before) > 1:
        before = before[1:]
    if found is None or not 1 <= len(before) <= MOST_PARTS - 2:
        raise InvalidInput("A file in the archive is not where the layout has files.")
    if not all(names.is_name(part) for part in before):
        raise InvalidInput("A folder in the archive has a name that no stream has.")
    first, last = (EntryId.parse(text) for text in found.groups())
    if last < first:
        raise InvalidInput("A file in the archive ends before it begins.")
    return RawPath(before[0] if len(before) > 1 else "", before[-1], first, last)


def member_id(name: str) -> EntryId:
    """The id that a member's *name* is.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return EntryId.parse(name)
    except BadId as error:
        raise InvalidInput("A member of the archive is not named by an id.") from error


def date_of(entry: EntryId) -> tuple[int, int, int, int, int, int]:
    """The time in an id as zips have it; those have none before 1980."""
    try:
        at = datetime.fromtimestamp(entry.ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return EARLIEST
    if not EARLIEST[0] <= at.year <= LAST_YEAR:
        return EARLIEST
    return at.year, at.month, at.day, at.hour, at.minute, at.second
