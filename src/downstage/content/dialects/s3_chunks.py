"""Bodies in S3's own chunks (``aws-chunked``), and every proof that a body is what was sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from downstage.content.dialects.exchange import Exchange
from downstage.content.dialects.s3_errors import S3Error
from downstage.content.dialects.s3_signature import EMPTY_SHA256, STREAMING, UNSIGNED, Claim

__all__ = ["body_of", "length_of"]

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNK = re.compile(rb"([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?")
MAX_LINE = 1024
SMALL = 8192
MOST_SMALL = 1000
"""Chunks below that size in one body: each costs as much as a large one."""
MAX_TRAILERS = 16
CHECKSUM = "x-amz-checksum-"


class Digest(Protocol):
    """What counts a checksum."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4)


def _digest(name: str) -> Digest:
    match name:
        case "sha256":
            return hashlib.sha256()
        case "sha1":
            return hashlib.sha1(usedforsecurity=False)
        case "md5":
            return hashlib.md5(usedforsecurity=False)
        case "crc32":
            return _Crc32()
        case _:
            raise S3Error("NotImplemented", 501, f"The checksum {name[:32]} is not known here.")


def length_of(exchange: Exchange, claim: Claim) -> int | None:
    """Bytes of the body after its chunks are undone, where that is told."""
    if not claim.payload.startswith(STREAMING):
        return exchange.length
    text = exchange.header("x-amz-decoded-content-length")
    if not re.fullmatch(r"\d{1,15}", text):
        raise S3Error("MissingContentLength", 411, "x-amz-decoded-content-length is missing.")
    return int(text)


async def body_of(exchange: Exchange, claim: Claim, key: bytes) -> AsyncGenerator[bytes]:
    """The body without its chunks; it ends only after all that was promised of it was found right.

    Args:
        exchange: the request.
        claim: its signature, verified.
        key: that signed it.

    Raises:
        S3Error: it is not what was signed or promised; what came of it must not be kept.
    """
    checks = _Checks(exchange, claim)
    if claim.payload.startswith(STREAMING):
        pieces = _Chunked(exchange, claim, key, checks).pieces()
    elif claim.payload != UNSIGNED and not re.fullmatch(r"[0-9a-f]{64}", claim.payload):
        raise S3Error("InvalidRequest", 400, "x-amz-content-sha256 is out of form.")
    else:
        pieces = exchange.body()
    async for piece in pieces:
        checks.update(piece)
        yield piece
    checks.finish()


class _Checks:
    """Counts what was promised of a body: length, MD5, SHA-256, checksums in headers or behind."""

    def __init__(self, exchange: Exchange, claim: Claim) -> None:
        self._length = length_of(exchange, claim)
        self._seen = 0
        self._wanted: list[tuple[Digest, bytes, str]] = []
        self._behind: dict[str, Digest] = {}
        if re.fullmatch(r"[0-9a-f]{64}", claim.payload):
            wanted = bytes.fromhex(claim.payload)
            self._wanted.append((hashlib.sha256(), wanted, "XAmzContentSHA256Mismatch"))
        if exchange.header("content-md5"):
            self._expect("md5", exchange.header("content-md5"))
        for name, value in exchange.headers.items():
            if name.startswith(CHECKSUM) and name not in (
                CHECKSUM + "algorithm",
                CHECKSUM + "type",
            ):
                self._expect(name.removeprefix(CHECKSUM), value)
        if claim.payload in (SIGNED_TRAILER, UNSIGNED_TRAILER):
            for name in exchange.header("x-amz-trailer").lower().split(","):
                self._announce(name.strip())
        if claim.payload == UNSIGNED_TRAILER and not self._behind:
            raise S3Error("InvalidRequest", 400, "An unsigned body needs a checksum behind it.")

    def _expect(self, name: str, text: str) -> None:
        try:
            wanted = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise S3Error("InvalidDigest", 400, "A checksum is out of form.") from error
        self._wanted.append((_digest(name), wanted, "BadDigest"))

    def _announce(self, name: str) -> None:
        if name.startswith(CHECKSUM):
            self._behind[name] = _digest(name.removeprefix(CHECKSUM))

    def update(self, piece: bytes) -> None:
        """Count a piece of the body."""
        self._seen += len(piece)
        if self._length is not None and self._seen > self._length:
            raise S3Error("IncompleteBody", 400, "The body is longer than announced.")
        for digest, _, _ in self._wanted:
            digest.update(piece)
        for digest in self._behind.values():
            digest.update(piece)

    def trailer(self, trailers: dict[str, str]) -> None:
        """Take the checksums that came behind the body."""
        for name, digest in self._behind.items():
            try:
                wanted = base64.b64decode(trailers.get(name, ""), validate=True)
            except ValueError:
                wanted = b""
            if not hmac.compare_digest(digest.digest(), wanted):
                raise S3Error("BadDigest", 400, f"{name} is not that of the body.")
        self._behind = {}

    def finish(self) -> None:
        """The body has ended.

        Raises:
            S3Error: it is not what was promised.
        """
        if self._length is not None and self._seen != self._length:
            raise S3Error("IncompleteBody", 400, "The body is shorter than announced.")
        if self._behind:
            raise S3Error("MalformedTrailerError", 400, "The checksum behind the body is missing.")
        for digest, wanted, code in self._wanted:
            if not hmac.compare_digest(digest.digest(), wanted):
                raise S3Error(code, 400, "The body is not what its checksum says.")


