"""Who calls: tokens checked offline, for every service alike.

A handler asks for its caller by a dependency::

    Reader = Annotated[Principal, Depends(require("sessions:read"))]

    @router.get("/v1/sessions")
    async def list_sessions(caller: Reader) -> SessionPage: ...
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import anyio
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from downstage.auth.principal import Kind, Principal
from downstage.auth.tokens import UnknownKey, Verifier
from downstage.bus import Bus
from downstage.kernel.clock import Clock, SystemClock
from downstage.kernel.errors import Forbidden, InvalidToken, Unauthenticated, Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.errors import BaseServiceError

__all__ = [
    "REVOKED",
    "Authenticator",
    "Require",
    "ServiceTokens",
    "bearer_token",
    "context_authenticator",
    "principal_or_none",
    "require",
]

REVOKED = "identity.revoked"
"""Bus subject; payload ``{"revision": int, "ids": [str]}``."""
REFETCH_S = 5.0
"""An unknown key makes us ask identity again, at most this often."""
REFRESH_S = 10.0
"""Revocations are read again this often, in case that a hint was lost."""
RENEW_S = 60.0
"""A service's own token is replaced this long before it expires."""
CALLERS: tuple[Kind, ...] = ("user", "token", "service")
"""Who may use ordinary routes; instances and seats have their own few."""

Fetch = Callable[[], Awaitable[Mapping[str, Any]]]
log = get_logger(__name__)


class Authenticator:
    """Turns tokens into principals by keys and revocations that it keeps fresh.

    Args:
        jwks: fetches identity's key set.
        revocations: fetches ``{"revision": int, "ids": [str]}``.
        bus: where hints of revocations come by.
        clock: of the platform.
    """

    def __init__(
        self, *, jwks: Fetch, revocations: Fetch, bus: Bus, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._jwks = jwks
        self._revocations = revocations
        self._bus = bus
        self._verifier = Verifier(self._clock)
        self._keys_at: float | None = None
        self._revision: int | None = None
        self._heard: dict[str, int] = {}
        """Revoked ids told by hints, with the revision of the list that will have them."""
        self._stale = anyio.Event()
        self._lock = anyio.Lock()

    async def principal(self, token: str) -> Principal:
        """The principal that *token* proves.

        Raises:
            InvalidToken: it proves nobody; why is not told.
            Unavailable: identity has not answered yet, so nothing can be checked.
        """
        if self._keys_at is None:
            await self._load_keys(None)
        try:
            principal = self._verifier.verify(token)
        except UnknownKey:
            await self._load_keys(self._clock.monotonic() - REFETCH_S)
            principal = self._verifier.verify(token)
        # A service's own token must count before revocations can be read with it.
        if principal.kind == "service" or self._revision is not None:
            return principal
        await self.refresh()
        return self._verifier.verify(token)

    def counts(self, principal: Principal) -> bool:
        """Whether *principal*, proven some time ago, would still be let in: for open sockets."""
        return self._verifier.counts(principal)

    async def refresh(self) -> None:
        """Read the list of revocations again."""
        answer = await _ask(self._revocations)
        self._revision = int(answer["revision"])
        # A hint may have overtaken the list: what it named stays until the list knows it.
        self._heard = {i: r for i, r in self._heard.items() if r > self._revision}
        self._verifier.set_revoked([*cast("list[str]", answer["ids"]), *self._heard])

    async def run(self) -> None:
        """Keep revocations fresh until cancelled: at every hint, and every `REFRESH_S`."""
        async with self._bus.subscribe(REVOKED) as hints, anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_fresh)
            async for hint in hints:
                self._hear(hint.payload)
                self._stale.set()

    async def _keep_fresh(self) -> None:
        """Read the truth after a hint, and now and then without one: hints may be lost."""
        while True:
            with anyio.move_on_after(REFRESH_S):
                await self._stale.wait()
            self._stale = anyio.Event()
            await self._try_refresh()

    async def _try_refresh(self) -> None:
        if self._keys_at is None:
            return  # nobody asked yet; the first who does reads all
        try:
            await self.refresh()
        except Unavailable as error:
            log.warning("revocations.not_read", why=error.detail)

    def revoke(self, revision: int, token_ids: Iterable[str]) -> None:
        """Let *token_ids* no longer count, before the list of *revision* has been read."""
        named = list(token_ids)
        self._heard |= dict.fromkeys(named, revision)
        self._verifier.add_revoked(named)

    def _hear(self, payload: Mapping[str, object]) -> None:
        ids, revision = payload.get("ids"), payload.get("revision")
        if isinstance(ids, list) and isinstance(revision, int):
            self.revoke(revision, (str(item) for item in cast("list[object]", ids)))

    async def _load_keys(self, older_than: float | None) -> None:
        """Read the key set, unless there is one and it is newer than *older_than*."""
        async with self._lock:
            if self._keys_at is None or (older_than is not None and self._keys_at <= older_than):
                self._verifier.set_keys(await _ask(self._jwks))
                self._keys_at = self._clock.monotonic()


