"""Who may come in: origins, bearer tokens, seat cookies, one-time tickets.

==================  =============================================================================
a page's socket     its Origin must be ours, and a ticket must come as a sub-protocol
a program's socket  no Origin; a ticket, or a bearer token
a page's request    bearer token, or the seat's cookie from our own origin and with JSON, or
                    from another gateway a resume ticket
a program's request bearer token
==================  =============================================================================

A cookie never opens a socket, a session's id never opens anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket

from downstage.auth.principal import Principal
from downstage.auth.tickets import TicketUse
from downstage.gateway.models import Seat, Session
from downstage.gateway.store import Store
from downstage.gateway.tickets import TicketOffice
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Forbidden, InvalidToken, NotFound, Unauthenticated
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.services.facilities.principal import bearer_token, context_authenticator

__all__ = [
    "COOKIE",
    "PROTOCOL",
    "RESUME",
    "TICKET_PREFIX",
    "Admission",
    "AtHome",
    "Entry",
]

COOKIE = "downstage-seat"
PROTOCOL = "downstage.v1"
RESUME = "downstage-resume"
"""Header of a page that comes from another gateway: its resume ticket."""
TICKET_PREFIX = "downstage.ticket."
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PEOPLE = frozenset({"user", "token"})
log = get_logger(__name__)

AtHome = Callable[[Session], Awaitable[Session]]


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody who was let in to a session."""

    session: Session
    seat: Seat


