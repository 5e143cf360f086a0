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
from pydantic import SecretStr

from downstage.auth.seal import Sealer
from downstage.bus import Bus
from downstage.contracts.gateway import SESSION_CHANGED, SessionView
from downstage.contracts.manager import InstanceCreate
from downstage.gateway.facts import NOTHING_NEW, Facts
from downstage.gateway.leases import LeaseKeeper, read_clock
from downstage.gateway.models import Key, Session, view
from downstage.gateway.orders import Order
from downstage.gateway.region import is_refusal
from downstage.gateway.regions.regions import Regions
from downstage.gateway.regions.score import Ranking
from downstage.gateway.session_files import SessionFiles
from downstage.gateway.stages import OwnStages
from downstage.gateway.states import (
    Effect,
    EndAsked,
    Event,
    InputSeen,
    InstanceEnded,
    LeaseKind,
    LeaseRanOut,
    Now,
    Placed,
    Policy,
    Progressed,
    Restored,
    begin,
    step,
)
from downstage.gateway.store import Store
from downstage.gateway.terms import Terms
from downstage.gateway.tickets import TicketOffice
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Conflict, NotFound, PlatformError, Unavailable
from downstage.kernel.ids import new_id, new_uuid
from downstage.kernel.logging import get_logger

__all__ = ["Facts", "Listener", "Order", "Sessions"]

