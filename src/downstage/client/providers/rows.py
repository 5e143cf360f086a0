"""Rows of the content service as entries, and its events as ours."""

from __future__ import annotations

from downstage.client.places import Place
from downstage.client.providers.provider import Found
from downstage.client.types import AccessFlags, ItemFlags, ListEntry, ListEvent
from downstage.contracts.content import EventRow, Row, VersionRow
from downstage.kernel.errors import BadUrl

__all__ = ["EVENTS", "checkpoint_entry", "entry_of", "found_below", "parent_of", "place_of"]

EVENTS = {
    "created": ListEvent.CREATED,
    "undeleted": ListEvent.CREATED,
    "updated": ListEvent.UPDATED,
    "deleted": ListEvent.DELETED,
    "obliterated": ListEvent.OBLITERATED,
    "metadata": ListEvent.METADATA,
    "acl": ListEvent.METADATA,
    "checkpoint": ListEvent.METADATA,
    "locked": ListEvent.LOCKED,
    "unlocked": ListEvent.UNLOCKED,
}
"""``renamed`` and ``relist`` are several, or none."""


def entry_of(row: Row, relative_path: str, url: str) -> ListEntry:
    """How a thing of the server is shown."""
    return ListEntry(
        relative_path=relative_path,
        access=AccessFlags(row.access),
        flags=ItemFlags(row.flags),
        size=row.size,
        modified_time=row.modified_at,
        created_time=row.created_at,
        modified_by=row.modified_by or None,
        created_by=row.created_by or None,
        version=str(row.version) if row.kind == "file" else row.etag,
        comment=row.comment or None,
        hash=row.hash or None,
        deleted_time=row.deleted_at,
        deleted_by=row.deleted_by or None,
        locked_by=row.locked_by or None,
        url=url,
    )


def found_below(folder: Place, path: str, row: Row) -> Found:
    """What a listing of everything below *folder*, *path* at the server, shows.

    The server is not believed: what does not lie there, or bears a name that is none, is refused.
    """
    prefix = path.rstrip("/") + "/"
    parts = tuple(row.path.removeprefix(prefix).split("/"))
    place = folder
    entry = entry_of(row, "/".join(parts), folder.url)
    if not row.path.startswith(prefix):
        return Found(folder, entry, (row.path,), refused="It does not lie in the folder.")
    try:
        for part in parts:
            place = place.child(part)
    except BadUrl as error:
        return Found(folder, entry, parts, refused=error.detail)
    return Found(place, entry.at(place.url, parts[-1]), parts)


def checkpoint_entry(row: VersionRow, place: Place) -> ListEntry:
    """A checkpoint as one of a listing; its path is its query."""
    query = f"&{row.checkpoint}"
    return ListEntry(
        relative_path=query,
        access=AccessFlags.READ,
        flags=ItemFlags.READABLE_FILE | ItemFlags.IS_CHECKPOINTED,
        size=row.size,
        modified_time=row.at,
        created_time=row.at,
        modified_by=row.by or None,
        created_by=row.by or None,
        version=str(row.n),
        comment=row.comment or None,
        hash=row.hash or None,
        url=f"{place.url}?{query}",
    )


def parent_of(path: str) -> str:
    """The folder that *path* lies in."""
    return path.rpartition("/")[0] or "/"


def place_of(event: EventRow, folder: Place, path: str) -> Place | None:
    """Where in *folder*, whose path at the server is *path*, the event happened."""
    if parent_of(event.path) != path or event.path == path:
        return None
    return folder.child(event.path.rpartition("/")[2])
