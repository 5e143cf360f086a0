"""Who the caller is: bearer tokens, API keys, OIDC client credentials. Secrets show in no `repr`.

An authorisation is a `Hook`: it puts its header on each attempt, unless the call has its own, and
when an answer is a 401 it may fetch a fresh token and ask for one more attempt.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import parse_qsl, quote_plus, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import anyio

from downstage.services.client.asked import Encoded
from downstage.services.client.decoding import decode, shown_address
from downstage.services.client.encoding import FORM, add_header, encode_form
from downstage.services.client.hooks import Answered, Hook
from downstage.services.client.outgoing import Outgoing
from downstage.services.errors import BaseServiceError, ServiceUnavailableError
from downstage.services.transports import Call, create

__all__ = [
    "ApiKey",
    "Authorization",
    "Authorize",
    "Bearer",
    "Fixed",
    "OidcClientCredentials",
    "TokenFunction",
]

Authorize = Callable[[], Awaitable[str]]
UNAUTHENTICATED = 401


class Authorization(Hook):
    """Puts one header on each request."""

    header = "authorization"

    @abstractmethod
    async def value(self) -> str:
        """The header's value now."""

    async def refused(self, value: str) -> bool:
        """*value* was answered 401. Is there a better one now?"""
        del value
        return False

    async def before(self, request: Outgoing) -> None:
        """Authorise *request*, unless the caller has done it."""
        known = next((v for k, v in request.headers.items() if k.lower() == self.header), None)
        if known is None or known == request.notes.get(self.header):
            value = await self.value()
            add_header(request.headers, self.header, value)
            request.notes[self.header] = value

    async def after(self, request: Outgoing, answer: Answered) -> bool:
        """After a 401, try once more with another token, if there is one."""
        shown = request.notes.get(self.header)
        if shown is None or answer.status != UNAUTHENTICATED:
            return False
        return await self.refused(shown)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


class Fixed(Authorization):
    """A header that is always the same."""

    def __init__(self, header: str, value: str) -> None:
        self.header = header.lower()
        self._value = value
        add_header({}, self.header, value)

    def fields(self) -> dict[str, str]:
        """The header and its value."""
        return {self.header: self._value}

    async def value(self) -> str:
        """The header's value."""
        return self._value


class Bearer(Fixed):
    """A fixed bearer token."""

    def __init__(self, token: str) -> None:
        super().__init__("authorization", f"Bearer {token}")


class ApiKey(Fixed):
    """A fixed key in a header of its own."""

    def __init__(self, key: str, header: str = "X-API-KEY") -> None:
        super().__init__(header, key)


class TokenFunction(Authorization):
    """A bearer token that a coroutine function gives for each request."""

    def __init__(self, function: Authorize) -> None:
        self._function = function

    async def value(self) -> str:
        """The header's value now."""
        return f"Bearer {await self._function()}"

    async def refused(self, value: str) -> bool:
        """Worth another attempt if the function gives another token now."""
        return await self.value() != value


