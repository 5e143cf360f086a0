"""Sign-in of this wire on our one kind of token: what it calls access token is ours, as it is.

There is no second, longer-lived token: *refresh* says whether the present one still counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from downstage.auth.principal import Principal
from downstage.content.dialects.nucleus.desk import Desk
from downstage.content.dialects.nucleus.status import TokenExpired
from downstage.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PlatformError,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from downstage.kernel.logging import get_logger

__all__ = ["INTERFACES", "answer"]

VERSION = 3
INTERFACES = ("Credentials", "Tokens")
LEAST_LIFE_S, LONGEST_LIFE_S = 60, 366 * 86400
STATUSES: tuple[tuple[type[PlatformError], str], ...] = (
    (TokenExpired, "EXPIRED"),
    (Unauthenticated, "INVALID_TOKEN"),
    (TooMany, "DENIED"),
    (Forbidden, "DENIED"),
    (NotFound, "NOT_FOUND"),
    (Conflict, "EXISTS"),
    (InvalidInput, "INVALID_REQUEST"),
    (Unavailable, "CONNECTION_ERROR"),
)
log = get_logger(__name__)
Parameters = Mapping[str, Any]
Method = Callable[[Desk, Parameters, str], Awaitable[dict[str, Any]]]


async def answer(desk: Desk, method: str, parameters: Parameters, address: str) -> dict[str, Any]:
    """What *method* answers; errors are statuses here.

    Args:
        desk: what sessions share.
        method: ``Interface.method``.
        parameters: of the call.
        address: the caller's, for identity's count of attempts.
    """
    handler = METHODS.get(method)
    if handler is None:
        return {"status": "NOT_SUPPORTED", "version": VERSION}
    try:
        found = await handler(desk, parameters, address)
    except PlatformError as error:
        return {"status": _status(error), "version": VERSION, "notice": error.detail}
    return {"version": VERSION, **found}


async def _settings(_desk: Desk, _parameters: Parameters, _address: str) -> dict[str, Any]:
    # No `login_url`: there is no sign-in by browser on this wire yet.
    return {"can_register": False, "is_ui_visible": False}


async def _by_password(desk: Desk, parameters: Parameters, address: str) -> dict[str, Any]:
    name, password = _text(parameters, "username"), _text(parameters, "password")
    if not name:
        return {"status": "USERNAME_REQUIRED"}
    try:
        token = await desk.accounts.sign_in(name, password, address)
    except Unauthenticated:
        return {"status": "DENIED"}
    return _signed_in(token, await desk.principal(token))


async def _by_api_token(desk: Desk, parameters: Parameters, _address: str) -> dict[str, Any]:
    token = _text(parameters, "api_token")
    return _signed_in(token, await desk.principal(token))


async def _refresh(desk: Desk, parameters: Parameters, _address: str) -> dict[str, Any]:
    token = _text(parameters, "refresh_token")
    return _signed_in(token, await desk.principal(token))


async def _make_token(desk: Desk, parameters: Parameters, _address: str) -> dict[str, Any]:
    token = await _holder(desk, parameters)
    life = _life(parameters.get("expire_at"), desk.clock.now())
    made = await desk.accounts.make_token(token, _text(parameters, "name"), life)
    return {"status": "OK", "token": made}


async def _revoke_token(desk: Desk, parameters: Parameters, _address: str) -> dict[str, Any]:
    token = await _holder(desk, parameters)
    await desk.accounts.revoke_token(token, _text(parameters, "name"))
    return {"status": "OK"}


async def _list_tokens(desk: Desk, parameters: Parameters, _address: str) -> dict[str, Any]:
    found = await desk.accounts.tokens(await _holder(desk, parameters))
    tokens = [{"name": item["name"], "expire_at": item["expires_at"]} for item in found]
    return {"status": "OK", "tokens": tokens}


METHODS: Mapping[str, Method] = {
    "Credentials.get_settings": _settings,
    "Credentials.auth": _by_password,
    "Tokens.auth_with_api_token": _by_api_token,
    "Tokens.refresh": _refresh,
    "Tokens.create_api_token": _make_token,
    "Tokens.delete_api_token": _revoke_token,
    "Tokens.get_api_tokens": _list_tokens,
}


def _signed_in(token: str, principal: Principal) -> dict[str, Any]:
    return {
        "status": "OK",
        "access_token": token,
        "refresh_token": token,
        "username": principal.name,
        "profile": {"admin": principal.may("files:admin"), "enabled": True, "activated": True},
    }


async def _holder(desk: Desk, parameters: Parameters) -> str:
    """The access token of a call, proven to count."""
    token = _text(parameters, "access_token")
    await desk.principal(token)
    return token


def _text(parameters: Parameters, name: str) -> str:
    value = parameters.get(name)
    return value if isinstance(value, str) else ""


def _life(expire_at: object, now: datetime) -> int | None:
    """Seconds until *expire_at*, within what identity grants; None where nothing is said."""
    if expire_at is None:
        return None
    try:
        end = datetime.fromisoformat(str(expire_at))
        seconds = int((end.replace(tzinfo=end.tzinfo or now.tzinfo) - now).total_seconds())
    except (ValueError, OverflowError) as error:
        raise InvalidInput("expire_at: a time in ISO 8601.") from error
    return min(max(seconds, LEAST_LIFE_S), LONGEST_LIFE_S)


def _status(error: PlatformError) -> str:
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return status
    return "INTERNAL_ERROR"
