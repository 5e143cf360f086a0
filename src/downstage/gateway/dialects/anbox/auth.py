"""Who calls this dialect: the one token model, in the spellings that its clients use.

=====================================  ====================================================
``Authorization: Macaroon root=TOKEN``  as its SDK sends it; the scheme in any case
``Authorization: Bearer TOKEN``         as everywhere else
``?api_token=TOKEN``                    for clients that can do no other; a header is safer
=====================================  ====================================================
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from downstage.auth.principal import Principal
from downstage.gateway.admission import PEOPLE
from downstage.kernel.errors import Forbidden, InvalidToken, Unauthenticated
from downstage.services.facilities.principal import context_authenticator

__all__ = ["Operator", "Reader", "Somebody", "Writer", "given_token", "identify"]

SCHEMES = ("macaroon", "bearer")
ROOT = "root="
LONGEST = 8192


def given_token(request: Request) -> str:
    """The token that *request* shows; a header counts before the query.

    Raises:
        Unauthenticated: it shows none.
        InvalidToken: several, of another scheme, or empty.
    """
    headers = request.headers.getlist("authorization")
    if not headers:
        given = request.query_params.getlist("api_token")
        if not given:
            raise Unauthenticated(
                "This needs a token: Authorization: Macaroon root=<token>. Make one with "
                "POST /v1/tokens."
            )
        return _checked(given)
    scheme, _, rest = headers[0].strip().partition(" ")
    if scheme.lower() not in SCHEMES:
        raise InvalidToken
    token = rest.strip()
    if scheme.lower() == "macaroon":
        if token[: len(ROOT)].lower() != ROOT:
            raise InvalidToken
        token = token[len(ROOT) :].strip().strip('"')
    return _checked([token, *headers[1:]])


async def identify(request: Request, *scopes: str) -> Principal:
    """The caller, who must hold all of *scopes*.

    Raises:
        Unauthenticated, InvalidToken: nobody that we know.
        Forbidden: somebody who may not.
    """
    caller = await context_authenticator(request).principal(given_token(request))
    if caller.kind not in PEOPLE and caller.kind != "service":
        raise Forbidden("This kind of caller may not do that.", kind=caller.kind)
    for scope in scopes:
        if not caller.may(scope):
            raise Forbidden(f"This needs the scope {scope}.", scope=scope)
    return caller


class _Identified(SecurityBase):
    """A dependency that yields the caller: who is not known learns nothing of what would fit."""

    def __init__(self, *scopes: str) -> None:
        self.model = HTTPBearer()
        self.scheme_name = "bearer"
        self._scopes = scopes

    async def __call__(self, request: Request) -> Principal:
        return await identify(request, *self._scopes)


Somebody = Annotated[Principal, Depends(_Identified())]
Reader = Annotated[Principal, Depends(_Identified("sessions:read"))]
Writer = Annotated[Principal, Depends(_Identified("sessions:write"))]
Operator = Annotated[Principal, Depends(_Identified("operate"))]


def _checked(found: list[str]) -> str:
    if len(found) != 1 or not 1 <= len(found[0]) <= LONGEST:
        raise InvalidToken
    return found[0]
