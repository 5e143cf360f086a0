"""Cookies for players: a playlist is asked for again and again, a one-time ticket is not.

Whoever opened a playlist by a ticket in its address gets a cookie that opens this stream's playlist
and segments alone, as long as the token behind the ticket counts. Kept here; a restart forgets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from downstage.auth.tickets import hash_ticket, new_ticket
from downstage.kernel.clock import Clock
from downstage.streams.callers import Guest

__all__ = ["COOKIE", "Passes"]

COOKIE = "downstage-hls"
UNUSED_S = 600.0
"""A pass that nobody shows for so long is forgotten."""
LONGEST_S = 12 * 3600.0
MOST = 8192
MAX_COOKIE = 4096


@dataclass(slots=True)
class _Pass:
    guest: Guest
    name: str
    made_at: float
    used_at: float


class Passes:
    """Makes passes and finds whose they are.

    Args:
        clock: of the platform.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._passes: OrderedDict[str, _Pass] = OrderedDict()

    def make(self, guest: Guest, name: str) -> str:
        """A pass for *guest* to the stream *name*."""
        secret, now = new_ticket(), self._clock.monotonic()
        self._passes[hash_ticket(secret)] = _Pass(guest, name, now, now)
        while len(self._passes) > MOST:
            self._passes.popitem(last=False)
        return secret

    def find(self, headers: Iterable[tuple[bytes, bytes]], name: str) -> Guest | None:
        """Whose pass to *name* a request shows; None: it shows none that counts."""
        secret = _shown(headers)
        if secret is None:
            return None
        key = hash_ticket(secret)
        found, now = self._passes.get(key), self._clock.monotonic()
        if found is None or found.name != name:
            return None
        if now - found.used_at > UNUSED_S or now - found.made_at > LONGEST_S:
            del self._passes[key]
            return None
        found.used_at = now
        return found.guest

    @staticmethod
    def cookie(secret: str, name: str, *, secure: bool) -> str:
        """The header's value that keeps *secret* in a browser, for this stream's paths alone."""
        # A page of another, listed origin plays it, too: only https lets a cookie go there.
        site = "None; Secure" if secure else "Lax"
        return f"{COOKIE}={secret}; Path=/hls/{name}/; Max-Age=43200; HttpOnly; SameSite={site}"


def _shown(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    text = b"; ".join(value for key, value in headers if key == b"cookie")
    if COOKIE.encode() not in text or len(text) > MAX_COOKIE:
        return None
    try:
        found = SimpleCookie(text.decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found is not None else None
