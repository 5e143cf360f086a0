"""What every session of this wire shares."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Protocol, cast

import msgspec

from downstage.auth.principal import Principal
from downstage.content.dialects.nucleus.accounts import Accounts
from downstage.content.dialects.nucleus.spool import Spool
from downstage.content.dialects.nucleus.status import TokenExpired
from downstage.content.model import Caller
from downstage.content.service import Content
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Forbidden, InvalidToken, Unauthenticated

__all__ = ["Desk", "Gate"]

KINDS = frozenset({"user", "token", "instance"})
"""Who may come in here."""
MAX_TOKEN = 16384


class Gate(Protocol):
    """Who may come in, and as whom."""

    async def principal(self, token: str) -> Principal:
        """Who *token* proves, or `InvalidToken`."""
        ...

    def counts(self, principal: Principal) -> bool:
        """Whether *principal*, proven some time ago, would still be let in."""
        ...

    async def caller(self, principal: Principal, client_id: str) -> Caller:
        """*principal* as content's rules see them; `client_id` owns their locks."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that commands use."""

    content: Content
    gate: Gate
    accounts: Accounts
    spool: Spool
    clock: Clock
    grace_s: float = 30.0
    """How long locks outlive the connection that took them."""

    async def principal(self, token: object) -> Principal:
        """Who *token* proves.

        Raises:
            TokenExpired: it counted once.
            Unauthenticated: it proves nobody.
            Forbidden: its kind has no business here.
        """
        if not isinstance(token, str) or not token or len(token) > MAX_TOKEN:
            raise Unauthenticated("This needs an access token. Sign in first.")
        try:
            principal = await self.gate.principal(token)
        except InvalidToken as error:
            if _end_of(token) <= self.clock.now().timestamp():
                raise TokenExpired("The token has expired.") from error
            raise
        if principal.kind not in KINDS:
            raise Forbidden("This kind of caller may not do that.", kind=principal.kind)
        return principal

    def check(self, principal: Principal) -> None:
        """Nothing, as long as the token that proved *principal* counts.

        Raises:
            TokenExpired: its time is over.
            InvalidToken: it was revoked.
        """
        if self.gate.counts(principal):
            return
        ends = principal.expires_at
        if ends is not None and ends <= self.clock.now():
            raise TokenExpired("The token has expired.")
        raise InvalidToken


def _end_of(token: str) -> float:
    """When *token* says that it ends. Unproven: fit for telling its holder to get another."""
    middle = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 - of a JWT
    try:
        claims: Any = msgspec.json.decode(
            base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))
        )
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        return float("inf")
    end = cast("dict[str, Any]", claims).get("exp") if isinstance(claims, dict) else None
    return float(end) if isinstance(end, int | float) else float("inf")