TRIES = 5
"""Times that a change is tried again because another gateway was faster."""
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
        office: mints the streamer's token.
        policy: how long leases last.
        clock, bus: of the platform.
        sealer: closes access tokens while they wait.
        home: address of this gateway.
        link_url: where streamers dial.
        link_urls: where they dial when that one is gone.
        ice_servers: handed to streamers.
        files: what applications may touch of the platform's own content.
    """

    def __init__(
        self,
        *,
        store: Store,
        regions: Regions,
        office: TicketOffice,
        policy: Policy,
        clock: Clock,
        bus: Bus,
        sealer: Sealer,
        home: str,
        link_url: str,
        link_urls: Sequence[str] = (),
        ice_servers: Sequence[dict[str, str]] = (),
        files: SessionFiles | None = None,
    ) -> None:
        self.store = store
        self.regions = regions
        self.placing: set[str] = set()
        """Sessions whose instance is being asked for: their rows may be ahead of the manager."""
        self.listeners: list[Listener] = []
        self.leases = LeaseKeeper(clock, self._lease_rang)
        self._office = office
        self._policy = policy
        self._clock = clock
        self._bus = bus
        self._sealer = sealer
        self.home = home
        self._link_url = link_url
        self._link_urls = list(link_urls)
        self._ice_servers = list(ice_servers)
        self.files = files or SessionFiles(office, OwnStages(home), None)
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._inputs: dict[str, float] = {}
        self._watchers: dict[str, set[anyio.Event]] = {}

    def now(self) -> Now:
        """This moment."""
        return read_clock(self._clock)

    def view(self, session: Session) -> SessionView:
        """*session* as its owner may see it."""
        return view(session, self.now())

    async def create(self, order: Order) -> Session:
        """Start what *order* asks for; the same idempotency key starts it once.

        Raises:
            InvalidField, NotFound, NoCapacity, Conflict, Unavailable: nothing was started, or
                what was is being ended.
        """
        if order.key is None:
            return await self._create(order)
        async with self._lock(f"key:{order.key.tenant}:{order.key.owner}:{order.key.key}"):
            earlier = await self.store.find_key(order.key, self._clock.now())
            found = await self.store.get(earlier) if earlier else None
            return found or await self._create(order)

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
                if await self.store.replace(changed, session.revision):
                    self._note(session, changed)
                    self._tell(changed, effects)
                    return changed
        raise Conflict("The session changes too fast; try again.", session_id=session_id)

    def note_input(self, session_id: str, ago: float) -> Event | None:
        """Remember when the newest input came; an event where that renews the idle lease."""
        moment = self._clock.monotonic() - max(ago, 0.0)
        known = self._inputs.get(session_id)
        if known is not None and moment - known < 1:
            return None
        self._inputs[session_id] = max(moment, known or moment)
        return InputSeen(ago)

    async def watch(self, session_id: str) -> AsyncIterator[Session]:
        """The session now, and again at every change, until it has ended or is gone."""
        revision = 0
        while True:
            changed = anyio.Event()
            events = self._watchers.setdefault(session_id, set())
            events.add(changed)
            try:
                session = await self.store.get(session_id)
                if session is None:
                    return
                if session.revision > revision:
                    revision = session.revision
                    yield session
                if session.life.state == "ended":
                    return
                with anyio.move_on_after(None if session.home == self.home else ELSEWHERE_S):
                    await changed.wait()
            finally:
                events.discard(changed)
                if not events and self._watchers.get(session_id) is events:
                    del self._watchers[session_id]

    async def restore(self) -> list[Session]:
        """After a start: every session that may still have something running, leases granted."""
        found = list[Session]()
        for row in await self.store.not_ended():
            session = await self.apply(row.id, Restored())
            if session is not None:
                found.append(session)
        return found

    async def _create(self, order: Order) -> Session:
        ranking = await self.regions.choose(order.where)
        session = self._new(order, ranking)
        # Whoever asked may hang up: what was begun is finished, so that nothing is left over.
        with anyio.CancelScope(shield=True):
            self.placing.add(session.id)
            try:
                if not await self.store.insert(session, order.key):
                    return await self._made_by(order.key)
                self._tell(session, ())
                log.info("session.created", session_id=session.id, application=order.application)
                session = await self._place(session, order, ranking.regions)
            finally:
                self.placing.discard(session.id)
                latest = await self.store.get(session.id)
                if latest is not None and latest.life.state == "ending":
                    self._tell(latest, (Effect.STOP_INSTANCE,))
        return session

    async def _made_by(self, key: Key | None) -> Session:
        """What another gateway made by the same key at the same moment."""
        earlier = await self.store.find_key(key, self._clock.now()) if key is not None else None
        found = await self.store.get(earlier) if earlier else None
        if found is None:
            raise Unavailable("The same request was made at the same moment.", retry_after_s=1)
        return found

    async def _place(self, session: Session, order: Order, regions: tuple[str, ...]) -> Session:
        try:
            wanted = await self._wanted(session, order)
        except PlatformError:
            await self._withdraw(session)
            raise
        try:
            region, instance = await self.regions.launch(regions, wanted, act=order.act)
        except PlatformError as error:
            if is_refusal(error):
                await self._withdraw(session)
            else:
                await self.apply(session.id, EndAsked("failed", "start-failed", error.detail))
            raise
        placed = await self.apply(
            session.id,
            Placed(instance.id),
            Progressed(instance.stage),
            facts=Facts(application=instance.application, region=region),
        )
        return placed or session

    async def _wanted(self, session: Session, order: Order) -> InstanceCreate:
        files = await self.files.grant(session)
        return InstanceCreate(
            session_id=session.id,
            instance_id=session.life.instance_id,
            tenant=session.tenant,
            owner=session.owner,
            application=order.application,
            stage=order.stage,
            arguments=list(order.arguments),
            environment=order.environment,
            version=order.version,
            user_data=order.user_data,
            **order.wishes.fields(),
            display=order.display,
            access_token=order.access_token or files.token,
            content_folder=files.folder,
            content_host=files.host,
            instance_token=SecretStr(await self._office.instance_token(session)),
            link_url=self._link_url,
            link_urls=self._link_urls,
            ice_servers=self._ice_servers,
        )

    async def _withdraw(self, session: Session) -> None:
        """Nothing was started: leave no trace, unless somebody has asked for its end meanwhile."""
        async with self._lock(session.id):
            latest = await self.store.get(session.id)
            if latest is not None and latest.life.state == "queued":
                await self.store.forget(session.id)
                self.leases.keep(session.id, ())
                self.wake(session.id)
                return
        await self.apply(session.id, InstanceEnded("not-placed"))

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
        if Effect.ERASE_SECRET in effects:
            changed = replace(changed, sealed_token=None)
        return changed, tuple(effects)

    async def _lease_rang(self, session_id: str, kind: LeaseKind) -> None:
        happenings: list[Event] = [LeaseRanOut(kind)]
        newest = self._inputs.get(session_id)
        if kind == "idle" and newest is not None:
            ago = max(self._clock.monotonic() - newest, 0.0)
            happenings.insert(0, InputSeen(ago, exact=True))
        await self.apply(session_id, *happenings)

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


def _may_anybody(happenings: Sequence[Happening]) -> bool:
    """The end of a session may be asked for at every gateway; its home does the rest."""
    return bool(happenings) and all(isinstance(item, EndAsked) for item in happenings)
