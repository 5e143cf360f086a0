"""The rows of uploads in progress."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from downstage.kernel.errors import Conflict, InvalidField

__all__ = [
    "Part",
    "Shape",
    "Upload",
    "add_part",
    "add_range",
    "check_complete",
    "check_shape",
    "chosen",
    "delete",
    "find",
    "insert",
    "owned",
    "parts_of",
    "received",
    "stale",
    "union",
]

Shape = Literal["range", "parts"]
"""One file filled by ranges, or numbered parts that become one file at the end."""

_COLUMNS = "id, tenant, subject, path, shape, size, message, created_at, touched_at"


@dataclass(frozen=True, slots=True)
class Part:
    """What has arrived: a part by its number, or of a range upload the bytes from *n* on."""

    n: int
    size: int
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in progress; times are seconds since the epoch."""

    id: str
    tenant: str
    subject: str
    path: str
    shape: Shape
    size: int | None
    """Announced; None: told at the end."""
    message: str
    created_at: int
    touched_at: int
    parts: tuple[Part, ...] = ()

    @property
    def offset(self) -> int:
        """Bytes received without a gap from the beginning: where to go on."""
        if self.shape == "parts" or not self.parts or self.parts[0].n != 0:
            return 0
        return self.parts[0].size

    @property
    def received(self) -> int:
        """Bytes that are on disk."""
        return sum(part.size for part in self.parts)


def insert(db: sqlite3.Connection, upload: Upload) -> None:
    """A new upload."""
    db.execute(
        f"INSERT INTO upload ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            upload.id,
            upload.tenant,
            upload.subject,
            upload.path,
            upload.shape,
            upload.size,
            upload.message,
            upload.created_at,
            upload.touched_at,
        ),
    )


def find(db: sqlite3.Connection, upload_id: str) -> Upload | None:
    """An upload with what has arrived."""
    row = db.execute(f"SELECT {_COLUMNS} FROM upload WHERE id = ?", (upload_id,)).fetchone()  # noqa: S608
    return None if row is None else Upload(*row, parts=parts_of(db, upload_id))


def parts_of(db: sqlite3.Connection, upload_id: str) -> tuple[Part, ...]:
    """What has arrived, in order."""
    rows = db.execute(
        "SELECT n, size, etag FROM upload_part WHERE upload = ? ORDER BY n", (upload_id,)
    )
    return tuple(Part(*row) for row in rows)


def owned(db: sqlite3.Connection, tenant: str, subject: str) -> list[Upload]:
    """The uploads of one person, oldest first, without their parts."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM upload WHERE tenant = ? AND subject = ? ORDER BY created_at, id",  # noqa: S608
        (tenant, subject),
    )
    return [Upload(*row) for row in rows]


def received(db: sqlite3.Connection, tenant: str, subject: str) -> int:
    """Bytes that are on disk of all uploads of one person."""
    return db.execute(
        "SELECT coalesce(sum(upload_part.size), 0) FROM upload"
        " JOIN upload_part ON upload_part.upload = upload.id WHERE tenant = ? AND subject = ?",
        (tenant, subject),
    ).fetchone()[0]


def stale(db: sqlite3.Connection, before_s: int) -> list[str]:
    """Ids of uploads that nothing has come for since *before_s*."""
    rows = db.execute("SELECT id FROM upload WHERE touched_at < ?", (before_s,))
    return [upload_id for (upload_id,) in rows]


def delete(db: sqlite3.Connection, upload_ids: Sequence[str]) -> None:
    """Forget uploads."""
    for upload_id in upload_ids:
        db.execute("DELETE FROM upload_part WHERE upload = ?", (upload_id,))
        db.execute("DELETE FROM upload WHERE id = ?", (upload_id,))


def add_part(db: sqlite3.Connection, upload_id: str, part: Part, now_s: int) -> bool:
    """A part has arrived, in place of an earlier one of that number; False: no such upload."""
    if not _touch(db, upload_id, now_s):
        return False
    db.execute(
        "INSERT OR REPLACE INTO upload_part (upload, n, size, etag) VALUES (?, ?, ?, ?)",
        (upload_id, part.n, part.size, part.etag),
    )
    return True


def add_range(db: sqlite3.Connection, upload_id: str, start: int, size: int, now_s: int) -> bool:
    """Bytes have arrived; ranges that touch become one. False: no such upload."""
    if not _touch(db, upload_id, now_s):
        return False
    if size:
        known = [(part.n, part.size) for part in parts_of(db, upload_id)]
        db.execute("DELETE FROM upload_part WHERE upload = ?", (upload_id,))
        db.executemany(
            "INSERT INTO upload_part (upload, n, size) VALUES (?, ?, ?)",
            [(upload_id, at, length) for at, length in union([*known, (start, size)])],
        )
    return True


def _touch(db: sqlite3.Connection, upload_id: str, now_s: int) -> bool:
    changed = db.execute("UPDATE upload SET touched_at = ? WHERE id = ?", (now_s, upload_id))
    return changed.rowcount == 1


def union(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges ``(at, length)`` as few as they can be, in order; touching ones are one."""
    joined = list[tuple[int, int]]()
    for at, length in sorted(ranges):
        if joined and at <= joined[-1][0] + joined[-1][1]:
            first, size = joined[-1]
            joined[-1] = (first, max(size, at + length - first))
        else:
            joined.append((at, length))
    return joined


def check_shape(upload: Upload, shape: Shape) -> None:
    """Refuse what is for the other kind of upload."""
    if upload.shape != shape:
        raise Conflict(f"This upload comes as {upload.shape}.")


def check_complete(upload: Upload) -> None:
    """Refuse a range upload that has a gap, or ends before its announced end.

    Raises:
        Conflict: ``offset`` tells where to go on.
    """
    size = upload.received if upload.size is None else upload.size
    if upload.offset != size:
        raise Conflict("Bytes of this upload are missing.", offset=upload.offset)


def chosen(upload: Upload, parts: Sequence[tuple[int, str]] | None) -> list[int]:
    """The numbers of the parts to take, in order.

    Args:
        upload: with its parts.
        parts: number and etag of each; None: all there are, from 1 without a gap.

    Raises:
        Conflict: one is missing.
        InvalidField: *parts* is out of order, or names what is not there.
    """
    known = {part.n: part for part in upload.parts}
    if parts is None:
        if list(known) != list(range(1, len(known) + 1)):
            raise Conflict("Parts of this upload are missing.")
        return list(known)
    numbers = [number for number, _ in parts]
    if not numbers or numbers != sorted(set(numbers)):
        raise InvalidField("parts", "Name the parts once each, in ascending order.")
    for number, etag in parts:
        if number not in known or known[number].etag != etag:
            raise InvalidField("parts", "A part is not there, or is another.", part=number)
    return numbers