class OidcClientCredentials(Authorization):
    """OAuth 2.0 client credentials, with the endpoint given or discovered from an OIDC issuer.

    The token is fetched at the first call, shared by all that come together, and renewed *early_s*
    before it expires; a 401 renews it at once.

    Args:
        issuer: whose ``/.well-known/openid-configuration`` names the token endpoint; or
        token_url: the endpoint itself.
        client_id, client_secret: sent by HTTP Basic.
        scope: as the server knows it, separated by spaces.
        audience: for servers that want one.
        early_s: how long before its end a token is renewed.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        issuer: str | None = None,
        *,
        token_url: str | None = None,
        client_id: str,
        client_secret: str,
        scope: str | None = None,
        audience: str | None = None,
        early_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if (issuer is None) == (token_url is None):
            raise ValueError("give either the issuer or the token_url")
        self._issuer = issuer.rstrip("/") if issuer is not None else None
        self._token_url = token_url
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        self._basic = "Basic " + b64encode(pair.encode()).decode()
        self._client_id = client_id
        self._form = {"grant_type": "client_credentials", "scope": scope, "audience": audience}
        self._early_s = early_s
        self._clock = clock
        self._value: str | None = None
        self._renew_at = 0.0
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.Lock] = WeakKeyDictionary()

    def __repr__(self) -> str:
        where = shown_address(self._issuer or self._token_url or "")
        return f"OidcClientCredentials({where}, client_id={self._client_id!r}, ***)"

    async def value(self) -> str:
        """The header's value now.

        Raises:
            BaseServiceError: the token endpoint refused, or is not there.
        """
        if self._value is not None and self._clock() < self._renew_at:
            return self._value
        async with self._lock():
            if self._value is None or self._clock() >= self._renew_at:
                await self._renew()
            return cast("str", self._value)

    async def refused(self, value: str) -> bool:
        """Renew the token, unless another caller has done it since *value* was taken."""
        async with self._lock():
            if self._value == value:
                await self._renew()
            return self._value != value

    def _lock(self) -> anyio.Lock:
        return self._locks.setdefault(asyncio.get_running_loop(), anyio.Lock())

    async def _renew(self) -> None:
        if self._token_url is None:
            self._token_url = await self._discover()
        fields = {name: value for name, value in self._form.items() if value}
        form = encode_form(fields)
        headers = {"authorization": self._basic, "accept": "application/json"}
        asked = self._clock()
        answer = await _ask("POST", self._token_url, headers, Encoded(form, FORM))
        token = answer.get("access_token")
        kind = str(answer.get("token_type", "Bearer"))
        if not isinstance(token, str) or not token or kind.lower() != "bearer":
            raise self._failure("the token endpoint gave no bearer token")
        lasts = answer.get("expires_in", 300)
        lasts = float(lasts) if isinstance(lasts, int | float | str) and _is_number(lasts) else 300
        self._value = f"Bearer {token}"
        # A token shorter than twice the margin would be renewed at each call.
        self._renew_at = asked + max(lasts - self._early_s, lasts / 2)

    async def _discover(self) -> str:
        found = await _ask("GET", f"{self._issuer}/.well-known/openid-configuration", {}, None)
        url = found.get("token_endpoint")
        # The secret goes nowhere but to the scheme that we were told to trust.
        safe = isinstance(url, str) and _scheme(url) in ("https", _scheme(self._issuer))
        if not safe or found.get("issuer", self._issuer) not in (self._issuer, f"{self._issuer}/"):
            raise self._failure("the issuer names no token endpoint that can be trusted")
        return str(url)

    def _failure(self, why: str) -> ServiceUnavailableError:
        return ServiceUnavailableError(f"{self!r}: {why}", url=shown_address(self._token_url or ""))


def _scheme(url: str | None) -> str:
    try:
        return urlsplit(url or "").scheme
    except ValueError:
        return "none"


def _is_number(value: object) -> bool:
    try:
        return float(cast("Any", value)) >= 0
    except (ValueError, OverflowError):
        return False


async def _ask(
    method: str, url: str, headers: dict[str, str], content: Encoded | None
) -> dict[str, Any]:
    """One call of an authorisation server; its errors name no secret."""
    parts = urlsplit(url)
    base = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    body = b""
    if content is not None:
        headers = {**headers, "content-type": content.kind}
        body = cast("bytes", content.body)
    query = tuple(parse_qsl(parts.query, keep_blank_values=True))
    answer = await create(base).request(Call(method, "", query, headers, body, 10.0))
    found = decode(answer)
    if answer.status != 200 or not isinstance(found, dict):  # noqa: PLR2004 - HTTP
        fields = cast("dict[str, object]", found) if isinstance(found, dict) else {}
        why = str(fields.get("error", ""))[:100]
        raise BaseServiceError(
            f"{method} {shown_address(url)} answered {answer.status}: {why}",
            status=answer.status,
            headers=answer.headers,
            method=method,
            url=shown_address(url),
        )
    return cast("dict[str, Any]", found)
