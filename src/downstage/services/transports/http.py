"""``http(s)://``, ``ws(s)://`` and ``unix://`` through aiohttp, on the loop's own pool.

``unix:///run/service.sock`` is HTTP over that socket; ``unix:///run/service.sock:/v1`` has a base
path. ``ws`` and ``wss`` are other names of ``http`` and ``https``: each carries calls, streams
and WebSockets.
"""

from __future__ import annotations

import asyncio
import io
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from yarl import URL

from downstage.services.transports.denial import Denied
from downstage.services.transports.head import check, failure, fold, refusal, silence, target
from downstage.services.transports.http_body import Outgoing
from downstage.services.transports.http_socket import HEARTBEAT_S, HttpSocket
from downstage.services.transports.pool import (
    NO_TLS_OPTIONS,
    Pool,
    TlsOptions,
    close_pool,
    find_pool,
    open_pool,
)
from downstage.services.transports.transport import MAX_ANSWER, MAX_MESSAGE, Answer, Call

__all__ = ["HttpTransport", "TlsOptions", "close_pool", "use_tls"]

CONNECT_S = 10.0
CLOSE_TIMEOUT = aiohttp.ClientWSTimeout(ws_close=5.0)  # pyright: ignore[reportCallIssue]
PIECEWISE = 256 * 1024
KINDS = {"ws": "http", "wss": "https"}

_tls = NO_TLS_OPTIONS


def use_tls(options: TlsOptions) -> None:
    """Trust, and show, what *options* say: for transports of this process made from now on."""
    global _tls  # noqa: PLW0603 - a setting of the process, as it says
    _tls = options


@lru_cache(64)
def _timeout(total_s: float | None, read_s: float | None) -> aiohttp.ClientTimeout:
    if total_s is not None and read_s is not None and total_s <= read_s:
        read_s = None  # silence cannot last longer: spare a timer for each piece
    return aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S, sock_read=read_s)


