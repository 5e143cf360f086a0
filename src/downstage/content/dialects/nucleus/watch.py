"""Subscriptions: what changes in a folder, as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio

from downstage.content.dialects.nucleus.call import Answer, Call
from downstage.content.dialects.nucleus.paths import as_folder, read_address
from downstage.content.dialects.nucleus.views import list_fields
from downstage.content.model import Event, EventKind

__all__ = ["subscribe_list", "subscribe_server_notifications"]

NAMES: Mapping[EventKind, str] = {
    "created": "create",
    "updated": "full",
    "undeleted": "create",
    "deleted": "delete",
    "obliterated": "delete",
    "metadata": "set_path_options",
    "locked": "lock",
    "unlocked": "unlock",
    "renamed": "rename",
    "acl": "change_acl",
    "checkpoint": "checkpoints_changed",
    "relist": "full",
}


async def subscribe_list(call: Call) -> AsyncIterator[Answer]:
    """Events of a folder's children; the first, at once, says that the watch has begun."""
    address = read_address(call.get("path"))
    async with call.content.subscribe(call.caller, address.path, "list") as events:
        folder = await call.content.stat(call.caller, address.path)
        yield Answer({"event": "full", "entry": list_fields(folder)})
        async for event in events:
            if event.kind == "relist":
                folder = await call.content.stat(call.caller, address.path)
                yield Answer({"event": "full", "entry": list_fields(folder)})
            else:
                for answer in _answers(event):
                    yield answer


async def subscribe_server_notifications(call: Call) -> AsyncIterator[Answer]:
    """There are none; the subscription stands until it is stopped."""
    del call
    yield Answer()
    await anyio.sleep_forever()


def _answers(event: Event) -> list[Answer]:
    """What *event* is in the wire's words: a rename is told of both its ends."""
    if event.kind == "renamed" and event.entry is not None:
        gone = Answer({"event": "delete", "entry": _gone(event.old_path, event)})
        return [gone, Answer({"event": "create", "entry": list_fields(event.entry)})]
    entry = list_fields(event.entry) if event.entry is not None else _gone(event.path, event)
    return [Answer({"event": NAMES[event.kind], "entry": entry})]


def _gone(path: str, event: Event) -> dict[str, Any]:
    """An entry of what is no longer there, as far as that is known."""
    is_folder = event.entry is not None and event.entry.kind == "folder"
    return {
        "path": as_folder(path) if is_folder else path,
        "path_type": "folder" if is_folder else "asset",
        "transaction_id": event.seq,
        "modified_by": event.by,
    }
