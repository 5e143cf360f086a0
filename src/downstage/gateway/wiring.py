"""The gateway's parts put together, in three steps: sessions, who comes in, what is served."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstage.auth.seal import Sealer
from downstage.contracts.streamer import MAX_TO_BROWSER
from downstage.gateway.admission import Admission
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
from downstage.gateway.ice import IceServers, Relay, time_left
from downstage.gateway.launching import Launcher
from downstage.gateway.link import Links
from downstage.gateway.media import MediaRelay
from downstage.gateway.pages import Pages
from downstage.gateway.reconcile import Reconciler
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
from downstage.services.facilities.database import Database
from downstage.services.origins import own_origins

__all__ = ["Doors", "Found", "Jobs", "Stage", "open_doors", "policy_of", "serve", "set_stage"]

Jobs = tuple[Callable[[], Coroutine[Any, Any, None]], ...]
"""What runs until the shutdown."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is there before anything is wired."""

    context: ServiceContext
    database: Database
    homes: Homes
    regions: Regions
    sealer: Sealer
    runs: Path
    """Folder of the instances of this machine."""
    relay: Relay | None

    @property
    def gateways(self) -> tuple[str, ...]:
        """Addresses of this gateway and of the others on its database."""
        return (self.homes.url, *self.context.settings.gateway.peers)


@dataclass(frozen=True, slots=True)
class Stage:
    """Sessions and what happens to them."""

    office: TicketOffice
    sessions: Sessions
    rooms: Rooms
    queue: Queue
    reconciler: Reconciler
    takeover: TakeOver
    ice: IceServers


@dataclass(frozen=True, slots=True)
class Doors:
    """Who comes in."""

    admission: Admission
    seats: Seats
    resume: Resume
    tunnels: Tunnels
    siblings: frozenset[str]
    """Origins of the other gateways: their pages may ask here."""


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


def set_stage(found: Found) -> Stage:
    """Sessions, their rooms, the queue, and what keeps them true."""
    context, settings = found.context, found.context.settings.gateway
    clock = context.clock
    office = TicketOffice(context.client("identity"), settings.maximum_lease)
    store = Store(
        found.database, found.homes.url, Bounds(settings.sessions_per_user, settings.queue_length)
    )
    sessions = Sessions(
        store=store,
        regions=found.regions,
        launcher=_launcher(found, office),
        policy=policy_of(settings),
        clock=clock,
        bus=context.bus,
        sealer=found.sealer,
        home=found.homes.url,
    )
    fixed = context.settings.media.ice_servers
    ice = IceServers(fixed, found.relay, clock, lambda item: time_left(store.peek(item), clock))
    rooms = Rooms(lambda item: sessions.view(item).model_dump(mode="json"), ice.of)
    sessions.listeners.append(rooms.on_change)
    sessions.presences.append(lambda session_id: session_id in rooms.ids())
    sessions.viewers = rooms.viewers
    reconciler = Reconciler(sessions, context.bus)
    return Stage(
        office=office,
        sessions=sessions,
        rooms=rooms,
        queue=Queue(sessions, context.bus, clock, found.sealer),
        reconciler=reconciler,
        takeover=TakeOver(sessions, rooms, found.homes, context.bus, reconciler.mark),
        ice=ice,
    )


def _launcher(found: Found, office: TicketOffice) -> Launcher:
    context, settings = found.context, found.context.settings.gateway
    return Launcher(
        regions=found.regions,
        office=office,
        files=SessionFiles(
            office, OwnStages(context.urls.public), context.urls.content_folder or None
        ),
        link_url=settings.url or context.urls.link,
        link_urls=settings.peers,
        ice_servers=context.settings.media.ice_servers,
    )


def open_doors(found: Found, stage: Stage) -> Doors:
    """Admission, seats, and the ways back in."""
    context, settings = found.context, found.context.settings.gateway
    public, own, peers = context.urls.public, found.homes.url, settings.peers
    origins = own_origins(public, (*peers, own, *context.settings.platform.origins))
    store = stage.sessions.store
    admission = Admission(origins, store, stage.office, context.clock, stage.takeover.at_home)
    resume = Resume(stage.office, found.gateways, settings.resume_lease)
    code_life = settings.start_deadline + settings.connect_lease
    return Doors(
        admission=admission,
        seats=Seats(stage.office, admission, stage.sessions, own, code_life, resume=resume),
        resume=resume,
        tunnels=Tunnels(),
        siblings=own_origins(own, (public, *peers)) if peers else frozenset[str](),
    )


def serve(found: Found, stage: Stage, doors: Doors) -> Jobs:
    """Serve every route and socket; answers what is to run beside them."""
    _serve_own(found, stage, doors)
    context, sessions = found.context, stage.sessions
    admission, seats = doors.admission, doors.seats
    omniverse = OmniverseRoutes(sessions, seats, admission, context.settings, found.homes.url)
    context.public(omniverse.router())
    context.public(kit_router(sessions, seats, admission, context.settings))
    anbox = anbox_dialect(
        context,
        GatewayParts(sessions, stage.rooms, admission, stage.office, found.database, found.sealer),
    )
    context.public(anbox.router)
    others = found.gateways if context.settings.gateway.peers else ()
    audit = Audit(sessions, stage.reconciler.mark)
    stage.reconciler.on_gap.append(audit.ask_all)
    context.public(Pages(gateways=others, probes=found.regions.probes).router())
    return (
        found.regions.run,
        stage.reconciler.run,
        audit.run,
        sessions.leases.run,
        stage.queue.run,
        found.homes.run,
        stage.takeover.run,
        anbox.run,
    )


def _serve_own(found: Found, stage: Stage, doors: Doors) -> None:
    """Our own API, and the lines of streamers."""
    context, settings = found.context, found.context.settings.gateway
    sessions, rooms, clock, rate = (
        stage.sessions,
        stage.rooms,
        context.clock,
        settings.signalling_rate,
    )
    admission = doors.admission
    context.front(RELAYS, doors.tunnels, max_message=MAX_TO_BROWSER)
    context.public(SessionRoutes(sessions, doors.seats, admission, doors.siblings).router())
    streams_url = context.settings.services.streams or context.urls.streams
    at_home = stage.takeover.at_home
    context.public(StreamRoutes(sessions.store, rooms, at_home, streams_url).router())
    signalling = Signalling(
        admission, sessions, rooms, clock, rate, policy=stage.ice.policy, resume=doors.resume
    )
    media = MediaRelay(
        admission, sessions, rooms, stage.reconciler, found.runs, tunnels=doors.tunnels
    )
    context.public(socket_router(signalling, media))
    context.public(network_router(stage.ice))
    context.public(region_router(found.regions))
    context.internal(internal_router(sessions))
    links = Links(sessions, rooms, stage.reconciler, stage.takeover, clock, rate=rate)
    # Where gateways have addresses of their own, streamers dial them there.
    (context.public if settings.url else context.internal)(link_router(links))
