"""``http://`` and ``https://`` through aiohttp: one pool and one TLS context for each loop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from downstage.services.errors import ServiceUnavailableError
from downstage.services.transports.transport import MAX_ANSWER, Answer, Call

__all__ = ["HttpTransport", "close_pool"]

CONNECT_S = 10.0
PIECEWISE = 256 * 1024
_pools: dict[asyncio.AbstractEventLoop, _Pool] = {}


@dataclass(frozen=True, slots=True)
class _Pool:
    session: aiohttp.ClientSession
    keeper: AsyncGenerator[None]


async def _session() -> aiohttp.ClientSession:
    """The running loop's session. Building one costs 16 ms for its TLS context: never per call."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None or pool.session.closed:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=256),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        pool = _Pool(session, _keep(loop, session))
        _pools[loop] = pool
        await anext(pool.keeper)
    return pool.session


async def _keep(
    loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession
) -> AsyncGenerator[None]:
    """Close *session* when its loop ends: loops finish their asynchronous generators then."""
    try:
        yield
    finally:
        _pools.pop(loop, None)
        await session.close()


async def close_pool() -> None:
    """Close the running loop's pool; the next call makes a new one. Safe to repeat."""
    pool = _pools.pop(asyncio.get_running_loop(), None)
    if pool is not None:
        await pool.keeper.aclose()


def _payload(body: bytes) -> bytes | io.BytesIO | None:
    """Bytes go out at one go, which aiohttp warns of above a mebibyte; a file in pieces."""
    return io.BytesIO(body) if len(body) > PIECEWISE else body or None


class HttpTransport:
    """Calls a service over HTTP; redirects are not followed, so no header leaves its host."""

    def __init__(self, uri: str, app: Any = None) -> None:
        del app
        parts = urlsplit(uri)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        shown = parts.netloc.rpartition("@")[2]
        self._shown = f"{parts.scheme}://{shown}{parts.path.rstrip('/')}"

    async def request(self, call: Call) -> Answer:
        """Send *call*; a connection that fails or a deadline is `ServiceUnavailableError`."""
        url = URL(self._base + call.path, encoded=True)
        if call.query:
            url = url.with_query(list(call.query))
        timeout = aiohttp.ClientTimeout(total=call.timeout_s, sock_connect=CONNECT_S)
        try:
            async with (await _session()).request(
                call.method,
                url,
                data=_payload(call.body),
                headers=call.headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        raise self._failure(call, f"the answer is larger than {MAX_ANSWER} bytes")
                headers = {key.lower(): value for key, value in response.headers.items()}
                return Answer(response.status, headers, bytes(body))
        except TimeoutError as error:
            raise self._failure(call, f"no answer within {call.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise self._failure(call, str(error) or type(error).__name__) from error

    def _failure(self, call: Call, why: str) -> ServiceUnavailableError:
        return ServiceUnavailableError(
            f"{call.method} {call.path or '/'}: {why}",
            method=call.method,
            url=self._shown + call.path,
        )


TRANSPORTS = {"http": HttpTransport, "https": HttpTransport}