class HttpTransport:
    """Calls a service over HTTP; redirects are not followed, so no header leaves its host."""

    def __init__(self, uri: str, app: Any = None, *, tls: TlsOptions | None = None) -> None:
        del app
        parts = urlsplit(uri)
        self._authorization: str | None = None
        self._key: Path | TlsOptions = _tls if tls is None else tls
        if parts.scheme == "unix":
            self._key, base = _socket_of(parts.netloc, parts.path)
            origin, self._shown = "http://localhost", f"unix://{self._key}{base and ':' + base}"
        else:
            credentials, _, host = parts.netloc.rpartition("@")
            if not host:
                raise ValueError(f"The address {parts.scheme}:// names no host.")
            if credentials:
                secret = b64encode(unquote(credentials).encode()).decode()
                self._authorization = f"Basic {secret}"
            origin = f"{KINDS.get(parts.scheme, parts.scheme)}://{host}"
            base = parts.path.rstrip("/")
            self._shown = f"{parts.scheme}://{host}{base}"
        self._origin = origin
        self._base = base

    async def request(self, call: Call) -> Answer:
        """Send *call*; a connection that fails or a deadline is `ServiceUnavailableError`."""
        check(call)
        pool = find_pool(self._key) or await self._open(call)
        body = Outgoing(call.body) if not isinstance(call.body, bytes) else None
        try:
            async with pool.calls.request(
                call.method,
                URL(self._origin + target(self._base, call), encoded=True),
                timeout=_timeout(call.timeout_s, call.read_timeout_s),
                allow_redirects=False,
                **self._content(call, body),
            ) as response:
                whole = await self._whole(call, response)
                return Answer(response.status, fold(response.raw_headers), whole)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise self.translated(call, error, body) from error
        finally:
            if body is not None:
                await body.close()

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[HttpStream]:
        """Send *call*; inside, the answer's head is there. Leaving early ends the connection."""
        check(call)
        pool = find_pool(self._key) or await self._open(call)
        body = Outgoing(call.body) if not isinstance(call.body, bytes) else None
        response: aiohttp.ClientResponse | None = None
        try:
            try:
                async with asyncio.timeout(call.timeout_s):
                    response = await pool.channels.request(
                        call.method,
                        URL(self._origin + target(self._base, call), encoded=True),
                        timeout=_timeout(None, call.read_timeout_s),
                        allow_redirects=False,
                        **self._content(call, body),
                    )
            except (TimeoutError, aiohttp.ClientError) as error:
                raise self.translated(call, error, body) from error
            yield HttpStream(self, call, response, body)
        finally:
            if response is not None:
                response.close()  # of an answer that was read to its end, this keeps the connection
            if body is not None:
                await body.close()

    @asynccontextmanager
    async def socket(
        self, call: Call, subprotocols: tuple[str, ...] = ()
    ) -> AsyncGenerator[HttpSocket]:
        """Open a WebSocket; it is closed at exit."""
        check(call)
        pool = find_pool(self._key) or await self._open(call)
        try:
            async with asyncio.timeout(call.timeout_s):
                raw = await pool.sockets.ws_connect(
                    URL(self._origin + target(self._base, call), encoded=True),
                    headers=self._headers(call),
                    protocols=subprotocols,
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=MAX_MESSAGE + 1,
                    compress=0,
                    timeout=CLOSE_TIMEOUT,
                )
        except Denied as denied:
            headers = fold(denied.fields)
            raise refusal(call, self._shown, denied.status, headers, denied.body) from None
        except (TimeoutError, aiohttp.ClientError) as error:
            raise self.translated(call, error, None) from error
        socket = HttpSocket(raw)
        try:
            yield socket
        finally:
            await socket.close()

    async def _open(self, call: Call) -> Pool:
        try:
            return await open_pool(self._key)
        except OSError as error:  # SSLError is one
            raise failure(call, self._shown, f"the TLS options: {error}") from error

    def _headers(self, call: Call) -> dict[str, str]:
        names = {name.lower() for name in call.headers}
        if "transfer-encoding" in names:
            # The engine would send it beside a body of another form, which may hold a second call.
            raise ValueError("the header 'transfer-encoding' is said by the transport alone")
        if self._authorization is None or "authorization" in names:
            return call.headers
        return {**call.headers, "authorization": self._authorization}

    def _content(self, call: Call, body: Outgoing | None) -> dict[str, Any]:
        headers = self._headers(call)
        if body is None and not call.body:
            return {"headers": headers}
        data: Any = body or call.body
        if body is None and len(call.body) > PIECEWISE:  # type: ignore[arg-type]
            # Bytes go out at one go, which aiohttp warns of above a mebibyte; a file in pieces.
            data = io.BytesIO(call.body)  # type: ignore[arg-type]
        if any(k.lower() == "content-type" for k in headers):
            return {"headers": headers, "data": data}
        # The engine would name a type that nobody has said.
        return {"headers": headers, "data": data, "skip_auto_headers": ("Content-Type",)}

    async def _whole(self, call: Call, response: aiohttp.ClientResponse) -> bytes:
        length = response.content_length
        if (
            length is not None
            and length <= PIECEWISE
            and "Content-Encoding" not in response.headers
        ):
            return await response.read()
        whole = bytearray()
        async for piece in response.content.iter_any():
            whole += piece
            if len(whole) > MAX_ANSWER:
                why = f"the answer is larger than {MAX_ANSWER} bytes"
                raise failure(call, self._shown, why)
        return bytes(whole)

    def translated(self, call: Call, error: Exception, body: Outgoing | None) -> Exception:
        """The error that callers know for one of the engine's; the body's own comes first."""
        if body is not None and body.error is not None:
            return body.error
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return silence(call, self._shown, f"no connection within {CONNECT_S:g} s")
        if isinstance(error, aiohttp.SocketTimeoutError):
            return silence(call, self._shown, f"nothing came for {call.read_timeout_s:g} s")
        if isinstance(error, TimeoutError):
            return silence(call, self._shown, f"no answer within {call.timeout_s:g} s")
        return failure(call, self._shown, _reason(error))


class HttpStream:
    """An answer whose body comes in pieces."""

    def __init__(
        self,
        transport: HttpTransport,
        call: Call,
        response: aiohttp.ClientResponse,
        body: Outgoing | None,
    ) -> None:
        self._transport = transport
        self._call = call
        self._response = response
        self._body = body
        self.status = response.status
        self.headers = fold(response.raw_headers)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._response.content.iter_any():
                if piece:
                    yield piece
        except (TimeoutError, aiohttp.ClientError) as error:
            raise self._transport.translated(self._call, error, self._body) from error


def _reason(error: Exception) -> str:
    """What *error* says, without the query and the header fields that some of them show."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer cannot be read: {error.message}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server hung up"
    return str(error) or type(error).__name__


def _socket_of(host: str, path: str) -> tuple[Path, str]:
    """A unix address's socket and base path: ``/run/x.sock:/v1`` → ``/run/x.sock``, ``/v1``."""
    if host or not path.strip("/"):
        raise ValueError("A unix address is unix:///path/of/the.sock or unix:///the.sock:/base.")
    socket, colon, base = path.partition(":/")
    return Path(unquote(socket)), f"/{base}".rstrip("/") if colon else ""


TRANSPORTS = dict.fromkeys(("http", "https", "ws", "wss", "unix"), HttpTransport)
