"""S3's operations on buckets, which are the top folders, and their listings."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from urllib.parse import quote
from xml.etree.ElementTree import Element

from downstage.content.dialects.s3_errors import S3Error
from downstage.content.dialects.s3_listing import MAX_KEYS, Item, Listing, Wish, page_of, walk
from downstage.content.dialects.s3_visit import MAX_KEY, Visit, path_of
from downstage.content.dialects.s3_xml import XML_TYPE, document, node, stamp
from downstage.content.model import Entry, Version
from downstage.kernel.errors import AlreadyExists, NotFound, WrongType

__all__ = [
    "create",
    "delete",
    "head",
    "list_buckets",
    "list_keys",
    "list_versions",
    "location",
    "versioning",
]

Encode = Callable[[str], str]


async def _answer(visit: Visit, name: str, content: list[Element]) -> None:
    await visit.exchange.answer(200, {"content-type": XML_TYPE}, document(name, content))


async def list_buckets(visit: Visit) -> None:
    """ListBuckets: the top folders that the caller may read."""
    found: list[Element] = []
    after = ""
    while True:
        page = await visit.content.list(visit.caller, "/", after=after)
        found += [
            node(
                "Bucket",
                [node("Name", entry.name), node("CreationDate", stamp(entry.created_at))],
            )
            for entry in page.entries
            if entry.kind != "file"
        ]
        if not page.next:
            break
        after = page.next
    owner = [node("ID", visit.caller.subject), node("DisplayName", visit.caller.name)]
    content = [node("Owner", owner), node("Buckets", found)]
    await _answer(visit, "ListAllMyBucketsResult", content)


async def create(visit: Visit) -> None:
    """CreateBucket: a new top folder."""
    await visit.exchange.read(64 * 1024)
    try:
        await visit.content.create_folder(visit.caller, visit.path)
    except AlreadyExists as error:
        raise S3Error("BucketAlreadyOwnedByYou", 409, "There is such a bucket.") from error
    await visit.exchange.answer(200, {"location": f"/{visit.bucket}"})


async def delete(visit: Visit) -> None:
    """DeleteBucket: a top folder without keys; folders that nobody made go with it."""
    await visit.need_bucket()
    page = await page_of(visit.content, visit.caller, visit.bucket, Wish("", "", ""), 1)
    if page.items:
        raise S3Error("BucketNotEmpty", 409, "The bucket holds something.")
    await visit.content.delete(visit.caller, visit.path, recursive=True)
    await visit.exchange.answer(204)


async def head(visit: Visit) -> None:
    """HeadBucket."""
    await visit.need_bucket()
    await visit.exchange.answer(200, {"x-amz-bucket-region": "us-east-1"})


async def location(visit: Visit) -> None:
    """GetBucketLocation: there are no regions, which S3 writes as an empty one."""
    await visit.need_bucket()
    await _answer(visit, "LocationConstraint", [])


async def versioning(visit: Visit) -> None:
    """GetBucketVersioning: never enabled in S3's sense.

    Versions are always kept and read by their ids, but a deletion leaves no marker among them, and
    clients that hear of versioning delete one version after the other.
    """
    await visit.need_bucket()
    await _answer(visit, "VersioningConfiguration", [])


async def list_keys(visit: Visit) -> None:
    """ListObjects, both versions."""
    await visit.need_bucket()
    query = visit.query
    second = query.get("list-type") == "2"
    after = _after(visit, second=second)
    wish = _wish(query, after)
    most = _max_keys(visit)
    page = await page_of(visit.content, visit.caller, visit.bucket, wish, most)
    encode = _encoding(visit)
    content = [
        node("Name", visit.bucket),
        node("Prefix", encode(wish.prefix)),
        node("MaxKeys", str(most)),
        node("IsTruncated", _bool(page.truncated)),
    ]
    if wish.delimiter:
        content.append(node("Delimiter", encode(wish.delimiter)))
    if query.get("encoding-type"):
        content.append(node("EncodingType", "url"))
    content += _second(visit, page) if second else _first(visit, page, encode)
    content += [_told(visit, item, encode, second=second) for item in page.items]
    await _answer(visit, "ListBucketResult", content)


def _wish(query: Mapping[str, str], after: str) -> Wish:
    """What is to be listed.

    Raises:
        S3Error: something is longer than any key.
    """
    wish = Wish(query.get("prefix", ""), query.get("delimiter", ""), after)
    if max(map(len, (wish.prefix, wish.delimiter, wish.after))) > MAX_KEY:
        raise S3Error("KeyTooLongError", 400, f"A key has at most {MAX_KEY} bytes.")
    return wish


def _second(visit: Visit, page: Listing) -> list[Element]:
    query = visit.query
    found = [node("KeyCount", str(len(page.items)))]
    if "start-after" in query:
        found.append(node("StartAfter", _encoding(visit)(query["start-after"])))
    if "continuation-token" in query:
        found.append(node("ContinuationToken", query["continuation-token"]))
    if page.truncated:
        token = base64.urlsafe_b64encode(page.items[-1].key.encode()).decode("ascii")
        found.append(node("NextContinuationToken", token))
    return found


def _first(visit: Visit, page: Listing, encode: Encode) -> list[Element]:
    found = [node("Marker", encode(visit.query.get("marker", "")))]
    if page.truncated:
        found.append(node("NextMarker", encode(page.items[-1].key)))
    return found


def _after(visit: Visit, *, second: bool) -> str:
    if not second:
        return visit.query.get("marker", "")
    token = visit.query.get("continuation-token")
    if token is None:
        return visit.query.get("start-after", "")
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise S3Error("InvalidArgument", 400, "The continuation token is not ours.") from error


def _max_keys(visit: Visit) -> int:
    text = visit.query.get("max-keys", str(MAX_KEYS))
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - digits
        raise S3Error("InvalidArgument", 400, "max-keys is no number.")
    return min(int(text), MAX_KEYS)


def _encoding(visit: Visit) -> Encode:
    kind = visit.query.get("encoding-type", "")
    if kind not in ("", "url"):
        raise S3Error("InvalidArgument", 400, "encoding-type is url.")
    return (lambda text: quote(text, safe="/-_.~")) if kind else (lambda text: text)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _told(visit: Visit, item: Item, encode: Encode, *, second: bool) -> Element:
    if item.entry is None:
        return node("CommonPrefixes", [node("Prefix", encode(item.key))])
    entry = item.entry
    content = [
        node("Key", encode(item.key)),
        node("LastModified", stamp(entry.modified_at)),
        node("ETag", f'"{entry.etag}"'),
        node("Size", str(entry.size)),
        node("StorageClass", "STANDARD"),
    ]
    if not second or visit.query.get("fetch-owner") == "true":
        content.append(_owner(entry.modified_by))
    return node("Contents", content)


def _owner(subject: str) -> Element:
    return node("Owner", [node("ID", subject), node("DisplayName", subject)])


async def list_versions(visit: Visit) -> None:
    """ListObjectVersions: what was in each file that is there, newest first."""
    await visit.need_bucket()
    query = visit.query
    marker, behind = query.get("key-marker", ""), query.get("version-id-marker", "")
    wish = _wish(query, marker)
    most, encode = _max_keys(visit), _encoding(visit)
    told: list[Element] = []
    last = ("", "")
    truncated = False
    async with aclosing(_versions(visit, wish, behind)) as items:
        async for item, version, latest in items:
            if len(told) == most:
                truncated = most > 0
                break
            told.append(_version(item, version, encode, latest=latest))
            last = (item.key, "" if version is None else str(version.n))
    content = [
        node("Name", visit.bucket),
        node("Prefix", encode(wish.prefix)),
        node("KeyMarker", encode(marker)),
        node("VersionIdMarker", behind),
        node("MaxKeys", str(most)),
        node("IsTruncated", _bool(truncated)),
    ]
    if query.get("encoding-type"):
        content.append(node("EncodingType", "url"))
    if truncated:
        content.append(node("NextKeyMarker", encode(last[0])))
        content.append(node("NextVersionIdMarker", last[1]))
    await _answer(visit, "ListVersionsResult", content + told)


async def _versions(
    visit: Visit, wish: Wish, behind: str
) -> AsyncGenerator[tuple[Item, Version | None, bool]]:
    """Each key with each of its versions; first the rest of the one where the page before ended."""
    if behind.isdigit() and wish.after:
        entry = await visit.find(path_of(visit.bucket, wish.after))
        if entry is not None and entry.kind == "file":
            for version in await _of(visit, entry):
                if version.n < int(behind[:18]):
                    yield Item(wish.after, entry), version, False
    async with aclosing(walk(visit.content, visit.caller, visit.bucket, wish)) as items:
        async for item in items:
            if item.entry is None or item.entry.kind != "file":
                yield item, None, True
                continue
            for number, version in enumerate(await _of(visit, item.entry)):
                yield item, version, number == 0


async def _of(visit: Visit, entry: Entry) -> list[Version]:
    try:
        return await visit.content.versions(visit.caller, entry.path)
    except (NotFound, WrongType):
        return []


def _version(item: Item, version: Version | None, encode: Encode, *, latest: bool) -> Element:
    if item.entry is None:
        return node("CommonPrefixes", [node("Prefix", encode(item.key))])
    entry = item.entry
    content = [
        node("Key", encode(item.key)),
        node("VersionId", "null" if version is None else str(version.n)),
        node("IsLatest", _bool(latest)),
        node("LastModified", stamp(entry.modified_at if version is None else version.at)),
        node("ETag", f'"{entry.etag if version is None else version.hash}"'),
        node("Size", str(entry.size if version is None else version.size)),
        node("StorageClass", "STANDARD"),
        _owner(entry.modified_by if version is None else version.by),
    ]
    return node("Version", content)
