"""Commands on files: write, read, checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote, urlencode

from downstage.content.dialects.nucleus.call import Answer, Call
from downstage.content.dialects.nucleus.paths import Address, read_address
from downstage.content.dialects.nucleus.spool import Upload
from downstage.content.dialects.nucleus.views import hash_fields, written_fields
from downstage.content.model import Condition, Entry
from downstage.kernel.errors import (
    AlreadyExists,
    InvalidField,
    NotFound,
    NotSupported,
    VersionMismatch,
    WrongType,
)

__all__ = [
    "DOWNLOAD",
    "INLINE",
    "checkpoint_version",
    "create_asset",
    "get_branches",
    "get_checkpoints",
    "read_asset_version",
    "replace_version",
    "subscribe_read_asset",
    "update_asset",
]

INLINE = 4 * 1024 * 1024
"""Bytes of a body that travel within a message; larger ones go over HTTP."""
DOWNLOAD = "/omni/download"


async def create_asset(call: Call) -> Answer:
    """Write a file; without `overwrite` it must not exist."""
    if call.flag("overwrite"):
        return await _write(call, Condition())
    try:
        return await _write(call, Condition(if_none_match_any=True))
    except VersionMismatch as error:
        raise AlreadyExists("There is something at this path.") from error


async def update_asset(call: Call) -> Answer:
    """Write a file that exists; with an `etag` only over that content."""
    if call.get("delta") is not None:
        raise NotSupported("Deltas are not taken here; send the whole content.")
    etag = call.text("etag")
    if etag:
        return await _write(call, Condition(if_match=(etag,)))
    try:
        return await _write(call, Condition(if_match_any=True))
    except VersionMismatch as error:
        raise NotFound("There is no such file.") from error


async def _write(call: Call, condition: Condition) -> Answer:
    address = _file(call.get("path"))
    if address.checkpoint:
        raise InvalidField("path.checkpoint", "path.checkpoint: only the head is written.")
    message = call.text("message")
    upload = _upload(call, address)
    size = len(call.blob or b"") if upload is None else upload.size
    entry = await call.content.write(
        call.caller,
        address.path,
        (call.blob or b"") if upload is None else upload.pieces(),
        condition=condition,
        message=message,
        size_hint=size,
    )
    if upload is not None:
        await call.desk.spool.drop(upload)
    return Answer(written_fields(entry))


def _upload(call: Call, address: Address) -> Upload | None:
    """The body that was sent over HTTP before; None: it is in this message."""
    value = call.get("content_id")
    if call.blob is not None or value in (None, 0, ""):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:  # noqa: PLR2004 - of 64 bits
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidField("content_id", "content_id: a number.")
    return call.desk.spool.find(call.caller, value, address.path)


async def read_asset_version(call: Call) -> Answer:
    """A file's bytes: within the answer, or where they are to be fetched."""
    address = _file(call.get("path"))
    entry = await call.content.stat(call.caller, address.path, checkpoint=address.checkpoint)
    return await _body(call, address, address.check(entry), call.text("etag"))


async def _body(call: Call, address: Address, entry: Entry, etag: str) -> Answer:
    fields = {"etag": entry.etag, "size": entry.size, **hash_fields(entry)}
    if etag == entry.etag:
        return Answer(fields, status="LATEST")
    if entry.size > INLINE:
        return Answer({**fields, "uri_redirection": _download(call, address, entry)})
    async with await call.content.read(
        call.caller, address.path, checkpoint=address.checkpoint
    ) as reading:
        now = reading.entry
        if now.size > INLINE:  # it grew meanwhile
            raise VersionMismatch("The file changed meanwhile.")
        data = await reading.read()
    return Answer({"etag": now.etag, "size": now.size, **hash_fields(now)}, blob=data)


def _download(call: Call, address: Address, entry: Entry) -> str:
    """Where the bytes of *entry* are fetched: always here, for the caller's token goes along."""
    query: dict[str, str | int] = {"etag": entry.etag}
    if address.checkpoint:
        query["checkpoint"] = address.checkpoint
    return f"{call.base}{DOWNLOAD}{quote(address.path)}?{urlencode(query)}"


async def subscribe_read_asset(call: Call) -> AsyncIterator[Answer]:
    """A file's content now, unless the caller has it, and whenever it changes."""
    address = _file(call.get("path"))
    etag = call.text("etag")
    async with call.content.subscribe(call.caller, address.path, "node") as events:
        entry = address.check(await call.content.stat(call.caller, address.path))
        yield await _body(call, address, entry, etag)
        etag = entry.etag
        async for event in events:
            if event.kind in ("deleted", "obliterated"):
                raise NotFound("The file is gone.")
            entry = address.check(await call.content.stat(call.caller, address.path))
            if entry.etag != etag:
                etag = entry.etag
                yield await _body(call, address, entry, "")


async def checkpoint_version(call: Call) -> Answer:
    """Make a checkpoint of what is there now."""
    address = _file(call.get("path"))
    made = await call.content.checkpoint(
        call.caller, address.path, call.text("message"), force=call.flag("force")
    )
    return Answer({"path": address.path, "branch": "", "checkpoint": made.checkpoint})


async def get_checkpoints(call: Call) -> Answer:
    """All checkpoints of a file, newest first."""
    address = _file(call.get("path"))
    found = await call.content.checkpoints(call.caller, address.path)
    checkpoints = [
        {"status": "OK", "checkpoint_id": version.checkpoint, "message": version.comment}
        for version in found
    ]
    return Answer({"checkpoints": checkpoints})


async def replace_version(call: Call) -> Answer:
    """Make a checkpoint the head again, of the same file or of another."""
    source, target = _file(call.get("src_path")), _file(call.get("dst_path"))
    message = call.text("message")
    if source.path == target.path and source.checkpoint:
        entry = await call.content.restore(
            call.caller, source.path, source.checkpoint, message=message
        )
    else:
        entry = await call.content.copy(
            call.caller,
            source.path,
            target.path,
            checkpoint=source.checkpoint,
            overwrite=True,
            only="file",
            message=message,
        )
    return Answer(written_fields(entry))


async def get_branches(call: Call) -> Answer:
    """The one branch."""
    address = read_address(call.get("path"))
    await call.content.stat(call.caller, address.path)
    return Answer({"branches": ["default"]})


def _file(value: object) -> Address:
    address = read_address(value)
    if address.is_folder:
        raise WrongType("A folder has no content.")
    return address
