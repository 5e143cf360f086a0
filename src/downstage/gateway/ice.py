"""STUN and TURN servers as a seat is told them: what is fixed, and what is minted for it alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from downstage.auth.turn import turn_credentials
from downstage.gateway.leases import read_clock
from downstage.gateway.models import Session
from downstage.kernel.clock import Clock
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Turn

__all__ = ["IceServers", "Policy", "Relay", "read_relay", "time_left"]

Policy = Literal["all", "relay"]
LEAST = timedelta(minutes=10)
"""Shorter credentials would run out while somebody looks for a path."""
LEAST_SECRET = 16
SCHEMES = ("turn:", "turns:")

Left = Callable[[str], timedelta | None]
"""Session id → how long it may still last at most; None: unknown."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A TURN server that shares a secret with us."""

    urls: tuple[str, ...]
    secret: str
    lifetime: timedelta
    only: bool = False


def read_relay(settings: Turn) -> Relay | None:
    """The TURN server of the settings; blocking.

    Raises:
        SetupError: addresses without a secret, a secret that is too short, or no TURN address.
    """
    if not settings.urls:
        return None
    for url in settings.urls:
        if not url.startswith(SCHEMES):
            raise SetupError(f"turn.urls: {url!r} begins with neither turn: nor turns:.")
    if settings.secret_file is None:
        raise SetupError(
            "turn.urls names a TURN server, but turn.secret_file is missing. Make both with: "
            "downstage turn config"
        )
    return Relay(
        tuple(settings.urls),
        _secret(settings.secret_file),
        settings.lifetime,
        settings.relay_only,
    )


def _secret(path: Path) -> str:
    try:
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"turn.secret_file: {path} cannot be read as text.") from error
    if len(secret) < LEAST_SECRET:
        raise SetupError(f"turn.secret_file: {path} holds fewer than {LEAST_SECRET} characters.")
    return secret


def time_left(session: Session | None, clock: Clock) -> timedelta | None:
    """How long *session* may still last at most; None: nobody knows."""
    longest = session.life.maximum if session is not None else None
    if longest is None:
        return None
    return timedelta(seconds=max(0.0, longest.left(read_clock(clock))))


class IceServers:
    """Answers the ICE servers of a seat.

    Credentials name session and seat, and count as long as the session may last, at most as long
    as the settings say: who was thrown out or has left finds the relay closed soon after.

    Args:
        fixed: servers that everybody is told as they are.
        relay: the TURN server to mint credentials for, if there is one.
        clock: the platform's.
        left: how long a session may still last.
    """

    def __init__(
        self,
        fixed: Sequence[dict[str, str]],
        relay: Relay | None,
        clock: Clock,
        left: Left = lambda _session: None,
    ) -> None:
        self.fixed = [dict(server) for server in fixed]
        self._relay, self._clock, self._left = relay, clock, left

    @property
    def policy(self) -> Policy:
        """Which paths a viewer may try."""
        return "relay" if self._relay is not None and self._relay.only else "all"

    def of(self, session_id: str, seat_id: str) -> list[dict[str, str]]:
        """The servers for one seat, each with one ``urls``, TURN with its own credentials."""
        if self._relay is None:
            return [*self.fixed]
        left = self._left(session_id)
        lifetime = max(self._relay.lifetime, LEAST)
        return self._minted(f"{session_id}.{seat_id}", min(lifetime, left or lifetime))

    def to_check(self, subject: str) -> list[dict[str, str]]:
        """The servers for somebody signed in who tries the network before there is a session."""
        return self._minted(f"check.{subject}", timedelta(seconds=60))

    def _minted(self, subject: str, lifetime: timedelta) -> list[dict[str, str]]:
        if self._relay is None:
            return [*self.fixed]
        granted = turn_credentials(
            self._relay.secret, subject, now=self._clock.now(), lifetime=lifetime
        )
        return [
            *self.fixed,
            *(
                {"urls": url, "username": granted.username, "credential": granted.credential}
                for url in self._relay.urls
            ),
        ]
