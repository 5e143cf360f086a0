"""How things are written for eyes: sizes, times, names that might hold anything. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from downstage.client.types import AccessFlags, ItemFlags, ListEntry
from downstage.client.urls import make_printable

__all__ = [
    "facts_of",
    "kind_of",
    "of_url",
    "plain",
    "plural",
    "rights_of",
    "shortened",
    "size_of",
    "time_of",
]

NS = 1_000_000_000
KILO = 1000
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def plain(text: str) -> str:
    """*text* with whatever could steer a terminal, or turn the reading around, as escapes."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"  # noqa: PLR2004 - two digits


def of_url(url: str) -> str:
    """An address for eyes; one of this machine as its path."""
    text = make_printable(url)
    return plain(text.removeprefix("file://") if text.startswith("file:///") else text)


def shortened(name: str, most: int) -> str:
    """*name* in at most *most* letters, its end kept: that tells files apart."""
    return name if len(name) <= most else "…" + name[len(name) - most + 1 :]


def size_of(count: int) -> str:
    """Bytes in the largest unit that leaves a number before the point."""
    if count < KILO:
        return f"{count} B"
    value, unit = float(count), 0
    while value >= KILO - 0.5 and unit < len(UNITS) - 1:
        value, unit = value / KILO, unit + 1
    return (
        f"{value:.1f} {UNITS[unit]}" if value < KILO / 10 - 0.05 else f"{value:.0f} {UNITS[unit]}"
    )


def time_of(ns: int) -> str:
    """Local date and time to the minute; a dash where it is not known."""
    if not ns:
        return "–"
    return datetime.fromtimestamp(ns / NS, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def plural(count: int, one: str, many: str = "") -> str:
    """``1 file``, ``2 files``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def kind_of(entry: ListEntry) -> str:
    """In one word."""
    if entry.flags & ItemFlags.IS_CHANNEL:
        return "channel"
    if entry.is_folder:
        return "mount" if entry.flags & ItemFlags.IS_MOUNT else "folder"
    return "file" if entry.flags & (ItemFlags.READABLE_FILE | ItemFlags.WRITEABLE_FILE) else "other"


def rights_of(access: AccessFlags) -> str:
    """``read, write``."""
    names = [flag.name.lower() for flag in AccessFlags if flag & access and flag.name]
    return ", ".join(names) or "none"


def facts_of(entry: ListEntry) -> dict[str, object]:
    """For programs; what is not known is left out, times are ISO 8601 in UTC."""
    times = {
        "modified": entry.modified_time,
        "created": entry.created_time,
        "deleted": entry.deleted_time,
    }
    found: dict[str, object] = {
        "url": entry.url,
        "name": entry.relative_path,
        "kind": kind_of(entry),
        "size": None if entry.is_folder else entry.size,
        **{
            name: datetime.fromtimestamp(ns / NS, UTC).isoformat().replace("+00:00", "Z")
            for name, ns in times.items()
            if ns
        },
        "modified_by": entry.modified_by,
        "created_by": entry.created_by,
        "deleted_by": entry.deleted_by,
        "version": entry.version,
        "hash": entry.hash,
        "locked_by": entry.locked_by,
        "comment": entry.comment,
        "access": rights_of(entry.access).split(", ") if entry.access else None,
    }
    return {name: value for name, value in found.items() if value is not None}