@dataclass(slots=True)
class _Reader:
    """Lines and stretches out of pieces as they come."""

    source: AsyncIterator[bytes]
    waiting: bytes = b""
    at: int = 0
    """What of it was taken already."""

    async def more(self) -> None:
        try:
            self.waiting = self.waiting[self.at :] + await anext(self.source)
            self.at = 0
        except StopAsyncIteration as error:
            raise S3Error("IncompleteBody", 400, "The body ended within a chunk.") from error

    async def line(self, end: bytes = b"\r\n") -> bytes:
        while (stop := self.waiting.find(end, self.at, self.at + MAX_LINE)) < 0:
            if len(self.waiting) - self.at >= MAX_LINE:
                raise _bad_chunk()
            await self.more()
        found = self.waiting[self.at : stop]
        self.at = stop + len(end)
        return found

    async def some(self, most: int) -> bytes:
        if self.at == len(self.waiting):
            await self.more()
        found = self.waiting[self.at : self.at + most]
        self.at += len(found)
        return found


def _bad_chunk() -> S3Error:
    return S3Error("InvalidRequest", 400, "A chunk of the body is out of form.")


class _Chunked:
    """Undoes the chunks, and holds each against its signature."""

    def __init__(self, exchange: Exchange, claim: Claim, key: bytes, checks: _Checks) -> None:
        if claim.payload not in (SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER):
            raise S3Error("NotImplemented", 501, "That form of chunks is not known here.")
        self._reader = _Reader(exchange.body())
        self._claim = claim
        self._key = key
        self._checks = checks
        self._signed = claim.payload != UNSIGNED_TRAILER
        self._before = claim.signature
        self._small = 0

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The bytes in the chunks."""
        while True:
            head = CHUNK.fullmatch(await self._reader.line())
            if head is None or (head[2] is not None) != self._signed:
                raise _bad_chunk()
            left = int(head[1], 16)
            last = left == 0
            self._small += left < SMALL
            if self._small > MOST_SMALL:
                raise S3Error("InvalidChunkSizeError", 400, "The chunks of the body are too small.")
            digest = hashlib.sha256()
            while left:
                piece = await self._reader.some(left)
                left -= len(piece)
                if self._signed:
                    digest.update(piece)
                yield piece
            if self._signed:
                self._prove("PAYLOAD", f"{EMPTY_SHA256}\n{digest.hexdigest()}", head[2].decode())
            if last:
                break
            if await self._reader.line():
                raise _bad_chunk()
        await self._end()

    async def _end(self) -> None:
        """Trailers, their signature, and the empty line behind all."""
        trailers: dict[str, str] = {}
        while line := (await self._reader.line(b"\n")).rstrip(b"\r"):
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or name.lower() in trailers or len(trailers) >= MAX_TRAILERS:
                raise _bad_chunk()
            trailers[name.lower()] = value.strip()
            if name.lower() == "x-amz-trailer-signature":
                break
        signature = trailers.pop("x-amz-trailer-signature", "")
        if self._claim.payload == SIGNED_TRAILER:
            text = "".join(f"{name}:{value}\n" for name, value in trailers.items())
            self._prove("TRAILER", hashlib.sha256(text.encode("latin-1")).hexdigest(), signature)
        self._checks.trailer(trailers)
        async for _ in self._reader.source:  # the server must have read all of the body
            pass

    def _prove(self, what: str, of: str, signature: str) -> None:
        claim = self._claim
        text = f"AWS4-HMAC-SHA256-{what}\n{claim.at}\n{claim.scope}\n{self._before}\n{of}"
        right = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right.encode(), signature.encode()):
            raise S3Error("SignatureDoesNotMatch", 403, "A chunk of the body is not as signed.")
        self._before = right
