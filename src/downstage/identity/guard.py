"""Guessing passwords is slow: few attempts for a name, few from an address, then 429."""

from __future__ import annotations

import hashlib
import time
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from downstage.kernel.errors import TooMany

__all__ = ["LoginGuard"]

MINUTES = 5


class LoginGuard:
    """Counts sign-ins that failed, by name and by address, in windows of five minutes.

    An attempt counts when it begins, so that many at once gain nothing; one that succeeds is
    forgiven. Names and addresses are held hashed.
    """

    def __init__(self, attempts: int) -> None:
        self._storage = MemoryStorage()
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._limit = RateLimitItemPerMinute(attempts, MINUTES)

    async def begin(self, name: str | None, address: str) -> None:
        """Count an attempt for *name* (None: nobody in particular) from *address*.

        Raises:
            TooMany: there were too many; says when to come back.
        """
        for key in self._keys(name, address):
            if not await self._limiter.hit(self._limit, key):
                reset = (await self._limiter.get_window_stats(self._limit, key)).reset_time
                wait = max(1, int(reset - time.time()) + 1)
                raise TooMany("Too many attempts. Wait a few minutes.", retry_after_s=wait)

    async def forgive(self, name: str | None, address: str) -> None:
        """The attempt succeeded: the name starts anew, the address gets this one back."""
        for key in self._keys(name, address):
            if key.startswith("name"):
                await self._limiter.clear(self._limit, key)
            else:
                await self._storage.decr(self._limit.key_for(key))

    def _keys(self, name: str | None, address: str) -> list[str]:
        keys = ["address-" + _hashed(_network(address))]
        if name is not None:
            keys.append("name-" + _hashed(name.lower()))
        return keys


def _network(address: str) -> str:
    """An IPv6 caller owns at least a /64, so that counts as one address."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or (int(found) >> 64))
    return str(found)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
