"""The gateway as the service host starts it: the one place where its parts are wired."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.to_thread

from downstage.auth.seal import Sealer
from downstage.contracts.streamer import MAX_TO_BROWSER
from downstage.gateway.admission import Admission, allowed_origins
from downstage.gateway.audit import Audit
from downstage.gateway.dialects.anbox.wiring import GatewayParts, anbox_dialect
from downstage.gateway.dialects.internal import internal_router
from downstage.gateway.dialects.kit.routes import kit_router
from downstage.gateway.dialects.network import network_router
from downstage.gateway.dialects.omniverse import OmniverseRoutes
from downstage.gateway.dialects.regions import region_router
from downstage.gateway.dialects.streams import StreamRoutes
from downstage.gateway.dialects.v1 import SessionRoutes, link_router, socket_router
from downstage.gateway.homes import Homes
from downstage.gateway.ice import IceServers, Relay, read_relay, time_left
from downstage.gateway.launching import Launcher
from downstage.gateway.link import Links
from downstage.gateway.media import MediaRelay
from downstage.gateway.pages import Pages
from downstage.gateway.reconcile import Reconciler
from downstage.gateway.regions.metrics import metric_lines
from downstage.gateway.regions.opening import open_regions
from downstage.gateway.regions.regions import Regions
from downstage.gateway.resume import Resume
from downstage.gateway.rooms import Rooms
from downstage.gateway.seats import Seats
from downstage.gateway.session_files import SessionFiles
from downstage.gateway.sessions import Sessions
from downstage.gateway.signalling import Signalling
from downstage.gateway.stages import OwnStages
from downstage.gateway.states import Policy
from downstage.gateway.store import Bounds, Store
from downstage.gateway.takeover import TakeOver
from downstage.gateway.tickets import TicketOffice
from downstage.gateway.tunnel import PATH as RELAYS
from downstage.gateway.tunnel import Tunnels
from downstage.gateway.waiting import Queue
from downstage.kernel.settings import Gateway as GatewaySettings
from downstage.services.context import ServiceContext
from downstage.services.extension import IExt
from downstage.services.facilities.database import Database, open_database
from downstage.spawners.process import run_folder

__all__ = ["Extension", "policy_of"]


def policy_of(settings: GatewaySettings) -> Policy:
    """The leases that *settings* ask for."""
    return Policy(
        start=settings.start_deadline,
        connect=settings.connect_lease,
        resume=settings.resume_lease,
        idle=settings.idle_lease,
        maximum=settings.maximum_lease,
        end=settings.end_deadline,
        hold=settings.queue_hold,
        queue=settings.queue_lease,
    )


class Extension(IExt):
    """Opens the database, wires the parts, serves the routes.

    Attributes:
        regions, sessions, seats, reconciler: as they run, for tests in the same process.
    """

    requires: ClassVar[Mapping[str, str]] = {"identity": "?", "agent": "?"}

    regions: Regions
    sessions: Sessions
    seats: Seats
    reconciler: Reconciler

    _database: Database | None = None
    _homes: Homes | None = None
    _queue: Queue | None = None
    _rooms: Rooms | None = None
    _admission: Admission | None = None
    _jobs: anyio.CancelScope | None = None
    _idle: anyio.Event

    async def on_startup(self, ext_id: str) -> None:
        """Wire everything; sessions that were there before are taken up again."""
        del ext_id
        context = self.context
        sealer = await anyio.to_thread.run_sync(Sealer.from_file, context.data / "gateway.key")
        runs = await anyio.to_thread.run_sync(run_folder, context.data)
        relay = await anyio.to_thread.run_sync(read_relay, context.settings.turn)
        database = self._database = await open_database(
            context.data / "gateway.db",
            name="gateway",
            migrations="downstage.gateway.migrations",
            url=context.settings.platform.database,
        )
        self.regions = await open_regions(context)
        homes = self._homes = _homes_of(context, database)
        await homes.beat()
        self._wire(context, database, homes, sealer=sealer, runs=runs, relay=relay)

    def _wire(
        self,
        context: ServiceContext,
        database: Database,
        homes: Homes,
        *,
        sealer: Sealer,
        runs: Path,
        relay: Relay | None,
    ) -> None:
        settings, clock = context.settings.gateway, context.clock
        bounds = Bounds(settings.sessions_per_user, settings.queue_length)
        store = Store(database, homes.url, bounds)
        ice_servers = context.settings.media.ice_servers
        office = TicketOffice(context.client("identity"), settings.maximum_lease)
        sessions = Sessions(
            store=store,
            regions=self.regions,
            launcher=Launcher(
                regions=self.regions,
                office=office,
                files=SessionFiles(
                    office, OwnStages(context.urls.public), context.urls.content_folder or None
                ),
                link_url=settings.url or context.urls.link,
                link_urls=settings.peers,
                ice_servers=ice_servers,
            ),
            policy=policy_of(settings),
            clock=clock,
            bus=context.bus,
            sealer=sealer,
            home=homes.url,
        )
        ice = IceServers(ice_servers, relay, clock, lambda item: time_left(store.peek(item), clock))
        rooms = Rooms(lambda item: sessions.view(item).model_dump(mode="json"), ice.of)
        sessions.listeners.append(rooms.on_change)
        sessions.presences.append(lambda session_id: session_id in rooms.ids())
        queue = self._queue = Queue(sessions, context.bus, clock, sealer)
        reconciler = Reconciler(sessions, context.bus)
        further = (*settings.peers, homes.url, *context.settings.platform.origins)
        origins = allowed_origins(context.urls.public, further)
        public, peers = context.urls.public, settings.peers
        siblings = allowed_origins(homes.url, (public, *peers)) if peers else frozenset[str]()
        tunnels = Tunnels()
        context.front(RELAYS, tunnels, max_message=MAX_TO_BROWSER)
        takeover = TakeOver(sessions, rooms, homes, context.bus, reconciler.mark)
        admission = Admission(origins, store, office, clock, takeover.at_home)
        rate = settings.signalling_rate
        code_life = settings.start_deadline + settings.connect_lease
        gateways = (homes.url, *settings.peers)
        resume = Resume(office, gateways, settings.resume_lease)
        seats = Seats(office, admission, sessions, public, code_life, resume=resume)
        omniverse = OmniverseRoutes(
            sessions, seats, admission, context.settings, context.urls.public
        )
        context.public(SessionRoutes(sessions, seats, admission, siblings).router())
        streams_url = context.settings.services.streams or context.urls.streams
        context.public(StreamRoutes(store, rooms, takeover.at_home, streams_url).router())
        context.public(
            socket_router(
                Signalling(
                    admission, sessions, rooms, clock, rate, policy=ice.policy, resume=resume
                ),
                MediaRelay(admission, sessions, rooms, reconciler, runs, tunnels=tunnels),
            )
        )
        context.public(omniverse.router())
        context.public(kit_router(sessions, seats, admission, context.settings))
        context.public(network_router(ice))
        anbox = anbox_dialect(
            context, GatewayParts(sessions, rooms, admission, office, database, sealer)
        )
        context.public(anbox.router)
        context.public(region_router(self.regions))
        others = gateways if settings.peers else ()
        context.public(Pages(gateways=others, probes=self.regions.probes).router())
        context.internal(internal_router(sessions))
        links = Links(sessions, rooms, reconciler, takeover, clock, rate=rate)
        # Where gateways have addresses of their own, streamers dial them there.
        (context.public if settings.url else context.internal)(link_router(links))
        jobs = (
            self.regions.run,
            reconciler.run,
            Audit(sessions, reconciler.mark).run,
            sessions.leases.run,
            queue.run,
            homes.run,
            takeover.run,
            anbox.run,
        )
        context.start(self._work, jobs, name="work")
        self._rooms, self._admission = rooms, admission
        self.sessions, self.seats, self.reconciler = sessions, seats, reconciler

    async def _work(self, jobs: tuple[Callable[[], Coroutine[Any, Any, None]], ...]) -> None:
        """Run *jobs* until the shutdown: none of them may use the database after it."""
        self._idle = anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                self._jobs = tasks.cancel_scope
                for job in jobs:
                    tasks.start_soon(job)
        finally:
            self._idle.set()

    async def on_shutdown(self) -> None:
        """Close the database; sessions go on, their streamers dial again."""
        if self._jobs is not None:
            self._jobs.cancel()
            await self._idle.wait()
        if self._homes is not None:
            await self._homes.leave()
        if self._database is not None:
            await self._database.close()

    def metrics(self) -> list[str]:
        """Viewers and refusals, for Prometheus."""
        if self._rooms is None or self._admission is None or self._queue is None:
            return []
        lines = [
            "# HELP downstage_viewers People who watch a session now.",
            "# TYPE downstage_viewers gauge",
            f"downstage_viewers {self._rooms.count()}",
            "# HELP downstage_handshakes_refused_total Sockets of sessions that were not let in.",
            "# TYPE downstage_handshakes_refused_total counter",
        ]
        lines += [
            f'downstage_handshakes_refused_total{{cause="{cause}"}} {number}'
            for cause, number in sorted(self._admission.refused.items())
        ]
        lines += metric_lines(self.regions.counts(), len(self.sessions.store.kept()))
        return lines + self._queue.metrics()


def _homes_of(context: ServiceContext, database: Database) -> Homes:
    settings = context.settings.gateway
    url = (settings.url or context.urls.public).rstrip("/")
    # A file in our own data folder is ours alone, unless others are named.
    alone = not settings.peers and context.settings.platform.database is None
    return Homes(database, url, settings.home_lease, alone=alone)
