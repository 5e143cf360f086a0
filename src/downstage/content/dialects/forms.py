"""Entries and their like as JSON objects, and as arrays for the socket."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import astuple

from downstage.content.model import AclEntry, Entry, Event, Grant, Lock, Page, Usage, Version

__all__ = [
    "entry_json",
    "entry_object",
    "event_row",
    "grant_row",
    "lock_row",
    "page_json",
    "page_row",
    "plain",
    "row",
    "usage_row",
    "version_row",
]

NAMES = tuple(Entry.__struct_fields__)
encode = msgspec.json.Encoder().encode

row = astuple
"""An entry as the array `contracts.content.Row`."""

version_row = attrgetter("n", "checkpoint", "hash", "size", "by", "at", "comment")
grant_row = attrgetter("path", "principal", "allow", "deny")
usage_row = attrgetter("bytes", "nodes", "max_bytes", "max_nodes")
acl_row = attrgetter("principal", "allow", "deny")
_lock_row = attrgetter(
    "path", "token", "owner", "subject", "client_id", "etag", "acquired_at", "expires_at", "note"
)


def lock_row(lock: Lock) -> tuple[Any, ...]:
    """A lock as the array `contracts.content.LockRow`."""
    return _lock_row(lock)


def event_row(event: Event) -> tuple[Any, ...]:
    """An event as the array `contracts.content.EventRow`."""
    entry = None if event.entry is None else astuple(event.entry)
    return (
        event.seq,
        event.kind,
        event.path,
        event.old_path,
        entry,
        event.by,
        event.at,
        event.node_id,
    )


def page_row(page: Page) -> tuple[Any, ...]:
    """A listing as an array."""
    return ([astuple(entry) for entry in page.entries], page.next, page.seq)


def entry_object(entry: Entry) -> dict[str, Any]:
    """An entry as the object `contracts.files.FileEntry`."""
    found = dict(zip(NAMES, astuple(entry), strict=True))
    found["name"] = entry.name
    return found


def entry_json(entry: Entry) -> bytes:
    """The same, as JSON."""
    return b'%b,"name":%b}' % (encode(entry)[:-1], encode(entry.name))


def page_json(page: Page) -> bytes:
    """A listing as the object `contracts.files.FolderPage`, as JSON."""
    entries = [entry_object(entry) for entry in page.entries]
    return encode({"entries": entries, "next": page.next, "seq": page.seq})


def plain(item: AclEntry | Grant | Lock | Usage | Version) -> dict[str, Any]:
    """A data class as an object, its flags as numbers."""
    return {
        field.name: int(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for field in fields(item)
        for value in (getattr(item, field.name),)
    }


def event_json(event: Event) -> bytes:
    """An event as JSON, for server-sent events."""
    return encode(
        {
            "seq": event.seq,
            "kind": event.kind,
            "path": event.path,
            "old_path": event.old_path,
            "entry": None if event.entry is None else entry_object(event.entry),
            "by": event.by,
            "at": event.at,
            "node_id": event.node_id,
        }
    )
