"""One request of S3: who asks, which bucket and key, with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from downstage.content.dialects.exchange import Exchange, parts_of
from downstage.content.dialects.s3_errors import S3Error
from downstage.content.dialects.s3_signature import Claim
from downstage.content.dialects.webdav_visit import etags_of
from downstage.content.model import Caller, Condition, Entry
from downstage.content.names import join, parse
from downstage.content.uploads import Uploads
from downstage.kernel.errors import BadUrl, NotFound, WrongType

if TYPE_CHECKING:
    from downstage.content.service import Content

__all__ = ["IMPLIED", "MAX_KEY", "Visit", "address_in", "path_of", "plain_etags"]

IMPLIED = "s3:implied"
"""Our property of a folder that keys brought along: it goes with the last of them."""
MAX_KEY = 1024


def address_in(prefix: str, raw: bytes) -> tuple[str, str]:
    """Bucket and key that *raw* names below *prefix*; each may be empty.

    Raises:
        BadUrl: it lies elsewhere, or is out of form.
    """
    start = prefix.encode()
    if raw != start and not raw.startswith(start + b"/"):
        raise BadUrl(f"Buckets are below {prefix}/.")
    parts = parts_of(raw[len(start) :], slashes=True)
    bucket, key = (parts[0] if parts else ""), "/".join(parts[1:])
    if key and not bucket:
        raise BadUrl("A bucket has a name.")
    return bucket, key


def path_of(bucket: str, key: str = "") -> str:
    """The path in the tree of a bucket or of a key in it, without a slash at its end.

    Raises:
        S3Error: too long.
        BadUrl: the key cannot be a path: ``a//b``, ``../a``.
    """
    if len(key.encode("utf-8", "replace")) > MAX_KEY:
        raise S3Error("KeyTooLongError", 400, f"A key has at most {MAX_KEY} bytes.")
    inner = key.removesuffix("/")
    return join(parse(f"/{bucket}/{inner}" if key else f"/{bucket}"))


def plain_etags(header: str) -> tuple[str, ...]:
    """Etags of a list; some of S3's clients send them without quotes."""
    if '"' in header:
        return etags_of(header)
    return tuple(item.strip() for item in header.split(",") if item.strip())[:64]


@dataclass(slots=True)
class Visit:
    """Everything that an operation works with; the signature is proven."""

    exchange: Exchange
    content: Content
    uploads: Uploads
    caller: Caller
    claim: Claim
    key_bytes: bytes
    """What signs the chunks of the body."""
    bucket: str
    key: str
    query: Mapping[str, str]
    now_ns: int
    """Nanoseconds since the epoch, as the request came."""

    @property
    def path(self) -> str:
        """Of the bucket or key in the tree."""
        return path_of(self.bucket, self.key)

    def condition(self) -> Condition:
        """What If-Match and If-None-Match ask of a change."""
        match = self.exchange.header("if-match").strip()
        none = self.exchange.header("if-none-match").strip()
        if none and none != "*":
            raise S3Error("NotImplemented", 501, "If-None-Match of a change is * here.")
        return Condition(
            if_match=plain_etags(match) if match and match != "*" else None,
            if_match_any=match == "*",
            if_none_match_any=none == "*",
        )

    async def find(self, path: str) -> Entry | None:
        """What is at *path*; None: nothing that the caller may see."""
        try:
            return await self.content.stat(self.caller, path)
        except (NotFound, WrongType):
            return None

    async def need_bucket(self) -> None:
        """Raises `S3Error` where there is no such bucket."""
        entry = await self.find(path_of(self.bucket))
        if entry is None or entry.kind == "file":
            raise S3Error("NoSuchBucket", 404, "The specified bucket does not exist")
