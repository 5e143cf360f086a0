"""``POST /token``: name and password for a token and a cookie. Identity alone sees the password."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Form, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request

from downstage.kernel.clock import Clock
from downstage.kernel.errors import TooMany, Unavailable
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError
from downstage.streams.callers import Callers
from downstage.streams.credentials import COOKIE
from downstage.streams.dialects.ptg.answers import Json
from downstage.streams.dialects.ptg.dialect import Dialect
from downstage.streams.dialects.ptg.door import Door

__all__ = ["cookie_of", "token_routes"]

LONGEST_S = 366 * 86400
MARGIN = timedelta(seconds=60)
"""The cookie ends this long before the token: clients renew what they can still use."""
REFUSED = ("unauthenticated", "invalid-field")
"""What identity says of a wrong name or password; other refusals are about ourselves."""
TOO_MANY = 429
WAIT_S = 60
Name = Annotated[str, Form(max_length=128)]
Password = Annotated[str, Form(max_length=1024)]
Seconds = Annotated[int | None, Query(ge=1, le=LONGEST_S)]


def token_routes(door: Door, callers: Callers, identity: AsyncClient, clock: Clock) -> Dialect:
    """The route.

    Args:
        door: of the dialect.
        callers: of the service.
        identity: a client of identity, with this service's own token.
        clock: of the platform.
    """
    dialect = Dialect(door, "token")

    async def make_token(
        request: Request, username: Name, password: Password, exp: Seconds = None
    ) -> Json:
        """Sign in: a bearer token, and the same as a cookie; *exp* shortens both, in seconds."""
        address = request.client.host if request.client else "unknown"
        body = {
            "username": username,
            "password": password,
            "address": address,
            "expires_in_s": exp,
            "by_name": callers.demo_here(address, request.headers.raw),
        }
        try:
            answer = await identity.v1.sign_ins.post(**body)
        except BaseServiceError as error:
            raise _refusal(error) from error
        life = datetime.fromisoformat(answer["expires_at"]) - clock.now()
        kept = max(1, round((life if exp is not None else life - MARGIN).total_seconds()))
        token: str = answer["token"]
        headers = {
            "cache-control": "no-store",
            "set-cookie": cookie_of(token, kept, secure=request.url.scheme == "https"),
        }
        return Json({"access_token": token, "token_type": "bearer"}, headers=headers)

    dialect.serve("POST", "/token", make_token, 400, 413, 429)
    return dialect


def cookie_of(token: str, kept_s: int, *, secure: bool) -> str:
    """As the data server's clients know it; only over TLS where it was asked for over TLS."""
    cookie = f'{COOKIE}="Bearer {token}"; HttpOnly; Max-Age={kept_s}; Path=/; SameSite=lax'
    return f"{cookie}; Secure" if secure else cookie


def _refusal(error: BaseServiceError) -> Exception:
    if error.code in REFUSED:
        headers = {"www-authenticate": "Bearer"}
        return HTTPException(401, "Incorrect username or password", headers)
    if error.status == TOO_MANY:
        wait = error.retry_after or WAIT_S
        return TooMany("Too many attempts. Wait a few minutes.", retry_after_s=wait)
    return Unavailable("Identity does not answer just now.", retry_after_s=1)
