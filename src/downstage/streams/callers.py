"""Who asks: from a request or a socket to a caller, and how long what it opened may stay."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

from starlette.requests import HTTPConnection

from downstage.auth.principal import Principal
from downstage.auth.scopes import ROLES
from downstage.kernel.errors import (
    Forbidden,
    InvalidToken,
    TooMany,
    Unauthenticated,
)
from downstage.kernel.logging import get_logger
from downstage.streams.credentials import Headers, Shown, is_loopback, is_sample, shown
from downstage.streams.model import Caller, Right
from downstage.streams.rights import caller_of
from downstage.streams.tickets import Purpose, Tickets

__all__ = ["Callers", "Guest"]

CHECK_S = 10.0
"""How often it is looked at whether those who are in still may be."""
POLICY = 1008
MOST = 20_000
"""Sockets and open answers at once."""
MOST_OF_ONE = 12_000
KEPT = 8192
"""Callers remembered by their tokens."""
SAMPLE_NAME = "ptg"
"""Whom the data server's sample token stands for, in a demo."""
log = get_logger(__name__)

End = Callable[[int, str], None]
"""Closes what is open, with a WebSocket's code and a reason."""


class Proving(Protocol):
    """Proves callers, and tells when they no longer count: the platform's authenticator."""

    async def principal(self, token: str) -> Principal:
        """The principal that *token* proves."""
        ...

    def counts(self, principal: Principal) -> bool:
        """Whether *principal* would still be let in."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Guest:
    """Somebody who was let in."""

    principal: Principal
    caller: Caller
    is_open: bool = False
    """In a demo on this machine, by a token that everybody knows."""
    by_ticket: bool = False
    """By a one-time ticket: the caller may do what that was made for, and no more."""


@dataclass(slots=True, eq=False)
class _Stay:
    guest: Guest
    end: End


@dataclass(slots=True)
class Callers:
    """Lets callers in.

    Args:
        proving: of the platform.
        tickets: of this service.
        origins: of pages that are ours.
        is_demo: whether the platform is a demo.

    Attributes:
        refused: requests and handshakes refused, by cause.
    """

    proving: Proving
    tickets: Tickets
    origins: frozenset[str]
    is_demo: bool = False
    most: int = MOST
    most_of_one: int = MOST_OF_ONE
    refused: Counter[str] = field(default_factory=Counter[str])
    _kept: OrderedDict[str, Caller] = field(default_factory=OrderedDict[str, Caller])
    _stays: set[_Stay] = field(default_factory=set[_Stay])
    _of_one: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    async def of_connection(
        self, connection: HTTPConnection, *, purpose: Purpose = "read", cookies: bool = True
    ) -> Guest:
        """Who sent a request, or opens a socket; see `prove`."""
        return await self.of_scope(connection.scope, purpose=purpose, cookies=cookies)

    async def of_scope(
        self, scope: Mapping[str, Any], *, purpose: Purpose = "read", cookies: bool = True
    ) -> Guest:
        """The same of an ASGI scope."""
        client = cast("tuple[str, int] | None", scope.get("client"))
        return await self.prove(
            cast("Headers", scope["headers"]),
            cast("bytes", scope.get("query_string", b"")),
            client=client[0] if client else "",
            socket=scope["type"] == "websocket",
            purpose=purpose,
            cookies=cookies,
        )

    async def prove(
        self,
        headers: Headers,
        query: bytes,
        *,
        client: str,
        socket: bool,
        purpose: Purpose,
        cookies: bool = True,
    ) -> Guest:
        """Who asks, by the token in the query, the header or the cookie, in this order.

        Args:
            headers: of the request.
            query: of its address, as it was sent; never logged.
            client: network address of whoever asks.
            socket: whether this opens a WebSocket.
            purpose: what for; a ticket opens what it was made for alone.
            cookies: whether a cookie counts here.

        Raises:
            Unauthenticated: no token. InvalidToken: one that proves nobody.
            Forbidden: a page of somebody else, or nothing of streams is theirs.
        """
        headers = list(headers)
        given = shown(headers, query, cookies=cookies)
        self._check_page(given, socket=socket)
        here = self._is_demo_here(client, given)
        if given.place is None:
            raise Unauthenticated("Not authenticated")
        if is_sample(given.token):
            return self._by_sample(here=here)
        if given.place != "query":
            principal = await self.proving.principal(given.token)
            return Guest(principal, self.of(principal))
        return await self._by_query(given.token, purpose, here=here)

    def of(self, principal: Principal) -> Caller:
        """*principal* as the rules of streams see them.

        Raises:
            Forbidden: nothing of streams is theirs.
        """
        found = self._kept.get(principal.token_id)
        if found is None:
            found = caller_of(principal)
            if principal.token_id:
                self._kept[principal.token_id] = found
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def demo_here(self, client: str, headers: Headers) -> bool:
        """Whether this is a demo and the request is from this machine, by its own name."""
        return self._is_demo_here(client, shown(headers, b"", cookies=False))

    # Who is in, and may stay.

    @contextmanager
    def staying(self, guest: Guest, end: End) -> Generator[None]:
        """While something of *guest* is open; *end* is called when it may not be any longer.

        Raises:
            TooMany: too much is open.
        """
        self.refuse_more(guest)
        who = _who(guest)
        stay = _Stay(guest, end)
        self._stays.add(stay)
        self._of_one[who] += 1
        try:
            yield
        finally:
            self._stays.discard(stay)
            self._of_one[who] -= 1
            if not self._of_one[who]:
                del self._of_one[who]

    def refuse_more(self, guest: Guest) -> None:
        """Return where something more of *guest* may be open.

        Raises:
            TooMany: too much is.
        """
        if len(self._stays) >= self.most or self._of_one[_who(guest)] >= self.most_of_one:
            self.refused["too-many"] += 1
            raise TooMany("Too many sockets are open.", retry_after_s=5)

    @property
    def count(self) -> int:
        """How much is open."""
        return len(self._stays)

    async def run(self) -> None:
        """`check` now and then, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            self.check()

    def check(self) -> None:
        """End what is open for tokens that no longer count."""
        for stay in list(self._stays):
            if not stay.guest.is_open and not self.proving.counts(stay.guest.principal):
                stay.end(POLICY, "invalid-token")

    # How they are told apart.

    async def _by_query(self, token: str, purpose: Purpose, *, here: bool) -> Guest:
        principal = self.tickets.redeem(token, purpose)
        if principal is not None and self.proving.counts(principal):
            return Guest(principal, _for(purpose, self.of(principal)), by_ticket=True)
        if here:
            principal = await self.proving.principal(token)
            return Guest(principal, self.of(principal))
        self._refuse("query")
        raise InvalidToken(
            "An address takes a one-time ticket alone (POST /v1/streams/tickets), and this is none."
        )

    def _is_demo_here(self, client: str, given: Shown) -> bool:
        """What works in a demo alone also needs to come from no page of somebody else."""
        return (
            self.is_demo
            and is_loopback(client)
            and is_loopback(given.host)
            and not given.is_cross_site
            and all(origin in self.origins for origin in given.origins)
        )

    def _by_sample(self, *, here: bool) -> Guest:
        if not here:
            self._refuse("sample")
            raise InvalidToken(
                "This token is printed in public. It works with downstage up --demo alone, on the "
                "machine itself: sign in, or make one with downstage token."
            )
        scopes = frozenset(scope for scope in ROLES["user"] if scope.startswith("streams:"))
        principal = Principal(SAMPLE_NAME, SAMPLE_NAME, "token", scopes=scopes)
        return Guest(principal, caller_of(principal), is_open=True)

    def _check_page(self, given: Shown, *, socket: bool) -> None:
        """Whether the page that asks, where one does, may use what it showed.

        Raises:
            Forbidden: it is somebody else's.
        """
        own = len(given.origins) == 1 and given.origins[0] in self.origins
        by_cookie = given.place == "cookie"
        if given.origins and not own and (socket or by_cookie):
            self._refuse("origin")
            raise Forbidden("This page may not use this server.")
        if by_cookie and given.is_cross_site and not own:
            self._refuse("origin")
            raise Forbidden("This page may not use this server.")
        if by_cookie and socket and not given.origins:
            self._refuse("cookie")
            raise Forbidden("A cookie alone opens no socket.")

    def _refuse(self, cause: str) -> None:
        self.refused[cause] += 1
        log.warning("streams.caller_refused", cause=cause)


def _who(guest: Guest) -> tuple[str, str]:
    return guest.caller.tenant, guest.caller.subject


def _for(purpose: Purpose, caller: Caller) -> Caller:
    """*caller* as far as a ticket of *purpose* goes."""
    most = Right.WRITE if purpose == "push" else Right.READ
    grants = (replace(grant, rights=grant.rights & most) for grant in caller.grants)
    return replace(caller, grants=tuple(grant for grant in grants if grant.rights))
