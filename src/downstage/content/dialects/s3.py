"""S3's protocol over the tree, path style: what obstore, boto3 and rclone speak.

A bucket is a top folder, a key is a path in it, a key with a slash at its end is a folder. Requests
are signed (SigV4) with a files key, in the header or in the address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from downstage.content.credentials import Credentials
from downstage.content.dialects import s3_buckets, s3_multipart, s3_objects
from downstage.content.dialects.exchange import IDLE_S, CutShort, Exchange
from downstage.content.dialects.s3_errors import S3Error, error_body, translated
from downstage.content.dialects.s3_signature import (
    read_claim,
    read_query,
    signing_key,
    verify,
)
from downstage.content.dialects.s3_visit import Visit, address_in
from downstage.content.dialects.s3_xml import XML_TYPE
from downstage.content.uploads import Uploads
from downstage.kernel.clock import Clock
from downstage.kernel.errors import PlatformError, TooMany, Unavailable
from downstage.kernel.ids import new_uuid
from downstage.kernel.logging import get_logger

if TYPE_CHECKING:
    from downstage.content.service import Content

__all__ = ["PREFIX", "S3", "SignedFirst"]

PREFIX = "/s3"
Operation = Callable[[Visit], Awaitable[None]]
log = get_logger(__name__)

SERVICE: Mapping[str, Operation] = {"GET": s3_buckets.list_buckets}
BUCKET: Mapping[tuple[str, str], Operation] = {
    ("GET", ""): s3_buckets.list_keys,
    ("GET", "location"): s3_buckets.location,
    ("GET", "versioning"): s3_buckets.versioning,
    ("GET", "versions"): s3_buckets.list_versions,
    ("GET", "uploads"): s3_multipart.list_uploads,
    ("HEAD", ""): s3_buckets.head,
    ("PUT", ""): s3_buckets.create,
    ("DELETE", ""): s3_buckets.delete,
    ("POST", "delete"): s3_objects.delete_many,
}
OBJECT: Mapping[tuple[str, str], Operation] = {
    ("GET", ""): s3_objects.get,
    ("HEAD", ""): s3_objects.get,
    ("PUT", ""): s3_objects.put,
    ("PUT", "copy"): s3_objects.copy,
    ("DELETE", ""): s3_objects.delete,
    ("POST", "uploads"): s3_multipart.begin,
    ("PUT", "uploadId"): s3_multipart.put_part,
    ("POST", "uploadId"): s3_multipart.complete,
    ("DELETE", "uploadId"): s3_multipart.abort,
    ("GET", "uploadId"): s3_multipart.list_parts,
}
PLAIN = frozenset(
    {
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "key-marker",
        "list-type",
        "marker",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "partNumber",
        "prefix",
        "start-after",
        "upload-id-marker",
        "version-id-marker",
        "versionId",
        "x-id",
    }
)
"""Parameters that do not choose the operation."""


class S3:
    """The application, for everything below *prefix*.

    Args:
        content: the tree.
        uploads: where parts are kept until they are complete.
        credentials: whose keys sign.
        clock: of the platform.
        prefix: where it is served, without a slash at the end.
        idle_s: seconds that a transfer may stand still.
    """

    def __init__(
        self,
        content: Content,
        uploads: Uploads,
        credentials: Credentials,
        clock: Clock,
        *,
        prefix: str = PREFIX,
        idle_s: float = IDLE_S,
    ) -> None:
        self._content = content
        self._uploads = uploads
        self._credentials = credentials
        self._clock = clock
        self._prefix = prefix
        self._idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; every error is answered here."""
        exchange = Exchange(scope, receive, send, idle_s=self._idle_s)
        # Some clients take only what has such an id for an answer of S3.
        exchange.always["x-amz-request-id"] = exchange.request_id or new_uuid()
        try:
            await self._serve(exchange)
        except CutShort:
            log.info("s3.cut_short", method=exchange.method)
        except S3Error as error:
            if exchange.started:
                raise
            await _tell(exchange, error, {})
        except PlatformError as error:
            if exchange.started:
                raise
            if error.status >= 500 and not isinstance(error, Unavailable):  # noqa: PLR2004 - HTTP
                log.exception("s3.failed", code=error.code)
            headers = _headers(error)
            await _tell(exchange, translated(error), headers)

    async def _serve(self, exchange: Exchange) -> None:
        parameters = read_query(exchange.query)
        claim = read_claim(exchange, parameters)
        secret, caller = await self._credentials.key(claim.key_id)
        now = self._clock.now()
        verify(exchange, parameters, claim, secret, now)
        bucket, key = address_in(self._prefix, exchange.path)
        visit = Visit(
            exchange=exchange,
            content=self._content,
            uploads=self._uploads,
            caller=caller,
            claim=claim,
            key_bytes=signing_key(secret, claim.scope),
            bucket=bucket,
            key=key,
            query=dict(parameters),
            now_ns=int(now.timestamp() * 1e9),
        )
        await _operation(visit)(visit)


class SignedFirst:
    """S3 at the root of an origin, for what is signed for it; the rest is *other*'s.

    Some clients drop the path of an endpoint. What a signature opens here is as little at home on
    the platform's own origin as what a signed link opens.

    Args:
        s3: with an empty prefix.
        other: serves everything else.
    """

    def __init__(self, s3: S3, other: ASGIApp) -> None:
        self._s3 = s3
        self._other = other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to one of them."""
        signed = scope["type"] == "http" and _is_signed(scope)
        await (self._s3 if signed else self._other)(scope, receive, send)


def _is_signed(scope: Scope) -> bool:
    if b"X-Amz-Signature=" in scope["query_string"]:
        return True
    return any(
        name == b"authorization" and value.startswith(b"AWS4-") for name, value in scope["headers"]
    )


def _operation(visit: Visit) -> Operation:
    """What the request asks for.

    Raises:
        S3Error: nothing that there is here.
    """
    method = visit.exchange.method
    if not visit.bucket:
        found = SERVICE.get(method)
    else:
        found = (OBJECT if visit.key else BUCKET).get((method, _kind(visit)))
    if found is None:
        raise S3Error("NotImplemented", 501, "That operation is not known here.")
    return found


def _kind(visit: Visit) -> str:
    """The parameter that chooses the operation."""
    chosen = [
        name
        for name in visit.query
        if name not in PLAIN and not name.lower().startswith(("x-amz-", "response-"))
    ]
    if len(chosen) > 1:
        raise S3Error("InvalidArgument", 400, "Two operations are asked for at once.")
    if chosen:
        return chosen[0]
    copies = visit.exchange.method == "PUT" and visit.exchange.header("x-amz-copy-source")
    return "copy" if copies else ""


def _headers(error: PlatformError) -> dict[str, str]:
    if isinstance(error, TooMany | Unavailable):
        return {"retry-after": str(error.retry_after_s)}
    if "size" in error.context and error.code == "range":
        return {"content-range": f"bytes */{error.context['size']}"}
    return {}


async def _tell(exchange: Exchange, error: S3Error, headers: Mapping[str, str]) -> None:
    resource = exchange.path.decode("latin-1")
    body = error_body(error, resource, exchange.request_id)
    await exchange.answer(error.status, {"content-type": XML_TYPE, **headers}, body)
