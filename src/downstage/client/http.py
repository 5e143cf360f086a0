"""HTTP to one server: connecting within a deadline, not trying the dead, repeating what may be."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
from yarl import URL

from downstage.client.credentials import Credentials
from downstage.client.logs import log
from downstage.client.options import Options
from downstage.client.origins import Origin
from downstage.client.outcome import error_of_code
from downstage.client.types import LogLevel
from downstage.client.urls import combine_urls
from downstage.client.ways import Resolver, no_redirects, proxy_of
from downstage.kernel import errors

__all__ = ["Breaker", "Http", "Unreachable", "error_of_status"]

AT_ONCE = 64
"""Requests in flight to one server."""
REDIRECTS = 10
REPEATED = frozenset({429, 502, 503, 504})
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND"})
UNAUTHORIZED = 401
MAX_PAUSE_S = 2.0
MAX_PROBLEM = 64 * 1024
MOVED = frozenset({301, 302, 303, 307, 308})
_STATUSES: dict[int, type[errors.PlatformError]] = {
    400: errors.InvalidInput,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.NotSupported,
    409: errors.Conflict,
    410: errors.NotFound,
    412: errors.VersionMismatch,
    413: errors.TooLarge,
    416: errors.RangeNotSatisfiable,
    423: errors.Locked,
    429: errors.TooMany,
    501: errors.NotSupported,
    503: errors.Unavailable,
    507: errors.OutOfSpace,
}


class Breaker:
    """Remembers for a while that a server could not be reached, so that nobody waits for it.

    Args:
        closed_s: for how long.
    """

    def __init__(self, closed_s: float) -> None:
        self._closed_s = closed_s
        self._until = 0.0
        self._why = ""

    def check(self) -> None:
        """Go on only where the server was not found dead just now.

        Raises:
            Unavailable: it was.
        """
        if time.monotonic() < self._until:
            raise errors.Unavailable(f"The server could not be reached a moment ago: {self._why}")

    def failed(self, why: str) -> None:
        """It could not be reached."""
        self._until, self._why = time.monotonic() + self._closed_s, why

    def reset(self) -> None:
        """Try it again."""
        self._until = 0.0


class Http:
    """Requests to one server.

    Args:
        origin: the server.
        options: of the client.
    """

    def __init__(self, origin: Origin, options: Options) -> None:
        self.origin = origin
        self.options = options
        self.breaker = Breaker(options.closed_s)
        self.credentials: Credentials | None = None
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._has_answered = False

    def session(self) -> aiohttp.ClientSession:
        """The session, made where there is none."""
        if self._session is None:
            path = self.origin.socket_path
            connector = (
                aiohttp.UnixConnector(path, limit=0, keepalive_timeout=self.options.keep_s)
                if path is not None
                else aiohttp.TCPConnector(
                    limit=0,
                    ttl_dns_cache=10,
                    keepalive_timeout=self.options.keep_s,
                    resolver=Resolver(),
                )
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=True,
                trace_configs=[no_redirects()],
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=self.options.connect_s, sock_read=self.options.idle_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Close every connection; a later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def headers(self) -> dict[str, str]:
        """What every request to the server carries."""
        found = dict(self.options.headers)
        token = None if self.credentials is None else await self.credentials.token()
        if token is not None:
            found["Authorization"] = token if " " in token else f"Bearer {token}"
        return found

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        allowed: frozenset[int] = frozenset(),
        is_anonymous: bool = False,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """One request; redirects are followed for what only reads.

        Args:
            method: in capitals.
            url: whole, encoded.
            headers: beside those that every request has.
            data: body; an iterator is sent once.
            allowed: error statuses that are answers here.
            is_anonymous: without credentials.

        Raises:
            PlatformError: as the server said, or `Unavailable`.
        """
        response = await self._answer(_Sent(method, url, dict(headers or {}), data, is_anonymous))
        try:
            if response.status >= 400 and response.status not in allowed:  # noqa: PLR2004 - HTTP
                raise await error_of_status(response, method)
            with self._transport_errors():
                yield response
        finally:
            response.release()

    async def _answer(self, sent: _Sent) -> aiohttp.ClientResponse:
        retries = self.options.retries
        may_repeat = sent.method in SAFE
        signed_in = sent.is_anonymous or self.credentials is None
        attempt = 0
        while True:
            is_last = not may_repeat or attempt >= retries.times
            try:
                response = await self._follow(sent)
            except errors.Unavailable as error:
                if is_last or isinstance(error, Unreachable):
                    raise
                pause = self._pause(attempt)
            else:
                if response.status == UNAUTHORIZED and not signed_in and sent.is_repeatable:
                    signed_in = True
                    response.release()
                    cast("Credentials", self.credentials).forget()
                    continue
                if response.status == UNAUTHORIZED and not signed_in:
                    cast("Credentials", self.credentials).forget()  # for the next one
                if is_last or response.status not in REPEATED:
                    return response
                pause = _asked_pause(response, self._pause(attempt))
                response.release()
            attempt += 1
            await asyncio.sleep(pause)

    def _pause(self, attempt: int) -> float:
        retries = self.options.retries
        jitter = random.uniform(0, retries.jitter_ms)  # noqa: S311 - spreads, hides nothing
        return min(MAX_PAUSE_S, (retries.first_ms * 2**attempt + jitter) / 1000)

    async def _follow(self, sent: _Sent) -> aiohttp.ClientResponse:
        url = sent.url
        for _ in range(REDIRECTS):
            response = await self._once(sent, url)
            target = response.headers.get("Location")
            if response.status not in MOVED or target is None or sent.method not in SAFE:
                return response
            response.release()
            url = combine_urls(url, target)
            if not url.lower().startswith(("http://", "https://")):
                raise errors.Forbidden("The server redirects to something that is not HTTP.")
        raise errors.Upstream("The server redirects in a circle.")

    async def _once(self, sent: _Sent, url: str) -> aiohttp.ClientResponse:
        self.breaker.check()
        headers = sent.headers
        # Credentials and own headers are for the server itself, not for where it redirects to.
        if _origin_of(url) == _origin_of(self.origin.url) and not sent.is_anonymous:
            headers = {**(await self.headers()), **headers}
        target = URL(url, encoded=True)
        if "Authorization" in headers:
            target = target.with_user(None)  # one of both
        is_first = not self._has_answered and sent.data is None
        async with self._slots:
            with self._transport_errors():
                # A machine that takes connections and says nothing is as dead as one that is off.
                async with asyncio.timeout(self.options.answer_s if is_first else None):
                    response = await self.session().request(
                        sent.method,
                        target,
                        headers=headers,
                        data=sent.data,
                        allow_redirects=False,
                        proxy=proxy_of(self.origin, target),
                    )
        self._has_answered = True
        return response

    def _transport_errors(self) -> _TransportErrors:
        return _TransportErrors(self.breaker, self.origin, is_known=self._has_answered)


@dataclass(frozen=True, slots=True)
class _Sent:
    """One request as it is meant, however often it is sent."""

    method: str
    url: str
    headers: dict[str, str]
    data: Any
    is_anonymous: bool

    @property
    def is_repeatable(self) -> bool:
        """Whether the body can be sent again."""
        return self.data is None or isinstance(self.data, bytes | bytearray | memoryview)


class Unreachable(errors.Unavailable):
    """No connection came about, or no answer: trying again would take as long again."""


class _TransportErrors:
    """Turns errors of connections into ours."""

    def __init__(self, breaker: Breaker, origin: Origin, *, is_known: bool) -> None:
        self._breaker = breaker
        self._origin = origin
        self._is_known = is_known

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, errors.PlatformError):
            return
        is_dead = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        if is_dead or (isinstance(error, TimeoutError) and not self._is_known):
            why = type(error).__name__
            self._breaker.failed(why)
            log(LogLevel.WARNING, "client.server_unreachable", host=self._origin.host, why=why)
            raise Unreachable(f"{self._origin.host} cannot be reached.") from error
        if isinstance(error, aiohttp.InvalidURL | UnicodeError):
            raise errors.BadUrl("The address names no server.") from error
        if isinstance(error, TimeoutError):
            raise Unreachable(f"{self._origin.host} says nothing any more.") from error
        if isinstance(error, aiohttp.ClientError | OSError | TimeoutError):
            raise errors.Unavailable(f"The connection to {self._origin.host} broke.") from error


async def error_of_status(response: aiohttp.ClientResponse, method: str = "") -> Any:
    """What an error answer means: its problem object where it has one, else its status."""
    code, detail = "", f"The server answered {response.status} to {method or 'a request'}."
    if "json" in response.headers.get("Content-Type", "") and method != "HEAD":
        try:
            body: Any = json.loads(await response.content.read(MAX_PROBLEM))
            problem = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
            code, detail = str(problem.get("code", "")), str(problem.get("detail", detail))
        except (ValueError, aiohttp.ClientError, OSError):
            pass
    if code:
        found = error_of_code(code, detail)
        if type(found) is not errors.PlatformError:
            return found
    fallback = errors.Upstream if response.status >= 500 else errors.InvalidInput  # noqa: PLR2004 - HTTP
    return _STATUSES.get(response.status, fallback)(detail)


def _asked_pause(response: aiohttp.ClientResponse, usual: float) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(MAX_PAUSE_S, float(asked)) if asked.isdigit() else usual


def _origin_of(url: str) -> tuple[str, str | None, int | None]:
    parsed = URL(url, encoded=True)
    return parsed.scheme, parsed.host, parsed.port
