"""Passwords: argon2id in threads, few at a time, as slow for nobody as for somebody."""

from __future__ import annotations

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from downstage.kernel.errors import Unavailable
from downstage.kernel.ids import new_secret

__all__ = ["Passwords"]

AT_ONCE = 2
"""Hashes computed side by side; each takes 46 MiB and a core for about 50 ms."""
DEADLINE_S = 10.0


class Passwords:
    """Makes and checks password hashes.

    Args:
        hasher: its parameters; None takes OWASP's first choice for argon2id. A hash made with
            other parameters still verifies, and is replaced when its owner signs in.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=1, memory_cost=47104, parallelism=1)
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._nobody = ""

    async def prepare(self) -> None:
        """Make the hash that stands in for users who do not exist."""
        self._nobody = await self.hash(new_secret())

    async def hash(self, password: str) -> str:
        """The encoded hash of *password*, salt and parameters within."""
        async with _Turn(self._limiter):
            return await anyio.to_thread.run_sync(self._hasher.hash, password)

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether *password* belongs to *encoded*; None costs the same time and is False."""
        async with _Turn(self._limiter):
            found = await anyio.to_thread.run_sync(self._matches, encoded or self._nobody, password)
        return found and encoded is not None

    def is_outdated(self, encoded: str) -> bool:
        """Whether *encoded* was made with parameters other than today's."""
        return self._hasher.check_needs_rehash(encoded)

    def _matches(self, encoded: str, password: str) -> bool:
        try:
            return self._hasher.verify(encoded, password)
        except (VerificationError, InvalidHashError):
            return False


class _Turn:
    """A place among those who hash now; who waits too long is told to come later."""

    def __init__(self, limiter: anyio.CapacityLimiter) -> None:
        self._limiter = limiter

    async def __aenter__(self) -> None:
        with anyio.move_on_after(DEADLINE_S):
            await self._limiter.acquire_on_behalf_of(self)
            return
        raise Unavailable("Too many people sign in just now.", retry_after_s=5)

    async def __aexit__(self, *_: object) -> None:
        self._limiter.release_on_behalf_of(self)
