"""Time-limited TURN credentials, as the REST convention of TURN servers derives them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["TurnCredentials", "turn_credentials"]


@dataclass(frozen=True, slots=True)
class TurnCredentials:
    """What an ICE server entry needs."""

    username: str
    credential: str


def turn_credentials(
    secret: str, session_id: str, *, now: datetime, lifetime: timedelta
) -> TurnCredentials:
    """User name ``<expiry>:<session>`` and its base64 HMAC-SHA1 under the server's *secret*.

    SHA-1 is what TURN servers compute; as an HMAC it is not weakened by collisions.
    """
    expires = int((now + lifetime).timestamp())
    username = f"{expires}:{session_id}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return TurnCredentials(username, base64.b64encode(digest).decode("ascii"))
