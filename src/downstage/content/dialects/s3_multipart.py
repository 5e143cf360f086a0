"""S3's multipart uploads, on uploads of parts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import cast
from xml.etree.ElementTree import Element

from downstage.content.dialects.s3_chunks import body_of, length_of
from downstage.content.dialects.s3_errors import S3Error
from downstage.content.dialects.s3_metadata import metadata_of
from downstage.content.dialects.s3_objects import read_body, source_of, told, write
from downstage.content.dialects.s3_visit import Visit, path_of
from downstage.content.dialects.s3_xml import XML_TYPE, document, node, read, stamp, texts
from downstage.content.uploads import MOST_PARTS, Part, Upload
from downstage.kernel.errors import Conflict, InvalidField, NotFound
from downstage.services.ranges import one_range

__all__ = ["abort", "begin", "complete", "list_parts", "list_uploads", "put_part"]

MAX_PART = 5 * 1024**3
MAX_LISTED = 1000
MAX_DIGITS = 5


async def begin(visit: Visit) -> None:
    """CreateMultipartUpload."""
    await visit.need_bucket()
    await read_body(visit, 0)
    if visit.key.endswith("/"):
        raise S3Error("InvalidRequest", 400, "A folder has no content.")
    # What is told of the object now counts when it is complete, be it after a restart.
    note = json.dumps(metadata_of(visit))
    upload = await visit.uploads.create(visit.caller, visit.path, shape="parts", message=note)
    content = [
        node("Bucket", visit.bucket),
        node("Key", visit.key),
        node("UploadId", upload.id),
    ]
    await _answer(visit, "InitiateMultipartUploadResult", content)


async def put_part(visit: Visit) -> None:
    """UploadPart and UploadPartCopy."""
    upload = await _upload(visit)
    number = _number(visit.query.get("partNumber", ""))
    copies = bool(visit.exchange.header("x-amz-copy-source"))
    size = 0 if copies else length_of(visit.exchange, visit.claim)
    if size is None:
        raise S3Error("MissingContentLength", 411, "Content-Length is missing.")
    # What could never be completed need not fill the disk until it expires.
    size += sum(part.size for part in upload.parts if part.n != number)
    await visit.content.check_upload(visit.caller, upload.path, size)
    body = _copied(visit) if copies else body_of(visit.exchange, visit.claim, visit.key_bytes)
    try:
        part = await visit.uploads.put_part(
            visit.caller, upload.id, number, body, max_size=MAX_PART
        )
    except InvalidField as error:
        raise S3Error("InvalidArgument", 400, error.detail) from error
    if copies:
        content = [node("LastModified", stamp(visit.now_ns)), node("ETag", f'"{part.etag}"')]
        await _answer(visit, "CopyPartResult", content)
    else:
        await visit.exchange.answer(200, {"etag": f'"{part.etag}"'})


async def _copied(visit: Visit) -> AsyncIterator[bytes]:
    source, version = source_of(visit)
    async with await visit.content.read(visit.caller, source, version=version) as reading:
        size = reading.entry.size
        wanted = one_range(visit.exchange.header("x-amz-copy-source-range"), size)
        start, stop = wanted or (0, size)
        async for piece in reading.pieces(start, stop):
            yield piece


async def complete(visit: Visit) -> None:
    """CompleteMultipartUpload: the parts that are named become the object."""
    condition = visit.condition()
    named = _parts(await read_body(visit))
    upload = await _upload(visit)
    _refuse_missing(upload, named)
    metadata = _metadata(upload)
    try:
        async with visit.uploads.finished(visit.caller, upload.id, parts=named) as staged:
            entry = await write(visit, staged, None, condition, metadata)
    except InvalidField as error:
        raise S3Error("InvalidPart", 400, error.detail) from error
    except Conflict as error:
        raise S3Error("OperationAborted", 409, error.detail) from error
    content = [
        node("Location", f"/{visit.bucket}/{visit.key}"),
        node("Bucket", visit.bucket),
        node("Key", visit.key),
        node("ETag", f'"{entry.etag}"'),
    ]
    await _answer(visit, "CompleteMultipartUploadResult", content, told(entry))


def _metadata(upload: Upload) -> dict[str, str]:
    """What `begin` noted."""
    try:
        found: object = json.loads(upload.message)
    except ValueError:  # another dialect began it
        return {}
    return cast("dict[str, str]", found) if isinstance(found, dict) else {}


def _parts(body: bytes) -> list[tuple[int, str]]:
    """Numbers and etags that the body names.

    Raises:
        S3Error: none, too many, or not in ascending order.
    """
    found: list[tuple[int, str]] = []
    for item in read(body, "CompleteMultipartUpload"):
        part = texts(item)
        number = _number(part.get("PartNumber", "").strip())
        found.append((number, part.get("ETag", "").strip().strip('"')))
    numbers = [number for number, _ in found]
    if not numbers or len(numbers) > MOST_PARTS:
        raise S3Error("MalformedXML", 400, f"1 to {MOST_PARTS} parts are named.")
    if numbers != sorted(set(numbers)):
        raise S3Error("InvalidPartOrder", 400, "Parts are named in ascending order.")
    return found


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise S3Error("InvalidArgument", 400, "A number is out of form.")
    return int(text)


def _refuse_missing(upload: Upload, named: list[tuple[int, str]]) -> None:
    there = {part.n: part.etag for part in upload.parts}
    for number, etag in named:
        if there.get(number) != etag:
            raise S3Error("InvalidPart", 400, f"Part {number} is not there, or another.")


async def abort(visit: Visit) -> None:
    """AbortMultipartUpload."""
    upload = await _upload(visit)
    await visit.uploads.abort(visit.caller, upload.id)
    await visit.exchange.answer(204)


async def list_parts(visit: Visit) -> None:
    """ListParts."""
    upload = await _upload(visit)
    marker = _number(visit.query.get("part-number-marker", "0"))
    most = _number(visit.query.get("max-parts", str(MAX_LISTED)))
    left = [part for part in upload.parts if part.n > marker]
    shown = left[: max(1, min(most, MAX_LISTED))]
    content = [
        node("Bucket", visit.bucket),
        node("Key", visit.key),
        node("UploadId", upload.id),
        node("PartNumberMarker", str(marker)),
        node("MaxParts", str(most)),
        node("IsTruncated", "true" if len(left) > len(shown) else "false"),
    ]
    if len(left) > len(shown):
        content.append(node("NextPartNumberMarker", str(shown[-1].n)))
    content += [_part(upload, part) for part in shown]
    await _answer(visit, "ListPartsResult", content)


def _part(upload: Upload, part: Part) -> Element:
    return node(
        "Part",
        [
            node("PartNumber", str(part.n)),
            node("LastModified", stamp(upload.touched_at * 10**9)),
            node("ETag", f'"{part.etag}"'),
            node("Size", str(part.size)),
        ],
    )


async def list_uploads(visit: Visit) -> None:
    """ListMultipartUploads: the caller's own in this bucket."""
    await visit.need_bucket()
    bucket = path_of(visit.bucket) + "/"
    prefix = visit.query.get("prefix", "")
    content = [node("Bucket", visit.bucket), node("IsTruncated", "false")]
    for upload in await visit.uploads.mine(visit.caller):
        key = upload.path.removeprefix(bucket)
        if upload.shape == "parts" and upload.path.startswith(bucket) and key.startswith(prefix):
            begun = stamp(upload.created_at * 10**9)
            told_of = [("Key", key), ("UploadId", upload.id), ("Initiated", begun)]
            content.append(node("Upload", [node(name, text) for name, text in told_of]))
    await _answer(visit, "ListMultipartUploadsResult", content)


async def _upload(visit: Visit) -> Upload:
    try:
        return await visit.uploads.head(
            visit.caller, visit.query.get("uploadId", ""), path=visit.path
        )
    except NotFound as error:
        raise S3Error("NoSuchUpload", 404, "The specified upload does not exist.") from error


async def _answer(
    visit: Visit, name: str, content: list[Element], headers: dict[str, str] | None = None
) -> None:
    fields = {"content-type": XML_TYPE, **(headers or {})}
    await visit.exchange.answer(200, fields, document(name, content))
