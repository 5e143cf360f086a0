"""The queue at work: places that become free go to who is next.

A round looks at all who wait, in order, and tries those that are at home here, one at a time. It
begins when an instance or a session has changed, when a region is back, when somebody joins, and
every few seconds anyway, as hints may be lost. Gateways on one database keep one order: nobody
is tried while one in front is another gateway's to place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import anyio
from sqlalchemy.exc import SQLAlchemyError

from downstage.auth.seal import Sealer
from downstage.bus import Bus
from downstage.contracts.agent import ANY_INSTANCE_CHANGED
from downstage.contracts.gateway import SESSION_CHANGED
from downstage.gateway.launching import Failed
from downstage.gateway.models import Session
from downstage.gateway.orders import Order, reopen
from downstage.gateway.queue import Round, Waiting
from downstage.gateway.sessions import Sessions
from downstage.gateway.states import Effect, EndAsked
from downstage.kernel.clock import Clock
from downstage.kernel.errors import PlatformError, SetupError
from downstage.kernel.logging import get_logger

__all__ = ["POLL_S", "Queue"]

POLL_S = 3.0
"""How often a round begins without any hint while somebody waits."""
GAP_S = 0.1
"""Between two rounds at least: hints come in swarms."""
BUCKETS_S = (1, 5, 15, 60, 300, 900, 1800)
log = get_logger(__name__)


class Queue:
    """Serves those who wait.

    Args:
        sessions: those of this gateway.
        bus: where hints come by.
        clock: of the platform.
        sealer: opens what waits.
    """

    def __init__(self, sessions: Sessions, bus: Bus, clock: Clock, sealer: Sealer) -> None:
        self._sessions = sessions
        self._line = sessions.line
        self._bus = bus
        self._clock = clock
        self._sealer = sealer
        self._begun: dict[str, float] = {}
        self._waits = Counter[tuple[str, float]]()
        self._waited_s: dict[str, float] = {}
        self._placed = Counter[str]()
        sessions.listeners.append(self._on_change)
        for told in (sessions.regions.on_back, sessions.regions.on_room):
            told.append(lambda _region: self._line.wake())

    async def run(self) -> None:
        """Serve until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, ANY_INSTANCE_CHANGED)
            tasks.start_soon(self._listen, SESSION_CHANGED)
            while True:
                try:
                    await self.round()
                except (PlatformError, SQLAlchemyError, OSError) as error:
                    log.warning("queue.not_served", error=type(error).__name__)
                await anyio.sleep(GAP_S)
                with anyio.move_on_after(POLL_S):
                    await self._line.woken()

    async def round(self) -> None:
        """Try everybody whose turn it may be, once."""
        if not await self._look():
            return
        turn = Round(self._sessions.home, self._sessions.regions.names())
        placed = 0
        for item in self._line.arranged:
            if turn.may_try(item):
                placed += await self._try(item, turn)
        if placed:
            await self._look()

    async def _look(self) -> bool:
        """Read who waits, and tell those whose position has changed; whether anybody does."""
        waiting = await self._sessions.store.waiting()
        if not waiting and not self._line.arranged:
            return False
        facts = await self._sessions.regions.facts()
        capacities = {item.name: item.capacity for item in facts if item.answering}
        for session_id in self._line.show(waiting, capacities):
            session = self._sessions.store.peek(session_id)
            if session is not None:
                self._sessions.follow(session, ())
            else:
                self._sessions.wake(session_id)
        return bool(waiting)

    async def _try(self, item: Waiting, turn: Round) -> bool:
        """Whether it was given a place."""
        session = await self._sessions.store.get(item.id)
        if session is None or not session.life.waits or item.id in self._sessions.placing:
            return False
        try:
            order = reopen(session, self._sealer)
        except SetupError as error:
            await self._give_up(session, error)
            return False
        try:
            ranking = await self._sessions.regions.choose(order.where)
        except PlatformError as error:
            log.info("queue.no_region", session_id=item.id, why=error.detail)
            return False
        regions = turn.open_to(item, ranking.regions)
        if not regions:
            return False
        outcome = await self._place(session, order, regions)
        if not isinstance(outcome, Failed):
            self._note_wait(outcome, session)
            return True
        for name in outcome.full:
            turn.refuse(item, name)
        if outcome.is_final:
            await self._give_up(session, outcome.error)
        return False

    async def _place(
        self, session: Session, order: Order, regions: Sequence[str]
    ) -> Session | Failed:
        outcome: Session | Failed = session
        # What was begun is finished, so that nothing is left over.
        with anyio.CancelScope(shield=True):
            self._sessions.placing.add(session.id)
            try:
                outcome = await self._sessions.place(session, order, regions)
            finally:
                await self._sessions.end_placing(session.id)
        return outcome

    async def _give_up(self, session: Session, error: PlatformError) -> None:
        """It cannot be started, however long it waits."""
        log.info("queue.given_up", session_id=session.id, code=error.code)
        await self._sessions.apply(session.id, EndAsked("failed", "start-failed", error.detail))

    async def _listen(self, subject: str) -> None:
        async with self._bus.subscribe(subject) as hints:
            async for _ in hints:
                if self._line.arranged:
                    self._line.wake()

    def _note_wait(self, placed: Session, waited: Session) -> None:
        since = waited.queued_at or waited.created_at
        seconds = max((self._clock.now() - since).total_seconds(), 0.0)
        region = placed.region
        self._waited_s[region] = self._waited_s.get(region, 0.0) + seconds
        for bucket in (*BUCKETS_S, float("inf")):
            self._waits[region, bucket] += seconds <= bucket
        log.info("queue.served", session_id=placed.id, region=region, waited_s=round(seconds, 1))

    def _on_change(self, session: Session, effects: tuple[Effect, ...]) -> None:
        """Learn how long sessions last."""
        del effects
        state = session.life.state
        if state == "ended":
            begun = self._begun.pop(session.id, None)
            if begun is not None:
                self._line.lengths.note(self._clock.monotonic() - begun)
        elif state == "starting" and session.id not in self._begun:
            self._begun[session.id] = self._clock.monotonic()
            self._placed[session.region] += 1

    def metrics(self) -> list[str]:
        """How many wait, for how long others waited, and how many were placed, by region."""
        waiting = Counter(item.region or "any" for item in self._line.arranged)
        lines = [
            "# HELP downstage_queue_length Sessions that wait for a place.",
            "# TYPE downstage_queue_length gauge",
        ]
        lines += [
            f'downstage_queue_length{{region="{region}"}} {number}'
            for region, number in sorted(waiting.items() or {"any": 0}.items())
        ]
        lines += [
            "# HELP downstage_queue_wait_seconds How long sessions waited for their place.",
            "# TYPE downstage_queue_wait_seconds histogram",
        ]
        for (region, bucket), number in sorted(self._waits.items()):
            le = "+Inf" if bucket == float("inf") else f"{bucket:g}"
            labels = f'region="{region}",le="{le}"'
            lines.append(f"downstage_queue_wait_seconds_bucket{{{labels}}} {number}")
        for region, seconds in sorted(self._waited_s.items()):
            total = self._waits[region, float("inf")]
            lines.append(f'downstage_queue_wait_seconds_sum{{region="{region}"}} {seconds:.3f}')
            lines.append(f'downstage_queue_wait_seconds_count{{region="{region}"}} {total}')
        lines += [
            "# HELP downstage_placements_total Sessions that were given a place.",
            "# TYPE downstage_placements_total counter",
        ]
        lines += [
            f'downstage_placements_total{{region="{region}"}} {number}'
            for region, number in sorted(self._placed.items())
        ]
        return lines
