"""Documents as administrators change them: whoever writes says which version they saw.

A version is told by a tag, which follows from the content alone.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass

from downstage.kernel.errors import NotFound, VersionMismatch
from downstage.streams.documents import Documents, Json, checked, encoded, insert, update

__all__ = ["ANY", "Listed", "Page", "Revising", "Revision", "Seen"]

ANY = "*"
"""In place of a tag: whichever version is there."""
PREVIEW = 160
"""Characters of a document that a listing shows."""
Seen = frozenset[str] | None
"""Tags of which the present one must be one; None: there must be no such document yet."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One document in one version."""

    id: str
    body: Json
    tag: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One document of a listing."""

    id: str
    body: Json
    preview: str
    """Where its JSON begins, the outer brackets left out."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some documents, in the order in which they were put in."""

    items: tuple[Listed, ...]
    next: int | None
    """What the next page follows; None: there is none."""
    total: int
    """How many fit, on all pages."""


class Revising:
    """Reads and changes documents by their versions.

    Args:
        documents: where they are kept.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def counts(self, tenant: str) -> dict[str, tuple[int, int]]:
        """Of each kind that has any: how many there are, and their bytes."""

        def job(db: sqlite3.Connection) -> dict[str, tuple[int, int]]:
            rows = db.execute(
                """SELECT kind, count(*), sum(length(body)) FROM documents
                WHERE tenant = ? GROUP BY kind""",
                (tenant,),
            )
            return {kind: (count, size) for kind, count, size in rows}

        return await self._documents.run(job)

    async def page(self, tenant: str, kind: str, *, text: str, after: int, limit: int) -> Page:
        """Up to *limit* documents that contain *text*, in their ids too, whatever the case of a-z.

        Args:
            tenant: whose documents.
            kind: of the documents.
            text: as people write it; empty fits all.
            after: what the page before said.
            limit: of this page.
        """
        # Bodies are stored in ASCII, where all else is escaped.
        escaped = json.dumps(text)[1:-1]
        fits = """FROM documents WHERE tenant = ? AND kind = ?
            AND (instr(lower(id), lower(?)) OR instr(lower(body), lower(?)))"""
        whose = (tenant, kind, text, escaped)

        def job(db: sqlite3.Connection) -> Page:
            (total,) = db.execute(f"SELECT count(*) {fits}", whose).fetchone()
            rows = db.execute(
                f"SELECT id, body, number {fits} AND number > ? ORDER BY number LIMIT ?",
                (*whose, after, limit + 1),
            ).fetchall()
            found = tuple(_listed(id_, body) for id_, body, _ in rows[:limit])
            return Page(found, rows[limit - 1][2] if len(rows) > limit else None, total)

        return await self._documents.run(job)

    async def get(self, tenant: str, kind: str, id_: str) -> Revision | None:
        """One document as it stands."""
        return await self._documents.run(lambda db: _get(db, tenant, kind, id_))

    async def put(
        self, tenant: str, kind: str, id_: str, body: Json, *, seen: Seen
    ) -> tuple[Revision, Revision | None]:
        """Write *body*; answers it, and what was there before.

        Raises:
            VersionMismatch: what is there is not what was *seen*; nothing was written.
            InvalidField, TooLarge, QuotaReached: the id, the size or the number is out of bounds.
        """
        text = encoded(checked(id_), body)

        def job(db: sqlite3.Connection) -> tuple[Revision, Revision | None]:
            before = _get(db, tenant, kind, id_)
            _check(before, seen)
            (insert if before is None else update)(db, tenant, kind, id_, text)
            return Revision(id_, body, _tag(text)), before

        return await self._documents.run(job, writes=True)

    async def remove(self, tenant: str, kind: str, id_: str, *, seen: Seen) -> Revision:
        """Take one out, and answer it.

        Raises:
            NotFound: there is none.
            VersionMismatch: what is there is not what was *seen*; nothing was removed.
        """

        def job(db: sqlite3.Connection) -> Revision:
            found = _get(db, tenant, kind, id_)
            if found is None:
                raise NotFound(f"There is no document {id_}.")
            _check(found, seen)
            db.execute(
                "DELETE FROM documents WHERE tenant = ? AND kind = ? AND id = ?",
                (tenant, kind, id_),
            )
            return found

        return await self._documents.run(job, writes=True)


def _get(db: sqlite3.Connection, tenant: str, kind: str, id_: str) -> Revision | None:
    row = db.execute(
        "SELECT body FROM documents WHERE tenant = ? AND kind = ? AND id = ?", (tenant, kind, id_)
    ).fetchone()
    return None if row is None else Revision(id_, json.loads(row[0]), _tag(row[0]))


def _tag(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _listed(id_: str, text: str) -> Listed:
    body: Json = json.loads(text)
    shown = json.dumps(body, ensure_ascii=False, separators=(", ", ": "))[1:-1]
    return Listed(id_, body, shown[:PREVIEW], len(text))


def _check(found: Revision | None, seen: Seen) -> None:
    if seen is None:
        if found is not None:
            raise VersionMismatch(f"There is a document {found.id} already.", tag=found.tag)
    elif found is None:
        raise VersionMismatch("Somebody deleted this document meanwhile. Nothing was written.")
    elif ANY not in seen and found.tag not in seen:
        raise VersionMismatch(
            "Somebody changed this document meanwhile. Nothing was written.", tag=found.tag
        )