class ServiceTokens:
    """A service's own token, fetched when needed and kept until shortly before it expires."""

    def __init__(
        self, fetch: Callable[[], Awaitable[tuple[str, str]]], *, clock: Clock | None = None
    ) -> None:
        self._fetch = fetch
        self._clock = clock or SystemClock()
        self._token = ""
        self._renew_at = 0.0
        self._lock = anyio.Lock()

    async def token(self) -> str:
        """The present token; callers that come together share one fetch."""
        async with self._lock:
            if self._clock.now().timestamp() >= self._renew_at:
                token, expires_at = await self._fetch()
                self._token = token
                self._renew_at = datetime.fromisoformat(expires_at).timestamp() - RENEW_S
            return self._token


class Require(SecurityBase):
    """A dependency that yields the caller, or refuses: 401 unknown, 403 not allowed.

    Deriving from FastAPI's base puts the lock on the route in OpenAPI.
    """

    def __init__(self, scopes: Sequence[str], kinds: Sequence[Kind]) -> None:
        self.model = HTTPBearer()
        self.scheme_name = "bearer"
        self._scopes = tuple(scopes)
        self._kinds = frozenset(kinds)

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Check the connection's bearer token."""
        principal = await context_authenticator(connection).principal(bearer_token(connection))
        if principal.kind not in self._kinds:
            raise Forbidden("This kind of caller may not do that.", kind=principal.kind)
        for scope in self._scopes:
            if not principal.may(scope):
                raise Forbidden(f"This needs the scope {scope}.", scope=scope)
        return principal


def require(*scopes: str, kinds: Sequence[Kind] = CALLERS) -> Require:
    """A dependency for callers of *kinds* who hold all of *scopes*."""
    return Require(scopes, kinds)


async def principal_or_none(connection: HTTPConnection) -> Principal | None:
    """A dependency: who calls, None where nobody says so; a token that does not count is 401."""
    if "authorization" not in connection.headers:
        return None
    return await require()(connection)


def context_authenticator(connection: HTTPConnection) -> Authenticator:
    """The authenticator of the application that *connection* came to.

    Raises:
        Unavailable: the application is not wired yet.
    """
    found = getattr(connection.app.state, "authenticator", None)
    if not isinstance(found, Authenticator):
        raise Unavailable("Nobody can be identified here yet.", retry_after_s=1)
    return found


def bearer_token(connection: HTTPConnection) -> str:
    """The token of the one Authorization header.

    Raises:
        Unauthenticated: there is none.
        InvalidToken: there are several, or of another scheme.
    """
    headers = connection.headers.getlist("authorization")
    if not headers:
        raise Unauthenticated("This needs a bearer token. Sign in first.")
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken
    return token.strip()


async def _ask(fetch: Fetch) -> Mapping[str, Any]:
    try:
        return await fetch()
    except BaseServiceError as error:
        raise Unavailable("Identity does not answer just now.", retry_after_s=1) from error
