"""Who calls an API whose public clients send no token: by a token, or in a demo on loopback."""

from __future__ import annotations

from ipaddress import ip_address

from fastapi import Depends, Request, params

from downstage.auth.principal import Principal
from downstage.auth.scopes import ROLES
from downstage.gateway.admission import Admission
from downstage.kernel.errors import Forbidden, Unauthenticated
from downstage.services.facilities.principal import bearer_token, context_authenticator

__all__ = ["Door", "is_loopback"]

DEMO_USER = "demo"
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1", "local"})


class Door:
    """Lets callers in.

    Args:
        admission: of this gateway.
        is_demo: whether the platform is a demo: who is at this machine needs no token then.
    """

    def __init__(self, admission: Admission, *, is_demo: bool) -> None:
        self._admission = admission
        self._is_demo = is_demo

    def before(self, *scopes: str) -> list[params.Depends]:
        """Dependencies of a route: who is not let in learns nothing of what would be right."""

        async def check(request: Request) -> None:
            request.state.let_in = await self._identify(request)
            _check(request.state.let_in[0], scopes)

        return [Depends(check)]

    async def caller(self, request: Request, *scopes: str) -> tuple[Principal, bool]:
        """Who asks, by a token; or, in a demo on loopback, anybody at this machine (True).

        Raises:
            Unauthenticated: no token where one is needed, or one that does not count.
            Forbidden: a caller without one of *scopes*.
        """
        caller, is_anybody = getattr(request.state, "let_in", None) or await self._identify(request)
        _check(caller, scopes)
        return caller, is_anybody

    async def _identify(self, request: Request) -> tuple[Principal, bool]:
        if request.headers.get("authorization") is None:
            if not (self._is_demo and self._is_at_home(request)):
                raise Unauthenticated("This needs a bearer token. Sign in first.")
            return Principal(DEMO_USER, DEMO_USER, "user", scopes=ROLES["user"]), True
        caller = await context_authenticator(request).principal(bearer_token(request))
        if caller.kind not in ("user", "token"):
            raise Forbidden("This kind of caller may not do that.", kind=caller.kind)
        return caller, False

    def _is_at_home(self, request: Request) -> bool:
        """From this machine, under its own name, and not from a page of somebody else."""
        client = request.client.host if request.client else ""
        site = request.headers.get("sec-fetch-site", "none")
        return (
            is_loopback(client)
            and is_loopback(request.url.hostname or "")
            and self._admission.is_own_origin(request) is not False
            and site in ("same-origin", "none")
        )


def _check(caller: Principal, scopes: tuple[str, ...]) -> None:
    for scope in scopes:
        if not caller.may(scope):
            raise Forbidden(f"This needs the scope {scope}.", scope=scope)


def is_loopback(host: str) -> bool:
    """Whether *host* names this machine to itself."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