class Admission:
    """Lets people in to sessions.

    Args:
        origins: of pages that may call us.
        store: to find sessions and seats.
        office: redeems tickets.
        clock: of the platform.
        at_home: a session as one that this gateway drives, else `Misdirected`.
    """

    def __init__(
        self,
        origins: frozenset[str],
        store: Store,
        office: TicketOffice,
        clock: Clock,
        at_home: AtHome,
    ) -> None:
        self.refused = Counter[str]()
        """Handshakes refused, by cause."""
        self.origins = origins
        self._store = store
        self._office = office
        self._clock = clock
        self.at_home = at_home

    def is_own_origin(self, connection: HTTPConnection) -> bool | None:
        """Whether the one Origin is ours; None where there is none."""
        given = connection.headers.getlist("origin")
        if not given:
            return None
        return len(given) == 1 and given[0].lower() in self.origins

    async def caller(self, request: Request, session_id: str) -> Principal:
        """Who asks about one session: by bearer token, resume ticket, or the seat's cookie.

        Raises:
            Misdirected: another gateway drives it; the ticket may still be used there.
            Unauthenticated, InvalidToken: nobody that we know.
            Forbidden: a page of another origin uses the cookie.
        """
        if request.headers.get("authorization") is not None:
            principal = await context_authenticator(request).principal(bearer_token(request))
            if principal.kind not in PEOPLE:
                raise Forbidden("This kind of caller may not do that.", kind=principal.kind)
            return principal
        resume = request.headers.get(RESUME)
        if resume is not None:
            return await self._by_resume(resume, session_id)
        cookie = request.cookies.get(COOKIE)
        if cookie is None:
            raise Unauthenticated("This needs a bearer token or a seat. Open the session's link.")
        principal = await context_authenticator(request).principal(cookie)
        if principal.kind != "seat" or principal.session_id != session_id:
            raise InvalidToken
        self._check_page(request)
        return principal

    async def session(self, principal: Principal, session_id: str, *scopes: str) -> Session:
        """The session, if *principal* may see it; a seat may see its own.

        Raises:
            NotFound: absent, or not theirs.
            Forbidden: theirs, but the token's scopes do not reach so far.
        """
        session = await self._store.get(session_id)
        if session is None or not _is_theirs(principal, session):
            raise NotFound("There is no such session.")
        if principal.kind != "seat":
            for scope in scopes:
                if not principal.may(scope):
                    raise Forbidden(f"This needs the scope {scope}.", scope=scope)
        return session

    async def take_seat(self, session: Session, subject: str, role: str) -> Seat:
        """A new seat of *session*."""
        role_ = "controller" if role == "controller" else "spectator"
        now = self._clock.now()
        seat = Seat(new_id("s"), session.id, session.tenant, subject, role_, now)
        await self._store.add_seat(seat)
        return seat

    async def seat_of(self, principal: Principal, session: Session) -> Seat:
        """The seat that *principal* holds.

        Raises:
            InvalidToken: it holds none of this session.
        """
        seat = await self._store.seat(session.id, principal.seat or "")
        if seat is None:
            raise InvalidToken
        return seat

    async def socket(self, websocket: WebSocket, session_id: str, use: TicketUse) -> Entry:
        """Let a viewer's socket in; called before the handshake is answered.

        Raises:
            Forbidden: a foreign Origin, or a cookie without one.
            Unauthenticated, InvalidToken: no ticket that counts.
            NotFound: the session is not theirs, or gone.
            Misdirected: another gateway drives it; the ticket may still be used there.
        """
        own = self.is_own_origin(websocket)
        ticket = _ticket(websocket)
        has_bearer = own is None and websocket.headers.get("authorization") is not None
        if own is False:
            self.refuse("origin")
            raise Forbidden("This page may not open sockets here.")
        if own is None and ticket is None and not has_bearer:
            if websocket.headers.get("cookie") is not None:
                self.refuse("cookie")
                raise Forbidden("A cookie alone opens no socket.")
            self.refuse("no-credential")
            raise Unauthenticated("This socket needs a ticket.")
        if ticket is not None:
            return await self.by_ticket(ticket, session_id, use)
        if has_bearer:
            return await self._by_bearer(websocket, session_id)
        self.refuse("no-credential")
        raise Unauthenticated("This socket needs a ticket.")

    async def by_ticket(self, ticket: str, session_id: str, use: TicketUse) -> Entry:
        """Who shows *ticket*, which is spent.

        Raises:
            InvalidToken: it does not count; why is not told.
            Misdirected: another gateway drives the session; the ticket may still be used there.
        """
        try:
            await self.check_home(ticket, use, session_id)
            claims = await self._office.redeem(ticket, use, session_id)
        except InvalidToken:
            self.refuse("ticket")
            raise
        session = await self._store.get(session_id)
        seat = await self._store.seat(session_id, claims.seat or "")
        if session is None or seat is None or seat.subject != claims.subject:
            self.refuse("ticket")
            raise InvalidToken
        return Entry(session, seat)

    async def check_home(self, ticket: str, use: TicketUse, session_id: str) -> None:
        """Return where this gateway drives the session, or if there is none.

        Raises:
            InvalidToken: it is at home elsewhere, which nobody is told without a ticket.
            Misdirected: another gateway drives it; the ticket may still be used there.
        """
        session = await self._store.get(session_id)
        if session is None or self._store.peek(session_id) is not None:
            return
        await self._office.check(ticket, use, session_id)
        await self.at_home(session)

    async def _by_bearer(self, websocket: WebSocket, session_id: str) -> Entry:
        principal = await context_authenticator(websocket).principal(bearer_token(websocket))
        if principal.kind not in PEOPLE:
            raise Forbidden("This kind of caller may not do that.", kind=principal.kind)
        session = await self.session(principal, session_id, "sessions:write")
        session = await self.at_home(session)
        return Entry(session, await self.take_seat(session, principal.subject, "controller"))

    async def _by_resume(self, ticket: str, session_id: str) -> Principal:
        entry = await self.by_ticket(ticket, session_id, "resume")
        seat = entry.seat
        return Principal(
            seat.subject,
            seat.subject,
            "seat",
            tenant=seat.tenant,
            session_id=session_id,
            seat=seat.id,
            role=seat.role,
        )

    def _check_page(self, request: Request) -> None:
        """A cookie comes by itself: the page that sends it must be ours."""
        site = request.headers.get("sec-fetch-site")
        own = self.is_own_origin(request)
        if own is False or (site is not None and site not in ("same-origin", "none")):
            self.refuse("origin")
            raise Forbidden("This page may not use the cookie of a seat.")
        if request.method in SAFE:
            return
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if own is None and site is None:
            raise Forbidden("A cookie alone changes nothing: no Origin was sent.")
        if kind != "application/json":
            raise Forbidden("Changes by a seat's cookie are sent as application/json.")

    def refuse(self, cause: str) -> None:
        """Count, and log, a handshake that is refused."""
        self.refused[cause] += 1
        log.warning("admission.refused", cause=cause)


def _is_theirs(principal: Principal, session: Session) -> bool:
    if principal.tenant != session.tenant:
        return False
    if principal.kind == "seat":
        return principal.session_id == session.id
    return principal.subject == session.owner or principal.may("sessions:admin")


def _ticket(websocket: WebSocket) -> str | None:
    offered = websocket.scope.get("subprotocols", [])
    found = [item for item in offered if item.startswith(TICKET_PREFIX)]
    return found[0].removeprefix(TICKET_PREFIX) if len(found) == 1 else None
