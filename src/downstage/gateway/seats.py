"""Seats: join codes in, cookies and socket tickets out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

import anyio
from pydantic import SecretStr
from starlette.responses import Response

from downstage.auth.principal import Principal
from downstage.contracts.gateway import JoinLink, SeatAnswer, SocketTicket
from downstage.gateway.admission import COOKIE, Admission
from downstage.gateway.models import Seat, Session
from downstage.gateway.resume import Resume
from downstage.gateway.sessions import Sessions
from downstage.gateway.tickets import TicketOffice
from downstage.kernel.errors import Conflict, InvalidToken, Misdirected
from downstage.kernel.limits import JOIN_CODE_S

__all__ = ["Seats"]


@dataclass(slots=True)
class _Bundle:
    """What a new seat is handed, gathered in parallel."""

    cookie: str | None = None
    resume: str | None = None
    tickets: dict[str, str] = field(default_factory=dict[str, str])


class Seats:
    """Hands out seats of sessions.

    Args:
        office: mints codes, tickets and cookies.
        admission: takes seats.
        sessions: of this gateway.
        public: address by which browsers reach us.
        code_life: how long a join code opens a session.
        resume: how pages come back at other gateways.
    """

    def __init__(
        self,
        office: TicketOffice,
        admission: Admission,
        sessions: Sessions,
        public: str,
        code_life: timedelta,
        *,
        resume: Resume,
    ) -> None:
        self._office = office
        self._resume = resume
        self._admission = admission
        self._sessions = sessions
        self._public = public.rstrip("/")
        self._code_s = max(1, min(int(code_life.total_seconds()), JOIN_CODE_S))

    async def link(self, session: Session, subject: str) -> JoinLink:
        """A link that opens *session* once, as its controller; the code is in the fragment.

        It leads to the session's home: to us, where its home is dead.
        """
        _check_open(session)
        code = await self._office.join_code(session, subject, "controller", self._code_s)
        base = self._public
        try:
            await self._admission.at_home(session)
        except Misdirected as error:
            base = error.home
        url = f"{base}/?session={session.id}#join={code.ticket}"
        return JoinLink(join_url=url, code=code.ticket, expires_at=code.expires_at)

    async def by_code(self, session_id: str, code: SecretStr) -> tuple[Session, Seat]:
        """A new seat for who shows a join code.

        Raises:
            InvalidToken: used, expired, foreign or unknown code.
            Misdirected: another gateway drives the session; the code may still be used there.
        """
        await self._admission.check_home(code.get_secret_value(), "join", session_id)
        claims = await self._office.redeem(code.get_secret_value(), "join", session_id)
        session = await self._sessions.store.get(session_id)
        if session is None or claims.tenant != session.tenant:
            raise InvalidToken
        _check_open(session)
        seat = await self._admission.take_seat(session, claims.subject, claims.seat or "")
        return session, seat

    async def by_person(self, principal: Principal, session: Session) -> Seat:
        """A new seat for somebody signed in, or the one that the cookie holds."""
        _check_open(session)
        session = await self._admission.at_home(session)
        if principal.kind == "seat":
            return await self._admission.seat_of(principal, session)
        return await self._admission.take_seat(session, principal.subject, "controller")

    async def answer(
        self, session: Session, seat: Seat, response: Response, *, with_cookie: bool
    ) -> SeatAnswer:
        """The seat with a ticket for each socket, and its cookie on *response*."""
        bundle = _Bundle()
        async with anyio.create_task_group() as tasks:
            if with_cookie:
                tasks.start_soon(self._bake, seat, bundle)
            tasks.start_soon(self._mint, "signalling", seat, bundle)
            tasks.start_soon(self._mint, "media", seat, bundle)
            tasks.start_soon(self._let_resume, seat, bundle)
        if bundle.cookie is not None:
            self._set_cookie(response, session.id, bundle.cookie)
        return SeatAnswer(
            session=self._sessions.view(session),
            seat=seat.id,
            role=seat.role,
            signalling_ticket=bundle.tickets["signalling"],
            media_ticket=bundle.tickets["media"],
            resume_ticket=bundle.resume,
            gateways=self._resume.gateways,
        )

    async def ticket(self, use: str, seat: Seat) -> SocketTicket:
        """A ticket for one socket."""
        use_ = "signalling" if use == "signalling" else "media"
        minted = await self._office.socket_ticket(use_, seat)
        return SocketTicket(ticket=minted.ticket, expires_at=minted.expires_at)

    async def _bake(self, seat: Seat, bundle: _Bundle) -> None:
        bundle.cookie = await self._office.seat_token(seat)

    async def _let_resume(self, seat: Seat, bundle: _Bundle) -> None:
        bundle.resume = await self._resume.ticket(seat)

    async def _mint(self, use: str, seat: Seat, bundle: _Bundle) -> None:
        bundle.tickets[use] = (await self.ticket(use, seat)).ticket

    def _set_cookie(self, response: Response, session_id: str, value: str) -> None:
        response.set_cookie(
            COOKIE,
            value,
            max_age=self._office.seat_seconds,
            path=f"/v1/sessions/{session_id}",
            secure=urlsplit(self._public).scheme == "https",
            httponly=True,
            samesite="strict",
        )


def _check_open(session: Session) -> None:
    if session.life.state in ("ending", "ended"):
        raise Conflict("The session has ended. Start a new one.", state=session.life.state)
