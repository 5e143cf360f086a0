"""Compare sessions with the instances of their region, for what no hint has told.

Hints are lost when an agent, a manager or the bus is away, and a launch whose answer was lost may
arrive after its session has been given up. So a region's instances are read as a whole when the
region comes back, and every minute: sessions that do not fit are marked for the reconciler, and
instances of sessions that have ended are ended.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from downstage.contracts.manager import InstanceState
from downstage.gateway.models import Session
from downstage.gateway.sessions import Sessions
from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger

__all__ = ["Audit"]

EVERY_S = 60.0
AGAIN_S = 1.0
"""A region that came back and went away again is asked again so soon."""
TRIES = 5
log = get_logger(__name__)


class Audit:
    """Compares, region by region; one that does not answer holds up none of the others.

    Args:
        sessions: those of this gateway.
        mark: has the reconciler look at one.
    """

    def __init__(self, sessions: Sessions, mark: Callable[[str], None]) -> None:
        self._sessions = sessions
        self._mark = mark
        self._due = set[str]()
        self._busy = set[str]()
        self._wake = anyio.Event()
        sessions.regions.on_back.append(self.ask)

    def ask(self, region: str) -> None:
        """Compare this region soon."""
        self._due.add(region)
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._wake = anyio.Event()
                for region in self._due - self._busy:
                    self._due.discard(region)
                    self._busy.add(region)
                    tasks.start_soon(self._compare_until_done, region)
                with anyio.move_on_after(EVERY_S) as waiting:
                    await self._wake.wait()
                if waiting.cancelled_caught:
                    self._due.update(self._sessions.regions.names())

    async def _compare_until_done(self, region: str) -> None:
        try:
            for _ in range(TRIES):
                try:
                    await self.compare(region)
                except PlatformError as error:
                    log.info("region.not_compared", region=region, why=error.detail)
                    await anyio.sleep(AGAIN_S)
                else:
                    return
        finally:
            self._busy.discard(region)
            self._wake.set()

    async def compare(self, region: str) -> None:
        """Look at all instances and all sessions of *region* once.

        Raises:
            Unavailable: it does not answer.
        """
        # Instances first: a session that is newer than this list is only looked at once more.
        way = self._sessions.regions.of(region)
        found = {item.id: item for item in await way.census()}
        live = {s.id: s for s in await self._sessions.store.not_ended() if s.region == region}
        for session in live.values():
            item = found.get(session.life.instance_id)
            if not _fits(session, item.state if item else None):
                self._mark(session.id)
        for item in found.values():
            is_over = item.state in ("ending", "ended") or item.session_id in live
            if not is_over and await self._has_ended(item.session_id):
                log.warning("instance.orphaned", instance_id=item.id, session_id=item.session_id)
                await way.stop(item.id)

    async def _has_ended(self, session_id: str | None) -> bool:
        """Whether that session was ours and is over; what was never ours is left alone."""
        session = await self._sessions.store.get(session_id) if session_id else None
        return session is not None and session.life.state == "ended"


def _fits(session: Session, instance: InstanceState | None) -> bool:
    """Whether a session that has not ended may stand as it does beside its instance."""
    match session.life.state:
        case "queued":
            return True  # it has none yet, or whoever places it will see
        case "ending":
            return False  # it is to be ended until it is
        case _:
            return instance in ("starting", "running", "ending")
