"""Subscriptions: what changes in a folder, as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import anyio

from downstage.content.dialects.nucleus.call import Answer, Call
from downstage.content.dialects.nucleus.paths import Address, as_folder, read_address
from downstage.content.dialects.nucleus.views import list_fields
from downstage.content.model import Event, EventKind
from downstage.kernel.errors import NotFound, PlatformError

__all__ = ["subscribe_list", "subscribe_server_notifications"]

NAMES: Mapping[EventKind, str] = {
    "created": "create",
    "updated": "delta",
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
ENDS = frozenset({"deleted", "obliterated", "renamed"})
"""After these there is nothing at the path."""


async def subscribe_list(call: Call) -> AsyncIterator[Answer]:
    """Events of a folder's children; the first, at once, says that the watch has begun."""
    address = read_address(call.get("path"))
    async with call.content.subscribe(call.caller, address.path, "list") as events:
        yield await _begun(call, address)
        async for event in events:
            if event.kind == "relist":
                yield await _begun(call, address)
            elif event.entry is None and event.path == address.path and event.kind in ENDS:
                raise NotFound("The folder is gone.")
            else:
                for answer in await _answers(call, event):
                    yield answer


async def _begun(call: Call, address: Address) -> Answer:
    folder = await call.content.stat(call.caller, address.path)
    return Answer({"event": "full", "entry": list_fields(folder)})


async def subscribe_server_notifications(call: Call) -> AsyncIterator[Answer]:
    """There are none; the subscription stands until it is stopped."""
    del call
    yield Answer()
    await anyio.sleep_forever()


async def _answers(call: Call, event: Event) -> list[Answer]:
    """What *event* is in the wire's words: a rename is told of both its ends."""
    if event.kind == "renamed":
        answers = [Answer({"event": "delete", "entry": await _gone(call, event, event.old_path)})]
        if event.entry is not None:
            answers.append(Answer({"event": "create", "entry": list_fields(event.entry)}))
        return answers
    name = NAMES[event.kind]
    if event.entry is not None:
        return [Answer({"event": name, "entry": list_fields(event.entry)})]
    if event.kind not in ENDS:
        return []
    return [Answer({"event": name, "entry": await _gone(call, event, event.path)})]


async def _gone(call: Call, event: Event, path: str) -> dict[str, Any]:
    """An entry of what is no longer at *path*, as far as that is known."""
    entry = event.entry
    if entry is None:
        with suppress(PlatformError):  # removed for ever, or not to be seen: then it was a file
            entry = await call.content.stat(call.caller, path, deleted=True)
    is_folder = entry is not None and entry.kind == "folder"
    return {
        "path": as_folder(path) if is_folder else path,
        "path_type": "folder" if is_folder else "asset",
        "transaction_id": event.seq,
        "modified_by": event.by,
    }
