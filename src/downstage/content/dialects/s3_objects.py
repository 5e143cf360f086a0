"""S3's operations on objects: put, get, head, copy, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from email.utils import formatdate
from typing import NoReturn
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from downstage.content.blobs.staging import Staging
from downstage.content.dialects.exchange import USER_CONTENT
from downstage.content.dialects.s3_chunks import body_of, length_of
from downstage.content.dialects.s3_errors import S3Error, translated
from downstage.content.dialects.s3_metadata import (
    family_of,
    metadata_of,
    replace_metadata,
    told_metadata,
)
from downstage.content.dialects.s3_visit import IMPLIED, Visit, path_of, plain_etags
from downstage.content.dialects.s3_xml import (
    MAX_XML,
    XML_TYPE,
    document,
    node,
    read,
    stamp,
    texts,
)
from downstage.content.dialects.webdav_files import newer_than
from downstage.content.dialects.webdav_props import content_type, known_properties
from downstage.content.model import ANY, Condition, Entry
from downstage.kernel.errors import (
    AlreadyExists,
    FolderNotEmpty,
    NotFound,
    NotSupported,
    PlatformError,
    VersionMismatch,
    WrongType,
)
from downstage.services.ranges import one_range

__all__ = ["copy", "delete", "delete_many", "get", "make_way", "put", "read_body", "source_of"]

MAX_DELETED = 1000
FOLDER_TYPE = "application/x-directory"


async def read_body(visit: Visit, limit: int = MAX_XML) -> bytes:
    """A small body, proven.

    Raises:
        S3Error: larger than *limit*, or not what was signed.
    """
    found = bytearray()
    async for piece in body_of(visit.exchange, visit.claim, visit.key_bytes):
        found += piece
        if len(found) > limit:
            raise S3Error("EntityTooLarge", 413, f"The body is larger than {limit} bytes.")
    return bytes(found)


async def put(visit: Visit) -> None:
    """PutObject; a key with a slash at its end makes a folder."""
    await visit.need_bucket()
    condition = visit.condition()
    if visit.key.endswith("/"):
        await _put_folder(visit)
        return
    metadata = metadata_of(visit)
    size = length_of(visit.exchange, visit.claim)
    if size is None:
        raise S3Error("MissingContentLength", 411, "Content-Length is missing.")
    body = body_of(visit.exchange, visit.claim, visit.key_bytes)
    entry = await write(visit, body, size, condition, metadata)
    await visit.exchange.answer(200, told(entry))


async def write(
    visit: Visit,
    body: bytes | AsyncIterator[bytes] | Staging,
    size: int | None,
    condition: Condition,
    metadata: Mapping[str, str],
) -> Entry:
    """Write the object, with the folders that its key names."""
    await make_way(visit, visit.path)
    try:
        return await visit.content.write(
            visit.caller,
            visit.path,
            body,
            condition=condition,
            parents=True,
            size_hint=size,
            properties=family_of(metadata),
        )
    except (PlatformError, S3Error):
        await tidy(visit, visit.path)
        raise


def told(entry: Entry) -> dict[str, str]:
    """Headers that name what was written."""
    return {"etag": f'"{entry.etag}"', "x-amz-version-id": str(entry.version)}


async def _put_folder(visit: Visit) -> None:
    if await read_body(visit, 0):
        raise S3Error("InvalidRequest", 400, "A folder has no content.")
    await make_way(visit, visit.path)
    with suppress(AlreadyExists):
        await visit.content.create_folder(visit.caller, visit.path, parents=True)
    entry = await visit.content.stat(visit.caller, visit.path)
    if entry.kind == "file":
        raise S3Error("OperationAborted", 409, "A file has this name.")
    if IMPLIED in await known_properties(visit.content, visit.caller, visit.path):
        await visit.content.patch_properties(visit.caller, visit.path, {}, [IMPLIED])
    await visit.exchange.answer(200, {"etag": f'"{entry.etag}"'})


async def make_way(visit: Visit, path: str) -> None:
    """Make the folders above *path* that are missing, as ones that nobody asked for."""
    missing: list[str] = []
    at = path.rpartition("/")[0]
    while at.count("/") > 1 and await visit.find(at) is None:
        missing.append(at)
        at = at.rpartition("/")[0]
    for folder in reversed(missing):
        with suppress(AlreadyExists, NotSupported):  # a mount keeps no properties
            await visit.content.create_folder(visit.caller, folder)
            await visit.content.patch_properties(visit.caller, folder, {IMPLIED: "1"}, [])


async def tidy(visit: Visit, path: str) -> None:
    """Remove the folders above *path* that nobody asked for and that hold nothing any more."""
    at = path.rpartition("/")[0]
    with suppress(PlatformError):
        while at.count("/") > 1:
            if IMPLIED not in await known_properties(visit.content, visit.caller, at):
                break
            await visit.content.delete(visit.caller, at, recursive=False)
            at = at.rpartition("/")[0]


async def get(visit: Visit) -> None:
    """GetObject and HeadObject."""
    await visit.need_bucket()
    version = _version(visit.query.get("versionId"))
    if visit.key.endswith("/"):
        await _get_folder(visit)
        return
    try:
        reading = await visit.content.read(visit.caller, visit.path, version=version)
    except WrongType as error:
        raise S3Error("NoSuchKey", 404, "The specified key does not exist.") from error
    except NotFound as error:
        if version and await visit.find(visit.path) is not None:
            raise S3Error("NoSuchVersion", 404, "There is no such version.") from error
        raise
    async with reading:
        entry = reading.entry
        properties = await known_properties(visit.content, visit.caller, visit.path)
        headers = {
            **told(entry),
            "accept-ranges": "bytes",
            "content-type": content_type(entry.name, properties),
            "last-modified": formatdate(entry.modified_at // 10**9, usegmt=True),
            **USER_CONTENT,
            **told_metadata(properties),
        }
        if not is_wanted(visit, entry, ""):
            await visit.exchange.answer(304, {"etag": headers["etag"]})
            return
        part = one_range(visit.exchange.header("range"), entry.size)
        await visit.exchange.answer_part(headers, reading, entry.size, part)


async def _get_folder(visit: Visit) -> None:
    entry = await visit.content.stat(visit.caller, visit.path)
    if entry.kind == "file":
        raise NotFound("The specified key does not exist.")
    headers = {"etag": f'"{entry.etag}"', "content-type": FOLDER_TYPE}
    headers["last-modified"] = formatdate(entry.modified_at // 10**9, usegmt=True)
    await visit.exchange.answer(200, {**headers, **USER_CONTENT})


def is_wanted(visit: Visit, entry: Entry, prefix: str) -> bool:
    """Whether the conditions let a read go on; False: the caller has it already.

    Args:
        visit: the request.
        entry: what would be read.
        prefix: of the headers: those of a copy's source have one.

    Raises:
        VersionMismatch: it is not what the caller asked for.
    """
    header = visit.exchange.header
    match, none = header(prefix + "if-match").strip(), header(prefix + "if-none-match").strip()
    if match and match != "*" and entry.etag not in plain_etags(match):
        raise VersionMismatch("At least one of the conditions did not hold.")
    if not match and newer_than(entry, header(prefix + "if-unmodified-since")):
        raise VersionMismatch("At least one of the conditions did not hold.")
    if none:
        return none != "*" and entry.etag not in plain_etags(none)
    since = header(prefix + "if-modified-since")
    return not since or newer_than(entry, since, unknown=True)


def _version(text: str | None) -> int:
    """The number of a version; 0: the present one."""
    if text is None or text == "null":
        return 0
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10):  # noqa: PLR2004 - digits
        raise S3Error("InvalidArgument", 400, "There is no version of that form.")
    return int(text)


def source_of(visit: Visit) -> tuple[str, int]:
    """Path and version that ``x-amz-copy-source`` names."""
    name, _, version = visit.exchange.header("x-amz-copy-source").partition("?versionId=")
    bucket, _, key = unquote(name, errors="strict").removeprefix("/").partition("/")
    if not bucket or not key:
        raise S3Error("InvalidArgument", 400, "x-amz-copy-source is /bucket/key.")
    return path_of(bucket, key), _version(version or None)


async def copy(visit: Visit) -> None:
    """CopyObject: on the server, without a byte being moved."""
    await visit.need_bucket()
    source, version = source_of(visit)
    replaces = visit.exchange.header("x-amz-metadata-directive").upper() == "REPLACE"
    condition = visit.condition()
    entry = await visit.content.stat(visit.caller, source, version=version)
    if entry.kind != "file":
        raise NotFound("The specified key does not exist.")
    if not is_wanted(visit, entry, "x-amz-copy-source-"):
        raise VersionMismatch("At least one of the conditions did not hold.")
    if source != visit.path or version:
        entry = await _copied(visit, entry, version, condition)
    elif not replaces:
        raise S3Error(
            "InvalidRequest", 400, "A copy onto itself changes nothing without new metadata."
        )
    if replaces:
        await replace_metadata(visit, entry, metadata_of(visit))
    content = [node("LastModified", stamp(entry.modified_at)), node("ETag", f'"{entry.etag}"')]
    headers = {"content-type": XML_TYPE, "x-amz-version-id": str(entry.version)}
    await visit.exchange.answer(200, headers, document("CopyObjectResult", content))


async def _copied(visit: Visit, found: Entry, version: int, condition: Condition) -> Entry:
    source = found.path
    if version:
        async with await visit.content.read(visit.caller, source, version=version) as reading:
            metadata = await known_properties(visit.content, visit.caller, source)
            body = reading.pieces() if reading.data is None else reading.data
            return await write(visit, body, reading.entry.size, condition, metadata)
    await make_way(visit, visit.path)
    asked = any(name.startswith("x-amz-copy-source-if-") for name in visit.exchange.headers)
    try:
        return await visit.content.copy(
            visit.caller,
            source,
            visit.path,
            overwrite=True,
            only="file",
            condition=condition,
            source_condition=Condition(if_match=(found.etag,)) if asked else ANY,
        )
    except PlatformError:
        await tidy(visit, visit.path)
        raise


async def delete(visit: Visit) -> None:
    """DeleteObject; what is not there is deleted already."""
    await visit.need_bucket()
    if visit.query.get("versionId") not in (None, "null"):
        refuse_version()
    await _remove(visit, visit.key, visit.condition())
    await visit.exchange.answer(204)


async def _remove(visit: Visit, key: str, condition: Condition) -> None:
    if not key:
        raise S3Error("InvalidArgument", 400, "A key is missing.")
    path = path_of(visit.bucket, key)
    entry = await visit.find(path)
    if entry is None or (entry.kind == "file") == key.endswith("/"):
        if condition != ANY and not condition.if_none_match_any:
            raise VersionMismatch("At least one of the conditions did not hold.")
        return
    try:
        await visit.content.delete(visit.caller, path, recursive=False, condition=condition)
    except NotFound:
        return
    except FolderNotEmpty:  # the marker alone goes, as on S3
        await visit.content.patch_properties(visit.caller, path, {IMPLIED: "1"}, [])
        return
    await tidy(visit, path)


async def delete_many(visit: Visit) -> None:
    """DeleteObjects: each by itself, with its own outcome."""
    await visit.need_bucket()
    root = read(await read_body(visit), "Delete")
    named = [texts(item) for item in root if item.tag.rpartition("}")[2] == "Object"]
    quiet = texts(root).get("Quiet") == "true"
    if not named or len(named) > MAX_DELETED:
        raise S3Error("MalformedXML", 400, f"1 to {MAX_DELETED} objects at a time.")
    outcomes = [await _removed(visit, item, quiet=quiet) for item in named]
    body = document("DeleteResult", [item for item in outcomes if item is not None])
    await visit.exchange.answer(200, {"content-type": XML_TYPE}, body)


async def _removed(visit: Visit, item: dict[str, str], *, quiet: bool) -> Element | None:
    key, etag = item.get("Key", ""), item.get("ETag", "").strip('"')
    try:
        if item.get("VersionId", "null") != "null":
            refuse_version()
        await _remove(visit, key, Condition(if_match=(etag,)) if etag else ANY)
    except (S3Error, PlatformError) as error:
        known = error if isinstance(error, S3Error) else translated(error)
        content = [("Key", key), ("Code", known.code), ("Message", known.message)]
        return node("Error", [node(name, text) for name, text in content])
    return None if quiet else node("Deleted", [node("Key", key)])


def refuse_version() -> NoReturn:
    """Versions are kept, or all of them removed."""
    raise S3Error("NotImplemented", 501, "Single versions are not deleted.")
