"""When a call is tried again, after how long, and when no longer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from downstage.services.client.hooks import Answered, Hook
from downstage.services.client.outgoing import Outgoing
from downstage.services.errors import BaseServiceError, ServiceUnavailableError, retry_after_s

__all__ = ["IDEMPOTENT", "CircuitBreaker", "Retry"]

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
PASSING = frozenset({502, 503, 504})
ASKS_TO_WAIT = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Retry:
    """Repeats what failed for a passing reason.

    Calls of idempotent verbs, and those that name an ``__idempotency_key__``, are repeated after
    a failure of the transport and after 502, 503 and 504. Any call is repeated after a 429 or 503
    that says ``Retry-After``, for then the service has not acted. The pauses grow by doubling and
    are drawn at random below that; a longer ``Retry-After`` than *longest_s* is not waited for.
    """

    attempts: int = 3
    """The first one counts."""
    first_s: float = 0.1
    longest_s: float = 5.0

    def pause_after_answer(self, request: Outgoing, answer: Answered) -> float | None:
        """Seconds until the next attempt; None for no other."""
        if request.attempt >= self.attempts:
            return None
        asked = retry_after_s(answer.headers) if answer.status in ASKS_TO_WAIT else None
        if asked is not None:
            return asked + self._jitter(request) if asked <= self.longest_s else None
        if answer.status in PASSING and request.is_repeatable:
            return self._jitter(request)
        return None

    def pause_after_error(self, request: Outgoing) -> float | None:
        """The same where no answer came."""
        if request.attempt >= self.attempts or not request.is_repeatable:
            return None
        return self._jitter(request)

    def _jitter(self, request: Outgoing) -> float:
        most = min(self.longest_s, self.first_s * 2 ** (request.attempt - 1))
        return most * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, hides nothing


class CircuitBreaker(Hook):
    """Refuses calls at once while a service is down, instead of waiting for each to fail.

    After *failures* in a row the circuit is open for *open_s*; then one call is let through, and
    its outcome closes the circuit or opens it again. A failure is no answer, or a 5xx.
    """

    def __init__(
        self,
        failures: int = 5,
        open_s: float = 10.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = failures
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._shut_until = 0.0
        self._probe: Outgoing | None = None
        self._probe_until = 0.0

    @property
    def is_open(self) -> bool:
        """Would a call be refused now?"""
        if self._failures < self._most:
            return False
        now = self._clock()
        return now < self._shut_until or (self._probe is not None and now < self._probe_until)

    async def before(self, request: Outgoing) -> None:
        """Refuse *request* while the circuit is open."""
        if self.is_open:
            raise ServiceUnavailableError(
                f"{request.method} {request.path or '/'}: the circuit is open, "
                f"after {self._failures} failures in a row",
                method=request.method,
                url=request.path,
            )
        if self._failures >= self._most:
            # A probe that is cancelled tells nothing: after a while another is let through.
            self._probe, self._probe_until = request, self._clock() + self._open_s

    async def after(self, request: Outgoing, answer: Answered) -> bool:
        """Count *answer*."""
        self._count(failed=answer.status >= 500)  # noqa: PLR2004 - HTTP
        del request
        return False

    async def error(self, request: Outgoing, error: BaseServiceError) -> None:
        """Count a failure."""
        del request, error
        self._count(failed=True)

    def _count(self, *, failed: bool) -> None:
        self._probe = None
        self._failures = self._failures + 1 if failed else 0
        if self._failures >= self._most:
            self._shut_until = self._clock() + self._open_s
