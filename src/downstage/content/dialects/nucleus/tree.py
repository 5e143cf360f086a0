"""Commands on the tree: stat, list, folders, copy, rename, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from downstage.content.dialects.nucleus.call import Answer, Call
from downstage.content.dialects.nucleus.paths import Address, read_address
from downstage.content.dialects.nucleus.status import status_of
from downstage.content.dialects.nucleus.views import list_fields, stat_fields
from downstage.kernel.errors import InvalidField, PlatformError, WrongType

__all__ = [
    "copy2",
    "create_directory",
    "delete2",
    "get_transaction_id",
    "list2",
    "rename2",
    "set_path_options2",
    "stat2",
]

PAGE = 1000
"""Entries of one frame of a listing."""


async def stat2(call: Call) -> Answer:
    """One thing's facts."""
    address = read_address(call.get("path"))
    entry = await call.content.stat(call.caller, address.path, checkpoint=address.checkpoint)
    address.check(entry)
    if entry.kind != "folder":
        return Answer(stat_fields(entry))
    page = await call.content.list(call.caller, address.path, limit=1)
    return Answer(stat_fields(entry, is_empty=not page.entries))


async def list2(call: Call) -> AsyncIterator[Answer]:
    """One level of a folder, in frames; then the frame that says so."""
    address = read_address(call.get("path"))
    entry = await call.content.stat(call.caller, address.path)
    if entry.kind != "folder":
        raise WrongType("Only folders can be listed.")
    after = ""
    while True:
        page = await call.content.list(call.caller, address.path, after=after, limit=PAGE)
        yield Answer({"entries": [list_fields(item) for item in page.entries]})
        after = page.next
        if not after:
            break
    yield Answer({"entries": []}, status="DONE", is_last=True)


async def create_directory(call: Call) -> Answer:
    """Make one folder; its parent is there."""
    address = read_address(call.get("path"))
    entry = await call.content.create_folder(call.caller, address.path)
    return Answer({"transaction_id": entry.seq})


async def delete2(call: Call) -> Answer:
    """Delete files and empty folders, each for itself."""

    async def delete(item: object) -> None:
        address = _head(item)
        address.check(await call.content.stat(call.caller, address.path))
        await call.content.delete(call.caller, address.path, recursive=False)

    return await _each(call.items("paths_to_delete"), delete)


async def copy2(call: Call) -> Answer:
    """Copy, each pair for itself; what is at the target is replaced."""

    async def copy(item: dict[str, Any]) -> None:
        source, target = read_address(item.get("src")), _head(item.get("dst"))
        found = await call.content.stat(call.caller, source.path, checkpoint=source.checkpoint)
        source.check(found)
        await call.content.copy(
            call.caller,
            source.path,
            target.path,
            checkpoint=source.checkpoint,
            overwrite=True,
            only=found.kind,
            message=_message(item),
        )

    return await _each(call.objects("paths_to_copy"), copy)


async def rename2(call: Call) -> Answer:
    """Rename, each pair for itself and at once; a file at the target is replaced."""

    async def rename(item: dict[str, Any]) -> None:
        source, target = _head(item.get("src")), _head(item.get("dst"))
        found = source.check(await call.content.stat(call.caller, source.path))
        await call.content.move(
            call.caller,
            source.path,
            target.path,
            overwrite=found.kind == "file",
            only=found.kind,
            message=_message(item),
        )

    return await _each(call.objects("paths_to_rename"), rename)


async def get_transaction_id(call: Call) -> Answer:
    """The number of the last event."""
    return Answer({"transaction_id": await call.content.seq()})


async def set_path_options2(call: Call) -> Answer:
    """Nothing here has options."""
    address = read_address(call.get("path"))
    await call.content.stat(call.caller, address.path)
    return Answer(status="NOT_IMPLEMENTED")


def _head(value: object) -> Address:
    """An address of what is there now: old versions neither move nor go."""
    address = read_address(value)
    if address.checkpoint:
        raise InvalidField("checkpoint", "checkpoint: only the head can be changed.")
    return address


def _message(item: dict[str, Any]) -> str:
    message = item.get("message")
    return message if isinstance(message, str) else ""


async def _each(items: Sequence[Any], one: Callable[[Any], Awaitable[object]]) -> Answer:
    """How *one* ended for every item, a bare status each; the whole is OK."""
    responses = list[str]()
    for item in items:
        try:
            await one(item)
            responses.append("OK")
        except PlatformError as error:
            responses.append(status_of(error))
    return Answer({"responses": responses})
