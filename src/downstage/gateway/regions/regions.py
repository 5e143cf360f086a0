"""All regions of this gateway: the one of its settings, and those that tell of themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import anyio
from pydantic import ValidationError

from downstage.bus import Bus, Message
from downstage.contracts.agent import ANY_ANNOUNCED, Announcement, RegionView, is_region
from downstage.contracts.manager import (
    ApplicationPage,
    ApplicationView,
    InstanceCreate,
    InstanceView,
)
from downstage.gateway.region import AgentClients, Region
from downstage.gateway.regions.locations import Locations
from downstage.gateway.regions.score import Ranking, Wish, rank
from downstage.gateway.regions.sights import Counts, RegionFacts, Sights
from downstage.kernel.clock import Clock
from downstage.kernel.errors import (
    InvalidField,
    NoCapacity,
    NotFound,
    PlatformError,
    Unavailable,
)
from downstage.kernel.logging import get_logger

__all__ = ["Reach", "Regions"]

POLL_S = 2.0
"""How often the region of the settings is asked how it is, where it does not tell by itself."""
STALE_S = 1.0
"""What it said counts for so long to whoever wants to know now."""
OWN = "of-settings"
ONLY = "It is the only region."
ORIGIN = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:\d{1,5})?(?=/|$)", re.ASCII)
"""Host names alone: what an agent tells ends up in a header."""
MAX_PROBES = 16
log = get_logger(__name__)

Reach = Callable[[str], AgentClients]
"""Name of a region → how clients of its agents are made, over the bus."""


class Regions:
    """Which regions there are, and the way to each.

    Args:
        own: the region whose agent the settings name, or that runs in this process; None: there
            is none, all are heard of on the bus.
        reach: the way to the others; None: there are no others.
        clock, bus: of the platform.
        locations: where clients' addresses are.

    Attributes:
        on_back: called with the name of a region that answers after it had not, or by an agent
            that is new: what it told meanwhile is lost, the truth is to be read again.
        on_room: called with the name of a region that has a free place after it had none.
    """

    def __init__(
        self,
        own: Region | None,
        reach: Reach | None = None,
        *,
        clock: Clock,
        bus: Bus,
        locations: Locations | None = None,
    ) -> None:
        self.on_back: list[Callable[[str], None]] = []
        self.on_room: list[Callable[[str], None]] = []
        self._own = own
        self._reach = reach
        self._clock = clock
        self._bus = bus
        self._locations = locations or Locations()
        self._sights = Sights()
        self._others: dict[str, Region] = {}
        self._answering: dict[str, bool] = {}
        self._asked_at = -STALE_S
        self._asking = anyio.Lock()

    def of(self, name: str) -> Region:
        """The way to the region *name*, whether it answers or not.

        Raises:
            Unavailable: it can be no region of ours.
        """
        if self._own is not None and (self._reach is None or name == self._own.name):
            return self._own
        if self._reach is None or not is_region(name):
            raise Unavailable(f"This gateway knows no way to the region {name}.")
        found = self._others.get(name)
        if found is None:
            found = self._others[name] = Region(name, self._reach(name))
        return found

    def names(self) -> list[str]:
        """All that are known, in order."""
        own = {self._own.name} if self._own else set[str]()
        return sorted(self._sights.names() | own)

    def counts(self) -> Counts:
        """Agents, and those that give no sign of life."""
        return self._sights.counts(self._clock.monotonic())

    async def facts(self) -> list[RegionFacts]:
        """Every region as it is now, by name."""
        await self._ask_own(STALE_S)
        now = self._clock.monotonic()
        return [self._sights.facts(name, now) for name in self.names()]

    async def views(self) -> list[RegionView]:
        """The same, as anybody may see it."""
        return [
            RegionView(
                name=item.name,
                free=item.free,
                capacity=item.capacity,
                probe=item.probe,
                latitude=item.latitude,
                longitude=item.longitude,
                answering=item.answering,
            )
            for item in await self.facts()
        ]

    def probes(self) -> list[str]:
        """Origins of the probes that a page can measure by; whatever else was told is none."""
        now = self._clock.monotonic()
        told = [self._sights.facts(name, now).probe or "" for name in self.names()]
        found = {match[0] for probe in told if (match := ORIGIN.match(probe))}
        return sorted(found)[:MAX_PROBES]

    async def choose(self, wish: Wish) -> Ranking:
        """Where somebody with this *wish* is served best.

        Raises:
            InvalidField: a region is named that nobody knows; the text names those that are known.
            Unavailable: the region that is named, or every region, does not answer.
        """
        self._check_known(wish.region)
        if self._own is not None and self._reach is None:
            return Ranking((self._own.name,), ONLY)
        facts = await self.facts()
        if wish.region is not None:
            return _named(next(item for item in facts if item.name == wish.region))
        ranking = rank(facts, wish, await self._locations.place(wish.address))
        if ranking is None:
            told = "; ".join(f"{item.name}: {item.why}" for item in facts)
            raise Unavailable(f"No region answers ({told or 'none is known'}).", retry_after_s=2)
        return ranking

    async def launch(
        self, names: Sequence[str], wanted: InstanceCreate, *, act: str | None = None
    ) -> tuple[str, InstanceView]:
        """Start *wanted* in the first of these regions that takes it; where, and what came of it.

        The next one is asked only where the one before said for certain that it started nothing:
        it is full after all, or has no such application.

        Raises:
            NoCapacity: at least one has no room, and none takes it.
            PlatformError: as `Region.create` says, of the first.
        """
        refused: PlatformError | None = None
        for name in names:
            try:
                return name, await self.of(name).create(wanted, act=act)
            except NoCapacity as error:
                self._sights.fill(name)  # until it says otherwise
                refused = error
            except NotFound as error:
                refused = refused or error
        if refused is None:
            raise Unavailable("No region was named.")
        raise refused

    async def stop(self, instance_id: str, region: str | None) -> None:
        """End an instance that is nobody's, wherever it is where *region* does not say it.

        Raises:
            Unavailable: a region that may have it does not answer.
        """
        if region is not None:
            await self.of(region).stop(instance_id)
            return
        failure: PlatformError | None = None
        for item in sorted(await self.facts(), key=lambda item: not item.answering):
            try:
                if await self.of(item.name).stop(instance_id) is not None:
                    return
            except PlatformError as error:
                failure = error
        if failure is not None:
            raise failure

    async def applications(self) -> ApplicationPage:
        """What can be started in at least one region that answers.

        Raises:
            Unavailable: none does.
        """
        if self._own is not None and self._reach is None:
            return await self._own.applications()
        found, failures = dict[str, ApplicationView](), list[PlatformError]()

        async def ask(name: str) -> None:
            try:
                page = await self.of(name).applications()
            except PlatformError as error:
                failures.append(error)
            else:
                for item in page.items:
                    known = found.get(item.name)
                    if known is None or known.unavailable is not None:
                        found[item.name] = item

        names = [item.name for item in await self.facts() if item.answering]
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(ask, name)
        if len(failures) == len(names):
            raise failures[0] if failures else Unavailable("No region answers.", retry_after_s=2)
        return ApplicationPage(items=sorted(found.values(), key=lambda item: item.name))

    async def check_health(self) -> None:
        """Return if sessions can be started in at least one region.

        Raises:
            Unavailable: in none; the detail says why.
        """
        if self._own is not None and self._reach is None:
            await self._own.check_health()
            return
        await self.choose(Wish())

    # Keeping watch

    async def run(self) -> None:
        """Listen to agents, and ask the one of the settings, until cancelled."""
        async with anyio.create_task_group() as tasks:
            if self._reach is not None:
                tasks.start_soon(self._listen)
            while True:
                await self._ask_own(POLL_S / 2)
                self._watch()
                await anyio.sleep(POLL_S)

    def close(self) -> None:
        """Let go of files."""
        self._locations.close()

    async def _listen(self) -> None:
        async with self._bus.subscribe(ANY_ANNOUNCED) as hints:
            async for hint in hints:
                told = _read(hint)
                if told is not None:
                    if self._own is not None and told.region == self._own.name:
                        self._sights.drop(told.region, OWN)
                    self._note(told)

    async def _ask_own(self, stale_s: float) -> None:
        """Ask the region of the settings, unless that is fresh or it tells by itself."""
        own = self._own
        if own is None:
            return
        async with self._asking:
            now = self._clock.monotonic()
            if now - self._asked_at < stale_s or self._tells_itself(own.name, now):
                return
            try:
                told = await own.look(OWN, POLL_S)
            except PlatformError as error:
                log.debug("region.not_seen", region=own.name, why=error.detail)
            else:
                self._note(told)
            self._asked_at = self._clock.monotonic()

    def _tells_itself(self, name: str, now: float) -> bool:
        return self._reach is not None and self._sights.is_told_by_another(name, OWN, now)

    def _note(self, told: Announcement) -> None:
        now = self._clock.monotonic()
        before = self._sights.facts(told.region, now)
        is_news = self._sights.note(told, now)
        if not before.free and self._sights.facts(told.region, now).free:
            for listener in self.on_room:
                listener(told.region)
        if not is_news:
            return
        log.info("region.answers", region=told.region, agent=told.agent, free=told.free)
        self._answering[told.region] = True
        for listener in self.on_back:
            listener(told.region)

    def _watch(self) -> None:
        """Tell, once, of regions that have fallen silent."""
        now = self._clock.monotonic()
        for name in self.names():
            facts = self._sights.facts(name, now)
            if self._answering.get(name) and not facts.answering:
                log.warning("region.silent", region=name, why=facts.why)
            self._answering[name] = facts.answering

    def _check_known(self, name: str | None) -> None:
        names = self.names()
        if name is not None and name not in names:
            known = ", ".join(names) or "none yet"
            raise InvalidField("region", f"region: there is no region {name[:64]}; known: {known}.")


def _named(facts: RegionFacts) -> Ranking:
    if not facts.answering:
        raise Unavailable(f"The region {facts.name} does not answer: {facts.why}.", retry_after_s=2)
    return Ranking((facts.name,), "It was asked for by name.")


def _read(hint: Message) -> Announcement | None:
    """What an agent told; None where it is no word of the region by whose subject it came."""
    if not hint.subject:
        return None  # something was lost; the next one is under way
    try:
        told = Announcement.model_validate(dict(hint.payload))
    except ValidationError as error:
        log.warning("region.not_understood", subject=hint.subject, errors=error.error_count())
        return None
    region = hint.subject.split(".")[1]
    if told.region != region or not is_region(region):
        log.warning("region.not_understood", subject=hint.subject, errors=1)
        return None
    return told
