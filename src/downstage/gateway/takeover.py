"""Sessions change their home: taken from gateways that died, let go where another took them.

A change of home is one compare-and-set on the row, so of two gateways that want the same session
exactly one gets it. Who had it before learns it from a hint, from its own look at the rows, or
from the first write that fails; whatever it believes until then, it can store nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
from sqlalchemy.exc import SQLAlchemyError

from downstage.bus import Bus, Message
from downstage.contracts.gateway import SESSION_CHANGED
from downstage.gateway.homes import Homes
from downstage.gateway.models import Session
from downstage.gateway.rooms import Rooms
from downstage.gateway.sessions import Sessions
from downstage.gateway.states import Effect, Restored
from downstage.kernel.errors import Conflict, Misdirected, NotFound, PlatformError
from downstage.kernel.logging import get_logger

__all__ = ["TakeOver"]

TRIES = 3
log = get_logger(__name__)


class TakeOver:
    """Decides where sessions are at home.

    Args:
        sessions, rooms: of this gateway.
        homes: which gateways live.
        bus: where others tell what they changed.
        mark: lets a session's instance be looked at.
    """

    def __init__(
        self,
        sessions: Sessions,
        rooms: Rooms,
        homes: Homes,
        bus: Bus,
        mark: Callable[[str], None],
    ) -> None:
        self._sessions = sessions
        self._store = sessions.store
        self._rooms = rooms
        self._homes = homes
        self._bus = bus
        self._mark = mark
        self._orphaned: set[str] = set()
        """Homes that were found dead at the last look."""

    async def at_home(self, session: Session) -> Session:
        """*session*, driven by this gateway, if need be from now on.

        Raises:
            Misdirected: another gateway drives it.
            NotFound: it is gone.
        """
        for _ in range(TRIES):
            if session.home == self._sessions.home or session.life.state == "ended":
                return session
            if await self._homes.is_alive(session.home):
                raise Misdirected(session.home)
            taken = await self._take(session)
            if taken is None:
                raise NotFound("There is no such session.")
            session = taken
        raise Misdirected(session.home)

    async def run(self) -> None:
        """Take orphans in and let go what others took, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            while True:
                try:
                    await self.adopt_orphans()
                    await self.look_around()
                except (PlatformError, SQLAlchemyError, OSError) as error:
                    log.warning("homes.not_looked_at", error=type(error).__name__)
                await anyio.sleep(self._homes.pause)

    async def adopt_orphans(self) -> None:
        """Take sessions whose home has been dead for two looks: nobody else asked for them."""
        alone = self._homes.alone
        found = await self._store.orphans(None if alone else self._homes.fresh())
        known, self._orphaned = self._orphaned, {session.home for session in found}
        for session in found:
            if alone or session.home in known:
                try:
                    await self._take(session)
                except Conflict:
                    continue  # it changes just now; the next look sees how

    async def look_around(self) -> None:
        """Compare what is kept in memory with the rows: hints may have been lost."""
        if self._homes.alone:
            return
        stored = await self._store.revisions()
        kept = self._store.kept()
        here = kept.keys() | self._rooms.ids()
        changed = {key for key, revision in stored.items() if kept.get(key, 0) < revision}
        for session_id in (here - stored.keys()) | changed:
            await self.check(session_id)

    async def check(self, session_id: str) -> None:
        """Read one session anew, and follow what another gateway made of it."""
        before = self._store.peek(session_id)
        session = await self._store.fresh(session_id)
        if session is None or session.home != self._sessions.home:
            self._let_go(session_id, session)
        elif before is None or session.revision > before.revision:
            self._sessions.follow(session, _effects(session))

    async def _take(self, session: Session) -> Session | None:
        taken = await self._sessions.apply(session.id, Restored(), take=session.home)
        if taken is not None and taken.home == self._sessions.home:
            log.info("session.taken_over", session_id=session.id, before=session.home)
            self._mark(session.id)
        return taken

    def _let_go(self, session_id: str, session: Session | None) -> None:
        log.info("session.let_go", session_id=session_id, home=session and session.home)
        self._sessions.let_go(session_id)
        self._rooms.move_out(session_id)

    async def _listen(self) -> None:
        async with self._bus.subscribe(SESSION_CHANGED) as hints:
            async for hint in hints:
                try:
                    await self._hear(hint)
                except (PlatformError, SQLAlchemyError, OSError) as error:
                    log.warning("homes.hint_not_followed", error=type(error).__name__)

    async def _hear(self, hint: Message) -> None:
        if hint.gap or hint.payload.get("gap"):
            await self.look_around()
            return
        session_id, revision = hint.payload.get("session_id"), hint.payload.get("revision")
        if not isinstance(session_id, str) or not isinstance(revision, int):
            return
        known = self._store.peek(session_id)
        if known is not None and revision > known.revision:
            await self.check(session_id)
        elif hint.payload.get("home") != self._sessions.home:
            self._sessions.wake(session_id)


def _effects(session: Session) -> tuple[Effect, ...]:
    """What is left to do where another gateway wrote that *session* ends."""
    if session.life.state == "ending":
        return (Effect.TELL_STREAMER, Effect.STOP_INSTANCE)
    return (Effect.DISMISS_VIEWERS,) if session.life.state == "ended" else ()
