"""WebDAV (RFC 4918, classes 1, 2 and 3) over the tree, for desktops and their tools.

An ASGI application of its own: no framework knows the methods, and bodies of any size stream
through it. Everything that it tells of is in `Content`: locks, properties, versions and rights
are the same for every other dialect.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from downstage.content.credentials import Credentials
from downstage.content.dialects import (
    webdav_files,
    webdav_find,
    webdav_locking,
    webdav_moves,
)
from downstage.content.dialects.exchange import IDLE_S, CutShort, Exchange
from downstage.content.dialects.webdav_find import XML_TYPE
from downstage.content.dialects.webdav_locks import DavLocks
from downstage.content.dialects.webdav_props import href_of
from downstage.content.dialects.webdav_visit import Refused, Visit, path_in
from downstage.content.dialects.webdav_xml import error_body
from downstage.kernel.errors import (
    BadUrl,
    Locked,
    PlatformError,
    RangeNotSatisfiable,
    SourceIsTarget,
    TooMany,
    Unauthenticated,
    Unavailable,
    problem,
)
from downstage.kernel.logging import get_logger

if TYPE_CHECKING:
    from downstage.content.service import Content

__all__ = ["PREFIX", "WebDav"]

PREFIX = "/dav"
REALM = 'Basic realm="Downstage", charset="UTF-8"'
log = get_logger(__name__)


async def _options(visit: Visit) -> None:
    """OPTIONS: what is spoken here."""
    headers = {"dav": "1, 2, 3", "allow": ALLOW, "ms-author-via": "DAV", "accept-ranges": "bytes"}
    await visit.exchange.answer(200, headers)


METHODS: Mapping[str, Callable[[Visit], Awaitable[None]]] = {
    "OPTIONS": _options,
    "GET": webdav_files.get,
    "HEAD": webdav_files.get,
    "PUT": webdav_files.put,
    "DELETE": webdav_files.delete,
    "MKCOL": webdav_files.make_folder,
    "COPY": webdav_moves.copy,
    "MOVE": webdav_moves.move,
    "PROPFIND": webdav_find.find,
    "PROPPATCH": webdav_find.patch,
    "LOCK": webdav_locking.lock,
    "UNLOCK": webdav_locking.unlock,
}
ALLOW = ", ".join(METHODS)


class WebDav:
    """The application, for everything below *prefix*.

    Args:
        content: the tree.
        credentials: who asks.
        prefix: where it is served, without a slash at the end.
        now: nanoseconds since the epoch.
        idle_s: seconds that a transfer may stand still.
    """

    def __init__(
        self,
        content: Content,
        credentials: Credentials,
        *,
        prefix: str = PREFIX,
        now: Callable[[], int] = time.time_ns,
        idle_s: float = IDLE_S,
    ) -> None:
        self._content = content
        self._credentials = credentials
        self._locks = DavLocks(content, now)
        self._prefix = prefix
        self._now = now
        self._idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; every error is answered here."""
        exchange = Exchange(scope, receive, send, idle_s=self._idle_s)
        try:
            await self._serve(exchange)
        except Refused as error:
            if exchange.started:
                raise
            await self._refuse(exchange, error)
        except CutShort:
            log.info("webdav.cut_short", method=exchange.method)
        except PlatformError as error:
            if exchange.started:
                raise
            await _tell(exchange, error, self._prefix)

    async def _serve(self, exchange: Exchange) -> None:
        caller = await self._credentials.caller(exchange)
        run = METHODS.get(exchange.method)
        if run is None:
            raise Refused(405)
        if exchange.query:
            raise BadUrl("An address here has no query.")
        path, is_folder = path_in(self._prefix, exchange.path)
        await run(
            Visit(
                exchange=exchange,
                content=self._content,
                locks=self._locks,
                caller=caller,
                prefix=self._prefix,
                now=self._now,
                path=path,
                is_folder=is_folder,
            )
        )

    @staticmethod
    async def _refuse(exchange: Exchange, error: Refused) -> None:
        headers = {"content-type": XML_TYPE}
        if error.status == 405:  # noqa: PLR2004 - HTTP
            headers["allow"] = ALLOW
        body = error_body(error.condition) if error.condition else b""
        await exchange.answer(error.status, headers, body)


async def _tell(exchange: Exchange, error: PlatformError, prefix: str) -> None:
    headers = {"content-type": "application/problem+json"}
    status = error.status
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = REALM
    if isinstance(error, TooMany | Unavailable):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, RangeNotSatisfiable):
        headers["content-range"] = f"bytes */{error.context.get('size', 0)}"
    if isinstance(error, SourceIsTarget):
        status = 403
    if isinstance(error, Locked):
        body = _locked(exchange, error, prefix)
        headers["content-type"] = XML_TYPE
    else:
        body = json.dumps(problem(error, request_id=exchange.request_id or None)).encode()
    if status >= 500 and not isinstance(error, Unavailable):  # noqa: PLR2004 - HTTP
        log.error("webdav.failed", code=error.code, method=exchange.method, detail=error.detail)
    await exchange.answer(status, headers, body)


def _locked(exchange: Exchange, error: Locked, prefix: str) -> bytes:
    """Names the lock that stands in the way, as the standard asks for."""
    path = error.context.get("path")
    where = [href_of(prefix, path, folder=False)] if isinstance(path, str) else []
    condition = "no-conflicting-lock" if exchange.method == "LOCK" else "lock-token-submitted"
    return error_body(condition, where)
