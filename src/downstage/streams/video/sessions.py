"""Asking the gateway for a session's picture, in the name of whoever wants to watch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from downstage.kernel.clock import Clock
from downstage.kernel.errors import Conflict, NotFound, PlatformError, Unavailable, Upstream
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError, ServiceUnavailableError

__all__ = ["SessionGate"]

LEASE_S = 30
ASK_AGAIN_S = 8.0
MOST = 4096


class SessionGate:
    """Lets people watch their own sessions, and keeps those pushing while somebody does.

    Args:
        client: makes a client of the gateway that acts for a person.
        clock: of the platform.
    """

    def __init__(self, client: Callable[[str], AsyncClient], clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._asked: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def ask(self, session_id: str, subject: str) -> None:
        """Return where *subject* may watch *session_id*; it pushes for the next seconds.

        Raises:
            NotFound: there is no such session, or it is somebody else's.
            Unavailable: it has no picture yet, or the gateway does not answer.
            Conflict: it has ended.
        """
        key = (session_id, subject)
        now = self._clock.monotonic()
        if self._asked.get(key, -ASK_AGAIN_S) > now - ASK_AGAIN_S:
            return
        try:
            await self._client(subject).v1.sessions[session_id].streams.post(seconds=LEASE_S)
        except BaseServiceError as error:
            raise _as_ours(error) from error
        self._asked[key] = now
        self._asked.move_to_end(key)
        while len(self._asked) > MOST:
            self._asked.popitem(last=False)


def _as_ours(error: BaseServiceError) -> PlatformError:
    match error.status:
        case 401 | 403 | 404 | 422:
            return NotFound("There is no such session.")
        case 409:
            return Conflict("The session has ended.")
        case 503:
            return Unavailable(error.detail, retry_after_s=error.retry_after or 1)
        case None if isinstance(error, ServiceUnavailableError):
            return Unavailable("The gateway does not answer.", retry_after_s=1)
        case _:
            return Upstream("The gateway could not be asked.")
