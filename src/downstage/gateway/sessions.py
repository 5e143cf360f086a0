"""Sessions: created, changed by events, ended. The shell around `downstage.gateway.states`.

Every change goes through `Sessions.apply`: read the row, step the machine, store by
compare-and-set, tell who listens. What must be done outside, such as ending an instance, is
marked and done by `downstage.gateway.reconcile`, again and again until it is so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

import anyio

from downstage.auth.seal import Sealer
from downstage.bus import Bus
from downstage.contracts.gateway import SESSION_CHANGED, SessionView
from downstage.gateway.facts import NOTHING_NEW, Facts
from downstage.gateway.launching import Failed, Launcher
from downstage.gateway.leases import LeaseKeeper, read_clock
from downstage.gateway.line import Line, waiting_of
from downstage.gateway.models import Key, Session, view
from downstage.gateway.orders import Order, keep
from downstage.gateway.regions.regions import Regions
from downstage.gateway.regions.score import Ranking
from downstage.gateway.states import (
    AskedAfter,
    Effect,
    EndAsked,
    Event,
    InputSeen,
    InstanceEnded,
    LeaseKind,
    LeaseRanOut,
    Life,
    Now,
    Placed,
    Policy,
    Progressed,
    Restored,
    ViewersChanged,
    Waits,
    begin,
    step,
)
from downstage.gateway.store import Store
from downstage.gateway.terms import Terms
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Conflict, NoCapacity, NotFound, Unavailable
from downstage.kernel.ids import new_id, new_uuid
from downstage.kernel.logging import get_logger

__all__ = ["Facts", "Listener", "Order", "Sessions"]

TRIES = 5
"""Times that a change is tried again because another gateway was faster."""
AT_ONCE = 16
"""Starts that one region is asked for at the same time."""
ASKED_S = 5.0
"""How often it is written down that somebody asks after a session of another gateway."""
SETTLED_S = 10.0
"""How long to wait until it is known whether a session that was begun before a restart goes on."""
SETTLING_S = 0.05
NOT_PLACED = "not-placed"
OURS = frozenset({"abandoned", "lost"})
"""Reasons of instances that ended because what looked after them had gone."""
LONG_AGO_S = 1e9
ELSEWHERE_S = 1.0
"""How often a session is looked at that another gateway drives, beside hints."""
log = get_logger(__name__)

Listener = Callable[[Session, tuple[Effect, ...]], None]
Happening = Event | Callable[[], Event]
"""An event, or what makes it at the moment it is applied."""


class Sessions:
    """All sessions that this gateway drives.

    Args:
        store: their rows.
        regions: where instances are started.
        launcher: starts them.
        policy: how long leases last.
        clock, bus: of the platform.
        sealer: closes orders and access tokens while they wait.
        home: address of this gateway.

    Attributes:
        line: the queue as it was last seen.
        presences: tell of a session whether somebody looks at it just now.
        viewers: tells of a session how many are sent its picture just now.
        restored: set once all that there was at the start has been taken up again.
    """

    def __init__(
        self,
        *,
        store: Store,
        regions: Regions,
        launcher: Launcher,
        policy: Policy,
        clock: Clock,
        bus: Bus,
        sealer: Sealer,
        home: str,
    ) -> None:
        self.store = store
        self.regions = regions
        self.placing: set[str] = set()
        """Sessions whose instance is being asked for: their rows may be ahead of the manager."""
        self.listeners: list[Listener] = []
        self.leases = LeaseKeeper(clock, self._lease_rang)
        self.line = Line(clock)
        self.presences: list[Callable[[str], bool]] = []
        self.viewers: Callable[[str], int] = lambda _session_id: 0
        self.restored = anyio.Event()
        self.files = launcher.files
        self._launcher = launcher
        self._policy = policy
        self._clock = clock
        self._bus = bus
        self._sealer = sealer
        self.home = home
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._limiters: dict[str, anyio.CapacityLimiter] = {}
        self._inputs: dict[str, float] = {}
        self._watchers: dict[str, set[anyio.Event]] = {}

    def now(self) -> Now:
        """This moment."""
        return read_clock(self._clock)

    def view(self, session: Session) -> SessionView:
        """*session* as its owner may see it."""
        found = view(session, self.now())
        if not session.life.waits:
            return found
        position, eta_s = self.line.position(session.id), self.line.eta_s(session.id)
        return found.model_copy(update={"position": position, "eta_s": eta_s})

    async def create(self, order: Order) -> Session:
        """Start what *order* asks for, or let it wait; the same idempotency key starts it once.

        Raises:
            InvalidField, NotFound, NoCapacity, SessionQuota, Conflict, Unavailable: nothing was
                started, or what was is being ended.
        """
        if order.key is None:
            return await self._create(order)
        async with self._lock(f"key:{order.key.tenant}:{order.key.owner}:{order.key.key}"):
            earlier = await self.store.find_key(order.key, self._clock.now())
            found = await self.store.get(earlier) if earlier else None
            begun = await self._if_begun(found) if found else None
            return begun or await self._create(order)

    async def end(self, session_id: str, asked: EndAsked | None = None) -> Session:
        """Begin the end; one that has ended or ends is returned as it is."""
        session = await self.apply(session_id, asked or EndAsked())
        if session is None:
            raise NotFound("There is no such session.")
        return session

    async def apply(
        self,
        session_id: str,
        *happenings: Happening,
        facts: Facts = NOTHING_NEW,
        take: str | None = None,
    ) -> Session | None:
        """Let events happen to a session; None where there is no such session.

        One that is at home elsewhere is returned as it is, unless only its end is asked for.

        Args:
            session_id: which.
            happenings: one after another.
            facts: what became known of it.
            take: where it is at home is dead: from now on it is at home here.
        """
        async with self._lock(session_id):
            for _ in range(TRIES):
                session = await self.store.get(session_id)
                if session is None:
                    return None
                if session.home not in (self.home, take) and not _may_anybody(happenings):
                    return session
                changed, effects = self._step(session, happenings, facts)
                if take is not None:
                    changed = replace(changed, home=self.home)
                if changed == session:
                    if effects:
                        self._tell(session, effects)
                    return session
                changed = replace(
                    changed, revision=session.revision + 1, updated_at=self._clock.now()
                )
                joins = changed.life.waits and not session.life.waits
                if await self.store.replace(changed, session.revision, joins_queue=joins):
                    self._note(session, changed)
                    self._tell(changed, effects)
                    return changed
        raise Conflict("The session changes too fast; try again.", session_id=session_id)

    async def note_asked(self, session: Session) -> None:
        """Somebody for whom *session* waits asks how it stands: its place is held."""
        if not session.life.waits:
            return
        is_news = (self.line.asked_ago(session.id) or ASKED_S) >= ASKED_S
        self.line.note_asked(session.id)
        if is_news and session.home != self.home:
            await self.store.note_asked(session.id, self._clock.now())

    def note_input(self, session_id: str, ago: float) -> Event | None:
        """Remember when the newest input came; an event where that renews the idle lease."""
        moment = self._clock.monotonic() - max(ago, 0.0)
        known = self._inputs.get(session_id)
        if known is not None and moment - known < 1:
            return None
        self._inputs[session_id] = max(moment, known or moment)
        return InputSeen(ago)

    async def watch(self, session_id: str) -> AsyncIterator[Session]:
        """The session now, and again at every change, until it has ended or is gone.

        While it waits, a change of its position is one, too.
        """
        seen: tuple[int, int | None] = (0, None)
        while True:
            changed = anyio.Event()
            events = self._watchers.setdefault(session_id, set())
            events.add(changed)
            try:
                session = await self.store.get(session_id)
                if session is None:
                    return
                if session.home != self.home:
                    await self.note_asked(session)
                now = (session.revision, self.line.position(session.id))
                if session.revision >= seen[0] and now != seen:
                    seen = now
                    yield session
                if session.life.state == "ended":
                    return
                with anyio.move_on_after(None if session.home == self.home else ELSEWHERE_S):
                    await changed.wait()
            finally:
                events.discard(changed)
                if not events and self._watchers.get(session_id) is events:
                    del self._watchers[session_id]

    async def restore(self) -> AsyncIterator[Session]:
        """After a start: every session that may still have something running, leases granted.

        Each batch is one transaction: there may be thousands, and whoever looks after them
        begins with the first ones.
        """
        async for rows in self.store.batches():
            for session in await self._restored(rows):
                yield session
        self.restored.set()

    async def _restored(self, rows: Sequence[Session]) -> list[Session]:
        steps = [(row, *self._step(row, self._return_of(row), NOTHING_NEW)) for row in rows]
        now = self._clock.now()
        changes = {
            row.id: replace(after, revision=row.revision + 1, updated_at=now)
            for row, after, _ in steps
            if after != row
        }
        stored = await self.store.replace_all(list(changes.values()))
        found = list[Session]()
        for row, _, effects in steps:
            if row.id in stored:
                session = changes[row.id]
                self._note(row, session)
                self._tell(session, effects)
            elif row.id in changes:  # somebody was faster
                session = await self.apply(row.id, *self._return_of(row))
            else:
                session = row
                self.store.keep(row)
                self.follow(row, effects)
            found += [] if session is None else [session]
        return found

    def _return_of(self, session: Session) -> tuple[Event, ...]:
        """Its streamer may have dialled in already, and told of viewers who never left."""
        count = self.viewers(session.id)
        return (Restored(), ViewersChanged(count)) if count else (Restored(),)

    async def end_placing(self, session_id: str) -> None:
        """It is in `placing` no longer; where its end was asked for meanwhile, that follows."""
        self.placing.discard(session_id)
        latest = await self.store.get(session_id)
        if latest is not None and latest.life.state == "ending":
            self._tell(latest, (Effect.STOP_INSTANCE,))

    async def place(
        self, session: Session, order: Order, regions: Sequence[str]
    ) -> Session | Failed:
        """Try to start its instance; a session that may have one nevertheless is being ended."""
        outcome = await self._launcher.launch(session, order, regions)
        if isinstance(outcome, Failed):
            if outcome.region is not None:
                failed = EndAsked("failed", "start-failed", outcome.error.detail)
                await self.apply(session.id, failed, facts=Facts(region=outcome.region))
            return outcome
        instance = outcome.instance
        placed = await self.apply(
            session.id,
            Placed(instance.id),
            Progressed(instance.stage),
            facts=Facts(application=instance.application, region=outcome.region),
        )
        return placed or session

    async def _create(self, order: Order) -> Session:
        ranking = await self.regions.choose(order.where)
        session = self._new(order, ranking)
        # Whoever asked may hang up: what was begun is finished, so that nothing is left over.
        with anyio.CancelScope(shield=True):
            session = await self._insert(session, order, ranking.regions)
        if session.life.waits:
            log.info("session.queued", session_id=session.id)
        return session

    async def _insert(self, session: Session, order: Order, regions: Sequence[str]) -> Session:
        self.placing.add(session.id)
        try:
            if not await self.store.insert(session, order.key):
                return await self._made_by(order.key)
            self._tell(session, ())
            log.info("session.created", session_id=session.id, application=order.application)
            return await self._begin(session, order, regions)
        finally:
            await self.end_placing(session.id)

    async def _begin(self, session: Session, order: Order, regions: Sequence[str]) -> Session:
        """Place it, or let it wait."""
        outcome: Session | Failed = Failed(NoCapacity("Others wait for a place.", retry_after_s=10))
        # In a storm most find, when it is their turn to try, that others wait already.
        limiter = self._limiters.setdefault(regions[0], anyio.CapacityLimiter(AT_ONCE))
        async with limiter:
            if not self.line.is_ahead(order):
                outcome = await self.place(session, order, regions)
        if not isinstance(outcome, Failed):
            return outcome
        if outcome.is_full and order.wait:
            return await self._wait(session, order)
        if outcome.region is None:
            await self._withdraw(session)
        raise outcome.error

    async def _wait(self, session: Session, order: Order) -> Session:
        kept = keep(order, session.id, self._sealer)
        facts = Facts(order=kept, queued_at=session.created_at)
        try:
            waiting = await self.apply(session.id, Waits(), facts=facts)
        except NoCapacity:
            await self._withdraw(session)
            raise
        if waiting is not None and waiting.life.waits:
            self.line.add(waiting_of(waiting))
        return waiting or session

    async def _if_begun(self, session: Session) -> Session | None:
        """*session*, which a key made already; None: nothing came of it, and it is forgotten.

        We were killed in the middle: who wanted the session was told nothing, and asks again.
        """
        with anyio.move_on_after(SETTLED_S):
            while session.life.state == "queued" and not session.life.waits:
                await anyio.sleep(SETTLING_S)
                latest = await self.store.get(session.id)
                if latest is None:
                    return None
                session = latest
        if not _came_to_nothing(session.life):
            return session
        await self.store.forget(session.id)
        return None

    async def _made_by(self, key: Key | None) -> Session:
        """What another gateway made by the same key at the same moment."""
        earlier = await self.store.find_key(key, self._clock.now()) if key is not None else None
        found = await self.store.get(earlier) if earlier else None
        if found is None:
            raise Unavailable("The same request was made at the same moment.", retry_after_s=1)
        return found

    async def _withdraw(self, session: Session) -> None:
        """Nothing was started: leave no trace, unless somebody has asked for its end meanwhile."""
        async with self._lock(session.id):
            latest = await self.store.get(session.id)
            if latest is not None and latest.life.state == "queued":
                await self.store.forget(session.id)
                self.leases.keep(session.id, ())
                self.wake(session.id)
                return
        await self.apply(session.id, InstanceEnded(NOT_PLACED))

    def _new(self, order: Order, ranking: Ranking) -> Session:
        now = self.now()
        session_id = new_uuid()
        secret = order.access_token.get_secret_value() if order.access_token else None
        return Session(
            id=session_id,
            tenant=order.tenant,
            owner=order.owner,
            username=order.username,
            application=order.application,
            stage=order.stage,
            region=ranking.best,
            region_reason=ranking.reason,
            home=self.home,
            display=order.display,
            life=begin(now, self._policy, order.instance_id or new_id("i")),
            created_at=now.wall,
            updated_at=now.wall,
            spec=order.spec,
            warnings=order.warnings,
            version=order.version,
            wait=order.wait,
            priority=order.priority,
            profile=order.wishes.profile,
            dialect=order.dialect,
            extra=order.extra,
            sealed_token=self._sealer.seal(secret, f"session:{session_id}") if secret else None,
        )

    def _step(
        self, session: Session, happenings: Sequence[Happening], facts: Facts
    ) -> tuple[Session, tuple[Effect, ...]]:
        now, policy = self.now(), Terms.of(session.extra).policy(self._policy)
        life, effects = session.life, list[Effect]()
        for happening in happenings:
            event = happening() if callable(happening) else happening
            done = step(life, event, now, policy)
            life = done.life
            effects += done.effects
        changed = facts.put(session).with_life(life)
        if not life.waits:
            changed = replace(changed, order=None, queued_at=None)
        if Effect.ERASE_SECRET in effects:
            changed = replace(changed, sealed_token=None)
        return changed, tuple(effects)

    async def _lease_rang(self, session_id: str, kind: LeaseKind) -> None:
        happenings: list[Event] = [LeaseRanOut(kind)]
        newest = self._inputs.get(session_id)
        if kind == "idle" and newest is not None:
            ago = max(self._clock.monotonic() - newest, 0.0)
            happenings.insert(0, InputSeen(ago, exact=True))
        if kind == "hold":
            happenings.insert(0, AskedAfter(await self._asked_ago(session_id)))
        await self.apply(session_id, *happenings)

    async def _asked_ago(self, session_id: str) -> float:
        """Seconds since somebody asked after a session that waits, here or at another gateway."""
        if session_id in self._watchers or any(look(session_id) for look in self.presences):
            return 0.0
        here, elsewhere = self.line.asked_ago(session_id), await self.store.asked_at(session_id)
        ago = LONG_AGO_S if here is None else here
        if elsewhere is not None:
            ago = min(ago, max((self._clock.now() - elsewhere).total_seconds(), 0.0))
        return ago

    def _note(self, before: Session, after: Session) -> None:
        if before.life.state != after.life.state:
            log.info(
                "session.changed",
                session_id=after.id,
                before=before.life.state,
                state=after.life.state,
                outcome=after.life.outcome,
                reason=after.life.reason,
            )

    def _tell(self, session: Session, effects: tuple[Effect, ...]) -> None:
        """Leases, hints, listeners; nothing here waits."""
        hint = {"session_id": session.id, "revision": session.revision, "home": session.home}
        self._bus.publish(SESSION_CHANGED, hint)
        if session.home == self.home:
            self.follow(session, effects)
        else:
            self.wake(session.id)

    def follow(self, session: Session, effects: tuple[Effect, ...]) -> None:
        """*session* is at home here and has changed: leases, listeners, who watches it."""
        self.leases.keep(session.id, session.life.leases())
        if session.life.state == "ended":
            self._inputs.pop(session.id, None)
        for listener in self.listeners:
            listener(session, effects)
        self.wake(session.id)

    def let_go(self, session_id: str) -> None:
        """Another gateway drives this one now: no lease of it rings here any more."""
        self.store.drop(session_id)
        self.leases.keep(session_id, ())
        self._inputs.pop(session_id, None)
        self.wake(session_id)

    def wake(self, session_id: str) -> None:
        """Let who watches the session look at it again."""
        for event in self._watchers.get(session_id, ()):
            event.set()

    def _lock(self, name: str) -> anyio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            lock = anyio.Lock()
            self._locks[name] = lock
        return lock


def _came_to_nothing(life: Life) -> bool:
    """Whether it ended before its first picture, by a fault of ours alone."""
    if (life.state, life.outcome) != ("ended", "failed"):
        return False
    return life.reason == NOT_PLACED or (life.reason in OURS and life.progress is not None)


def _may_anybody(happenings: Sequence[Happening]) -> bool:
    """The end of a session may be asked for at every gateway; its home does the rest."""
    return bool(happenings) and all(isinstance(item, EndAsked) for item in happenings)
