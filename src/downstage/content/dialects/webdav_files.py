"""WebDAV's methods on one thing: GET, HEAD, PUT, DELETE, MKCOL."""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime

from downstage.content.dialects.exchange import USER_CONTENT
from downstage.content.dialects.webdav_props import FOLDER_TYPE, content_type, known_properties
from downstage.content.dialects.webdav_visit import Refused, Visit, etags_of, no_parent
from downstage.content.model import Entry
from downstage.kernel.errors import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    UnsupportedMedia,
    VersionMismatch,
    WrongType,
)
from downstage.services.ranges import one_range

__all__ = ["delete", "fresh", "get", "make_folder", "newer_than", "put"]


async def get(visit: Visit) -> None:
    """GET and HEAD: a file, or part of it; a folder has no content."""
    entry = await visit.content.stat(visit.caller, visit.path)
    if entry.kind != "file":
        headers = {"content-type": FOLDER_TYPE, "etag": f'"{entry.etag}"', **USER_CONTENT}
        await visit.exchange.answer(200, headers)
        return
    if visit.is_folder:
        raise NotFound("This is a file; its address has no slash at the end.")
    async with await visit.content.read(visit.caller, visit.path) as reading:
        entry = reading.entry
        properties = await known_properties(visit.content, visit.caller, visit.path)
        headers = {
            "accept-ranges": "bytes",
            "content-type": content_type(entry.name, properties),
            "etag": f'"{entry.etag}"',
            "last-modified": formatdate(entry.modified_at // 10**9, usegmt=True),
            **USER_CONTENT,
        }
        if not fresh(visit, entry):
            await visit.exchange.answer(304, headers)
            return
        asked, part = visit.exchange.header("range"), None
        if asked and visit.exchange.method == "GET" and _range_counts(visit, entry):
            part = one_range(asked, entry.size)
        await visit.exchange.answer_part(headers, reading, entry.size, part)


def fresh(visit: Visit, entry: Entry) -> bool:
    """Whether a read goes on; False: the caller has it already.

    Raises:
        VersionMismatch: it is not what the caller asked for.
    """
    header = visit.exchange.header
    match, none = header("if-match").strip(), header("if-none-match").strip()
    if match and match != "*" and entry.etag not in etags_of(match):
        raise VersionMismatch("The file has changed.")
    if not match and newer_than(entry, header("if-unmodified-since")):
        raise VersionMismatch("The file has changed.")
    if none:
        known = [item.strip().removeprefix("W/") for item in none.split(",")]
        return none != "*" and f'"{entry.etag}"' not in known
    since = header("if-modified-since")
    return not since or newer_than(entry, since, unknown=True)


def newer_than(entry: Entry, date: str, *, unknown: bool = False) -> bool:
    """Whether *entry* changed after an HTTP date; *unknown* where that is none."""
    try:
        at = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return unknown
    return entry.modified_at // 10**9 > at


def _range_counts(visit: Visit, entry: Entry) -> bool:
    """Whether If-Range lets the range count."""
    condition = visit.exchange.header("if-range").strip()
    if not condition:
        return True
    if condition.startswith('"'):
        return condition == f'"{entry.etag}"'
    return not condition.startswith("W/") and not newer_than(entry, condition, unknown=True)


async def put(visit: Visit) -> None:
    """PUT: the body becomes the file."""
    exchange = visit.exchange
    if "content-range" in exchange.headers:
        raise InvalidInput("A part of a file cannot be put here.")
    length = exchange.length
    caller = await visit.actor()
    there = await visit.find(visit.path)
    if visit.is_folder or (there is not None and there.kind != "file"):
        raise Refused(405)
    try:
        entry = await visit.content.write(
            caller,
            visit.path,
            exchange.body(),
            condition=visit.condition(),
            parents=False,
            size_hint=length,
        )
    except (NotFound, WrongType) as error:
        no_parent(error)
    await exchange.answer(204 if there else 201, {"etag": f'"{entry.etag}"'})


async def delete(visit: Visit) -> None:
    """DELETE: a file, or a folder with all that is in it."""
    if visit.depth() != "infinity":
        raise InvalidInput("A folder is deleted with all that is in it: Depth is infinity.")
    caller = await visit.actor()
    await visit.content.delete(caller, visit.path, recursive=True, condition=visit.condition())
    await visit.exchange.answer(204)


async def make_folder(visit: Visit) -> None:
    """MKCOL: a new folder."""
    if visit.exchange.length != 0:
        raise UnsupportedMedia("A new folder has no body.")
    caller = await visit.actor()
    try:
        await visit.content.create_folder(caller, visit.path, parents=False)
    except AlreadyExists as error:
        raise Refused(405) from error
    except (NotFound, WrongType) as error:
        no_parent(error)
    await visit.exchange.answer(201)
