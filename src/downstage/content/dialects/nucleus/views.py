"""Entries as the wire tells them."""

from __future__ import annotations

from typing import Any

from downstage.content.dialects.nucleus.paths import wire_path
from downstage.content.model import Access, Entry, Flags

__all__ = ["list_fields", "rights", "stat_fields", "written_fields"]

SECOND = 1_000_000_000
MICROSECOND = 1_000
TYPES = {"file": "asset", "folder": "folder", "channel": "channel", "mount": "mount"}
RIGHTS = ((Access.READ, "read"), (Access.WRITE, "write"), (Access.ADMIN, "admin"))


def rights(access: Access) -> list[str]:
    """*access* in words."""
    return [word for bit, word in RIGHTS if access & bit]


def path_type(entry: Entry) -> str:
    """What *entry* is."""
    return TYPES[entry.kind]


def hash_fields(entry: Entry) -> dict[str, Any]:
    """The hash of a file's bytes; nothing for what has none."""
    if not entry.hash:
        return {}
    return {"hash_type": "blake3", "hash_value": entry.hash, "hash_bsize": 0}


def stat_fields(entry: Entry, *, is_empty: bool | None = None) -> dict[str, Any]:
    """The answer of ``stat2``; the transaction is text here."""
    fields: dict[str, Any] = {
        "type": path_type(entry),
        "uri": wire_path(entry),
        "acl": rights(entry.access),
        "created_by": entry.created_by,
        "modified_by": entry.modified_by,
        "created_date_seconds": entry.created_at // SECOND,
        "modified_date_seconds": entry.modified_at // SECOND,
        "size": entry.size,
        "etag": entry.etag,
        "transaction_id": str(entry.seq),
        "checkpointed": bool(entry.flags & Flags.IS_CHECKPOINTED),
        "mounted": bool(entry.flags & (Flags.IS_MOUNT | Flags.IS_INSIDE_MOUNT)),
        **hash_fields(entry),
        **_lock_fields(entry),
    }
    if is_empty is not None:
        fields["empty"] = is_empty
    return fields


def list_fields(entry: Entry) -> dict[str, Any]:
    """One entry of ``list2`` and of events; the transaction is a number here."""
    return {
        "path": wire_path(entry),
        "path_type": path_type(entry),
        "size": entry.size,
        "etag": entry.etag,
        "acl": rights(entry.access),
        "created_timestamp": entry.created_at // SECOND,
        "modified_timestamp": entry.modified_at // SECOND,
        "created_by": entry.created_by,
        "modified_by": entry.modified_by,
        "transaction_id": entry.seq,
        "mounted": bool(entry.flags & (Flags.IS_MOUNT | Flags.IS_INSIDE_MOUNT)),
        **hash_fields(entry),
        **_lock_fields(entry),
    }


def written_fields(entry: Entry) -> dict[str, Any]:
    """What a write answers."""
    return {"etag": entry.etag, "transaction_id": entry.seq, **hash_fields(entry)}


def _lock_fields(entry: Entry) -> dict[str, Any]:
    if not entry.locked_by:
        return {}
    return {
        "locked_by": entry.locked_by,
        "lock_owner": entry.locked_by,
    }
