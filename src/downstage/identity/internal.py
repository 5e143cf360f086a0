"""Identity's internal routes: what only services may ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Query

from downstage.auth.principal import Principal
from downstage.auth.tokens import Signed
from downstage.contracts.identity import (
    DirectoryPage,
    FilesKeyOpened,
    FilesKeyRequest,
    InstanceTokenRequest,
    RedeemRequest,
    RevocationList,
    SeatTokenRequest,
    ServiceTokenRequest,
    SignInRequest,
    TicketAnswer,
    TicketClaims,
    TicketRequest,
    TokenAnswer,
)
from downstage.identity.routes import answer_of
from downstage.identity.service import IdentityService
from downstage.kernel.errors import Forbidden, InvalidField, InvalidToken
from downstage.kernel.limits import JOIN_CODE_S, RESUME_TICKET_S, SOCKET_TICKET_S
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["internal_router"]

Service = Annotated[Principal, Depends(require(kinds=("service",)))]
Gatekeeper = Annotated[Principal, Depends(require("tickets:write", kinds=("service",)))]
Clerk = Annotated[Principal, Depends(require("users:read", kinds=("service",)))]
LONGEST_S = {
    "join": JOIN_CODE_S,
    "signalling": SOCKET_TICKET_S,
    "media": SOCKET_TICKET_S,
    "resume": RESUME_TICKET_S,
}


def internal_router(service: IdentityService) -> ServiceAPIRouter:
    """Every route that only services reach."""
    router = ServiceAPIRouter(tags=["identity (internal)"])
    _add_tickets(router, service)
    _add_tokens(router, service)
    return router


def _add_tickets(router: ServiceAPIRouter, service: IdentityService) -> None:
    async def mint(body: TicketRequest, caller: Gatekeeper) -> TicketAnswer:
        """Mint a one-time ticket."""
        _check(body)
        ticket, expires_at = await service.tickets.mint(
            body.use,
            body.subject,
            timedelta(seconds=body.ttl_s),
            tenant=caller.tenant,
            session_id=body.session_id,
            seat=body.seat,
        )
        return TicketAnswer(ticket=ticket, expires_at=expires_at)

    async def redeem(body: RedeemRequest, caller: Gatekeeper) -> TicketClaims:
        """Spend a ticket; whatever is wrong with it, the answer is the same 401."""
        del caller
        spent = await service.tickets.redeem(
            body.ticket.get_secret_value(), body.use, body.session_id
        )
        return TicketClaims(
            use=spent.use,
            subject=spent.subject,
            tenant=spent.tenant,
            session_id=spent.session_id,
            seat=spent.seat,
        )

    async def check(body: RedeemRequest, caller: Gatekeeper) -> None:
        """Whether a ticket could be spent; it is not. Otherwise the same 401."""
        del caller
        ticket = body.ticket.get_secret_value()
        if not await service.tickets.is_valid(ticket, body.use, body.session_id):
            raise InvalidToken("The ticket is not valid.")

    router.post("/v1/tickets", status_code=201)(mint)
    router.post("/v1/tickets/redeem")(redeem)
    router.post("/v1/tickets/check", status_code=204)(check)


def _add_tokens(router: ServiceAPIRouter, service: IdentityService) -> None:
    async def service_token(body: ServiceTokenRequest) -> TokenAnswer:
        """A built-in service's own token, for the host's secret."""
        secret = body.boot_secret.get_secret_value()
        return answer_of(await service.issue.for_service(body.service, secret, body.act))

    async def instance_token(body: InstanceTokenRequest, caller: Service) -> TokenAnswer:
        """The token of one instance; the keeper of files may ask for one that reaches files."""
        _check_launcher(caller, files=body.reach is not None)
        return answer_of(await service.issue.for_instance(body))

    async def end_instance(instance_id: str, caller: Service) -> None:
        """End what an instance touches files with."""
        _check_launcher(caller, files=True)
        await service.issue.revoke_instance(instance_id)

    async def directory(
        caller: Clerk,
        limit: Annotated[int, Query(ge=1, le=1000)] = 500,
        after: Annotated[str | None, Query(max_length=128)] = None,
    ) -> DirectoryPage:
        """All users as rights name them, by name."""
        del caller
        return await service.users.directory(limit, after)

    async def seat_token(body: SeatTokenRequest, caller: Gatekeeper) -> TokenAnswer:
        """The token of one seat."""
        del caller
        return answer_of(await service.issue.for_seat(body))

    async def sign_in(body: SignInRequest, caller: Gatekeeper) -> TokenAnswer:
        """A person signs in at another service's door; attempts count for the address it names."""
        del caller
        return answer_of(await _sign_in(service, body))

    async def open_files_key(body: FilesKeyRequest, caller: Gatekeeper) -> FilesKeyOpened:
        """What checks the signatures of a files key."""
        del caller
        secret, signed = await service.files_keys.open(body.access_key_id)
        return FilesKeyOpened(
            secret_access_key=secret, token=signed.token, expires_at=signed.expires_at
        )

    async def revocations(caller: Service) -> RevocationList:
        """Ids of tokens that no longer count."""
        del caller
        return await service.revocations.list()

    router.post("/v1/service-tokens", responses=refusals(401, 403))(service_token)
    router.post("/v1/instance-tokens")(instance_token)
    router.delete("/v1/instance-tokens/{instance_id}", status_code=204)(end_instance)
    router.get("/v1/directory")(directory)
    router.post("/v1/seat-tokens")(seat_token)
    router.post("/v1/sign-ins", responses=refusals(401, 429))(sign_in)
    router.post("/v1/files-keys/open", responses=refusals(404))(open_files_key)
    router.get("/v1/revocations")(revocations)


async def _sign_in(service: IdentityService, body: SignInRequest) -> Signed:
    password = body.password.get_secret_value()
    lifetime = timedelta(seconds=body.expires_in_s) if body.expires_in_s else None
    if body.by_name and body.username == password:
        guest = await service.sign_in_guest(body.username, body.address, lifetime)
        if guest is not None:
            return guest
    return await service.sign_in(body.username, password, body.address, lifetime)


def _check_launcher(caller: Principal, *, files: bool) -> None:
    """Whoever starts instances makes their tokens; whoever mints tickets, those for *files*.

    Raises:
        Forbidden: neither.
    """
    if not caller.may("instances:write") and not (files and caller.may("tickets:write")):
        raise Forbidden("This needs the scope instances:write.", scope="instances:write")


def _check(body: TicketRequest) -> None:
    """What the model cannot say: the longest life by use, and that a socket has a session."""
    longest = LONGEST_S.get(body.use)
    if longest is None:
        raise InvalidField("use", "Set-up codes are made by the first start alone.")
    if body.ttl_s > longest:
        raise InvalidField("ttl_s", f"A {body.use} ticket lives at most {longest} s.")
    if body.session_id is None:
        raise InvalidField("session_id", f"A {body.use} ticket belongs to one session.")
