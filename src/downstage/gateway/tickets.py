"""What the gateway asks of identity: tickets for people, tokens for streamers and seats."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from downstage.auth.tickets import TicketUse
from downstage.contracts.identity import (
    FileBound,
    InstanceTokenRequest,
    RedeemRequest,
    SeatTokenRequest,
    TicketAnswer,
    TicketClaims,
    TicketRequest,
    TokenAnswer,
)
from downstage.gateway.models import Seat, Session
from downstage.gateway.stages import OwnStage
from downstage.kernel.errors import InvalidToken, PlatformError, Unavailable
from downstage.kernel.limits import SOCKET_TICKET_S
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError

__all__ = ["TicketOffice"]

REFUSED = (400, 401, 404, 422)
"""Answers that say: this ticket does not count."""
LONGEST_TICKET = 256
LONGEST_TOKEN = timedelta(days=14)
SHORTEST_TOKEN = timedelta(minutes=1)
AFTER_END = timedelta(minutes=10)
"""A streamer may still have to say something after the longest session."""


class TicketOffice:
    """Tickets and tokens around sessions.

    Args:
        identity: a client with the gateway's own token.
        maximum: the longest session; tokens last no longer.
    """

    def __init__(self, identity: AsyncClient, maximum: timedelta) -> None:
        self._identity = identity
        self._seconds = int(min(max(maximum, SHORTEST_TOKEN), LONGEST_TOKEN).total_seconds())
        link = min(max(maximum, SHORTEST_TOKEN) + AFTER_END, LONGEST_TOKEN)
        self._link_seconds = int(link.total_seconds())

    @property
    def seat_seconds(self) -> int:
        """How long a seat's cookie lasts."""
        return self._seconds

    async def join_code(
        self, session: Session, subject: str, role: str, ttl_s: int
    ) -> TicketAnswer:
        """A code that opens one new seat of *session*, once."""
        return await self._mint("join", subject, session.id, role, ttl_s)

    async def socket_ticket(self, use: TicketUse, seat: Seat) -> TicketAnswer:
        """A ticket for one socket of *seat*, once."""
        return await self._mint(use, seat.subject, seat.session_id, seat.id, SOCKET_TICKET_S)

    async def resume_ticket(self, seat: Seat, ttl_s: int) -> TicketAnswer:
        """A ticket that stands for *seat* once more, once, at any gateway."""
        return await self._mint("resume", seat.subject, seat.session_id, seat.id, ttl_s)

    async def redeem(self, ticket: str, use: TicketUse, session_id: str) -> TicketClaims:
        """Spend *ticket*.

        Raises:
            InvalidToken: used, expired, foreign or unknown; which is not told.
        """
        tickets = self._identity.v1.tickets
        return TicketClaims.model_validate(
            await self._shown(tickets.redeem, ticket, use, session_id)
        )

    async def check(self, ticket: str, use: TicketUse, session_id: str) -> None:
        """Return where *ticket* could be spent; it is not.

        Raises:
            InvalidToken: as for `redeem`.
        """
        await self._shown(self._identity.v1.tickets.check, ticket, use, session_id)

    async def _shown(self, where: Any, ticket: str, use: TicketUse, session_id: str) -> Any:
        if len(ticket) > LONGEST_TICKET:
            raise InvalidToken
        wanted = RedeemRequest(ticket=SecretStr(ticket), use=use, session_id=session_id)
        try:
            return await where.post(wanted)
        except BaseServiceError as error:
            if error.status in REFUSED:
                raise InvalidToken from error
            raise _unavailable(error) from error

    async def instance_token(self, session: Session) -> str:
        """What the session's streamer shows at the link socket."""
        wanted = InstanceTokenRequest(
            instance_id=session.life.instance_id,
            session_id=session.id,
            tenant=session.tenant,
            ttl_s=self._link_seconds,
        )
        return (await self._token(self._identity.v1.instance_tokens.post(wanted))).token

    async def files_token(self, session: Session, stage: OwnStage) -> str:
        """What the session's application shows where files are.

        It reads the stage's folder, and writes the stage, as far as the session's owner may.
        """
        wanted = InstanceTokenRequest(
            instance_id=session.life.instance_id,
            session_id=session.id,
            tenant=session.tenant,
            ttl_s=self._link_seconds,
            owner=session.owner,
            reach=[FileBound(path=stage.folder), FileBound(path=stage.path, writes=True)],
        )
        return (await self._token(self._identity.v1.instance_tokens.post(wanted))).token

    async def end_files(self, instance_id: str) -> None:
        """Let what an instance touched files with no longer count."""
        try:
            await self._identity.v1.instance_tokens[instance_id].delete()
        except BaseServiceError as error:
            raise _unavailable(error) from error

    async def seat_token(self, seat: Seat) -> str:
        """The value of the seat's cookie."""
        wanted = SeatTokenRequest(
            subject=seat.subject,
            tenant=seat.tenant,
            session_id=seat.session_id,
            seat=seat.id,
            role=seat.role,
            ttl_s=self._seconds,
        )
        return (await self._token(self._identity.v1.seat_tokens.post(wanted))).token

    async def _mint(
        self, use: TicketUse, subject: str, session_id: str, seat: str, ttl_s: int
    ) -> TicketAnswer:
        wanted = TicketRequest(
            use=use, subject=subject, session_id=session_id, seat=seat, ttl_s=ttl_s
        )
        try:
            return TicketAnswer.model_validate(await self._identity.v1.tickets.post(wanted))
        except BaseServiceError as error:
            raise _unavailable(error) from error

    async def _token(self, call: Any) -> TokenAnswer:
        try:
            return TokenAnswer.model_validate(await call)
        except BaseServiceError as error:
            raise _unavailable(error) from error


def _unavailable(error: BaseServiceError) -> PlatformError:
    return Unavailable(f"Identity does not answer: {error.detail}", retry_after_s=2)
