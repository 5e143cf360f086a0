"""Compare sessions with the instances of their region, for what no hint has told.

Hints are lost when an agent, a manager or the bus is away, and a launch whose answer was lost may
arrive after its session has been given up. So a region's instances are read as a whole when the
region comes back, and every minute: sessions that do not fit are marked for the reconciler, and
instances of sessions that have ended are ended.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.lowlevel

from downstage.gateway.models import Session
from downstage.gateway.reconcile import BARE
from downstage.gateway.region import Counted
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

    def ask_all(self) -> None:
        """Compare every region soon: hints were lost."""
        for region in self._sessions.regions.names():
            self.ask(region)

    def ask(self, region: str) -> None:
        """Compare this region soon."""
        self._due.add(region)
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; what was there at the start is taken up first."""
        await self._sessions.restored.wait()
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
        live = set[str]()
        async for sessions in self._sessions.store.batches():
            for session in sessions:
                if session.region == region:
                    live.add(session.id)
                    if not _fits(session, found.get(session.life.instance_id)):
                        self._mark(session.id)
            await anyio.lowlevel.checkpoint()
        runs = [item for item in found.values() if item.state not in ("ending", "ended")]
        strange = {i.session_id: i.id for i in runs if i.session_id and i.session_id not in live}
        # Whose session was ours and is over is ended; what was never ours is left alone.
        for session_id in await self._sessions.store.ended_among(list(strange)):
            instance_id = strange[session_id]
            log.warning("instance.orphaned", instance_id=instance_id, session_id=session_id)
            await way.stop(instance_id)


def _fits(session: Session, instance: Counted | None) -> bool:
    """Whether a session that has not ended says the same as its instance."""
    life = session.life
    if life.state == "queued":
        return True  # it has none yet, or whoever places it will see
    if life.state == "ending" or instance is None:
        return False  # it is to be ended until it is
    if life.state == "starting" and life.progress != instance.stage:
        return False
    return (
        instance.state in ("starting", "running", "ending")
        and instance.application == session.application
        and instance.ports == session.ports
        and (instance.isolated or BARE in session.warnings)
    )
