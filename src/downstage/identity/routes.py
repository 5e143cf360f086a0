"""Identity's public routes: keys, sign-in, users, API tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from downstage.auth.principal import Principal, StreamBound
from downstage.auth.tokens import Signed
from downstage.contracts.identity import (
    ApiTokenCreate,
    ApiTokenPage,
    ApiTokenSecret,
    FilesKeySecret,
    LoginRequest,
    PrincipalView,
    SetupRequest,
    StreamGrant,
    TokenAnswer,
    UserCreate,
    UserPage,
    UserPatch,
    UserView,
)
from downstage.identity.issue import grants_of
from downstage.identity.service import IdentityService
from downstage.kernel.errors import InvalidField
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["address_of", "answer_of", "public_router"]

Caller = Annotated[Principal, Depends(require())]
Reader = Annotated[Principal, Depends(require("users:read", kinds=("user", "token")))]
Editor = Annotated[Principal, Depends(require("users:write", kinds=("user", "token")))]
TokenMaker = Annotated[Principal, Depends(require("tokens:write", kinds=("user", "token")))]


def answer_of(signed: Signed) -> TokenAnswer:
    """A signed token as it is answered."""
    return TokenAnswer(token=signed.token, expires_at=signed.expires_at)


def address_of(request: Request) -> str:
    """The caller's network address, as far as the server knows it."""
    return request.client.host if request.client else "unknown"


def public_router(service: IdentityService) -> ServiceAPIRouter:
    """Every route that people and programs may reach."""
    router = ServiceAPIRouter(tags=["identity"])
    _add_auth(router, service)
    _add_users(router, service)
    _add_tokens(router, service)
    return router


def _add_auth(router: ServiceAPIRouter, service: IdentityService) -> None:
    async def jwks(response: Response) -> dict[str, Any]:
        """Public keys that verify our tokens."""
        response.headers["cache-control"] = "public, max-age=60"
        return await service.keys.jwks()

    async def login(body: LoginRequest, request: Request, response: Response) -> TokenAnswer:
        """Sign in by name and password."""
        response.headers["cache-control"] = "no-store"
        password = body.password.get_secret_value()
        return answer_of(await service.sign_in(body.username, password, address_of(request)))

    async def me(caller: Caller) -> PrincipalView:
        """Who I am, as the server sees me."""
        return PrincipalView(
            subject=caller.subject,
            name=caller.name,
            tenant=caller.tenant,
            kind=caller.kind,
            scopes=sorted(caller.scopes),
            streams=grants_of(caller.streams),
        )

    async def setup(body: SetupRequest, request: Request, response: Response) -> TokenAnswer:
        """Make the first administrator."""
        response.headers["cache-control"] = "no-store"
        code, password = body.code.get_secret_value(), body.password.get_secret_value()
        signed = await service.set_up(code, body.username, password, address_of(request))
        return answer_of(signed)

    router.get("/v1/.well-known/jwks.json")(jwks)
    router.post("/v1/auth/login", responses=refusals(401, 429, 503))(login)
    router.get("/v1/auth/me")(me)
    router.post("/v1/auth/setup", responses=refusals(401, 409, 429, 503))(setup)


def _add_users(router: ServiceAPIRouter, service: IdentityService) -> None:
    async def list_users(
        caller: Reader,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        after: Annotated[str | None, Query(max_length=128)] = None,
    ) -> UserPage:
        """All users, by name."""
        del caller
        return await service.users.page(limit, after)

    async def add_user(body: UserCreate, caller: Editor) -> UserView:
        """Add a user."""
        password = body.password.get_secret_value()
        user = await service.users.add(body.name, password, body.groups, held=caller.scopes)
        return user.view()

    async def change_user(name: str, body: UserPatch, caller: Editor) -> UserView:
        """Change a user's password, groups or standing."""
        user = await service.users.change(
            name,
            held=caller.scopes,
            password=body.password.get_secret_value() if body.password else None,
            groups=body.groups,
            disabled=body.disabled,
        )
        return user.view()

    async def remove_user(name: str, caller: Editor) -> None:
        """Remove a user; what they signed in with stops to count."""
        await service.users.remove(name, held=caller.scopes)

    router.get("/v1/users")(list_users)
    router.post("/v1/users", status_code=201, responses=refusals(409))(add_user)
    router.patch("/v1/users/{name}", responses=refusals(404, 409))(change_user)
    router.delete("/v1/users/{name}", status_code=204, responses=refusals(404, 409))(remove_user)


def _add_tokens(router: ServiceAPIRouter, service: IdentityService) -> None:
    async def list_tokens(caller: TokenMaker) -> ApiTokenPage:
        """My API tokens, without their secrets."""
        return ApiTokenPage(items=await service.issue.list_programs(caller))

    async def make_token(
        body: ApiTokenCreate, caller: TokenMaker, response: Response
    ) -> ApiTokenSecret:
        """Make an API token; with no scope named, it holds what the caller holds."""
        response.headers["cache-control"] = "no-store"
        lifetime = timedelta(seconds=body.expires_in_s) if body.expires_in_s else None
        bounds = None if body.streams is None else _bounds(body.streams)
        return await service.issue.for_program(
            caller, body.name, body.scopes or None, lifetime, streams=bounds
        )

    async def revoke_token(token_id: str, caller: TokenMaker) -> None:
        """Revoke one of my API tokens, at once."""
        await service.issue.revoke_program(caller, token_id)

    async def make_files_key(
        body: ApiTokenCreate, caller: TokenMaker, response: Response
    ) -> FilesKeySecret:
        """Make a key for WebDAV and S3; its secret is shown once, and it is revoked as a token."""
        if body.streams is not None:
            raise InvalidField("streams", "A files key opens no streams.")
        response.headers["cache-control"] = "no-store"
        lifetime = timedelta(seconds=body.expires_in_s) if body.expires_in_s else None
        return await service.files_keys.make(caller, body.name, body.scopes or None, lifetime)

    router.get("/v1/tokens")(list_tokens)
    router.post("/v1/files-keys", status_code=201, responses=refusals(409))(make_files_key)
    router.post("/v1/tokens", status_code=201, responses=refusals(409))(make_token)
    router.delete("/v1/tokens/{token_id}", status_code=204, responses=refusals(404))(revoke_token)


def _bounds(grants: Sequence[StreamGrant]) -> tuple[StreamBound, ...]:
    return tuple(StreamBound(grant.pattern, frozenset(grant.rights)) for grant in grants)
