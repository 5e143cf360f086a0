"""``http://`` and ``https://`` through aiohttp: one pool and one TLS context for each loop."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from downstage.services.errors import ServiceUnavailableError
from downstage.services.transports.transport import MAX_ANSWER, Answer, Call, register

__all__ = ["HttpTransport", "close_pool"]

CONNECT_S = 10.0
_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()


def _pool() -> aiohttp.ClientSession:
    """The running loop's session. Building one costs 16 ms for its TLS context: never per call."""
    loop = asyncio.get_running_loop()
    session = _pools.get(loop)
    if session is None or session.closed:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=256),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        _pools[loop] = session
    return session


async def close_pool() -> None:
    """Close the running loop's pool; the next call makes a new one. Safe to repeat."""
    session = _pools.pop(asyncio.get_running_loop(), None)
    if session is not None:
        await session.close()


class HttpTransport:
    """Calls a service over HTTP; redirects are not followed, so no header leaves its host."""

    def __init__(self, uri: str, app: Any = None) -> None:
        del app
        parts = urlsplit(uri)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"

    async def request(self, call: Call) -> Answer:
        """Send *call*; a connection that fails or a deadline is `ServiceUnavailableError`."""
        url = URL(self._base + call.path, encoded=True)
        if call.query:
            url = url.with_query(list(call.query))
        timeout = aiohttp.ClientTimeout(total=call.timeout_s, sock_connect=CONNECT_S)
        try:
            async with _pool().request(
                call.method,
                url,
                data=call.body or None,
                headers=call.headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                body = await response.content.read(MAX_ANSWER + 1)
                while len(body) <= MAX_ANSWER and (chunk := await response.content.read(1 << 20)):
                    body += chunk
                if len(body) > MAX_ANSWER:
                    raise self._failure(call, f"the answer is larger than {MAX_ANSWER} bytes")
                headers = {key.lower(): value for key, value in response.headers.items()}
                return Answer(response.status, headers, body)
        except TimeoutError as error:
            raise self._failure(call, f"no answer within {call.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise self._failure(call, str(error) or type(error).__name__) from error

    def _failure(self, call: Call, why: str) -> ServiceUnavailableError:
        return ServiceUnavailableError(
            f"{call.method} {call.path}: {why}", method=call.method, url=self._base + call.path
        )


register("http", HttpTransport)
register("https", HttpTransport)
