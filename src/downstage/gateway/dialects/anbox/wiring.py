"""The dialect's parts, put together for the gateway that serves it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from downstage.auth.seal import Sealer
from downstage.gateway.admission import Admission
from downstage.gateway.dialects.anbox.connecting import Connector
from downstage.gateway.dialects.anbox.origins import Origins
from downstage.gateway.dialects.anbox.places import PlaceRoutes
from downstage.gateway.dialects.anbox.revoking import Revoker
from downstage.gateway.dialects.anbox.routes import anbox_router
from downstage.gateway.dialects.anbox.sessions import SessionRoutes
from downstage.gateway.dialects.anbox.settings import Items
from downstage.gateway.dialects.anbox.shares import ShareRoutes
from downstage.gateway.dialects.anbox.sockets import Sockets
from downstage.gateway.listing import Listing
from downstage.gateway.rooms import Rooms
from downstage.gateway.sessions import Sessions
from downstage.gateway.shares import DialectSettings, Shares
from downstage.gateway.tickets import TicketOffice
from downstage.services.context import ServiceContext
from downstage.services.facilities.database import Database

__all__ = ["AnboxDialect", "GatewayParts", "anbox_dialect"]


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What the dialect stands on."""

    sessions: Sessions
    rooms: Rooms
    admission: Admission
    office: TicketOffice
    database: Database
    sealer: Sealer


@dataclass(frozen=True, slots=True)
class AnboxDialect:
    """What the gateway serves, and runs beside."""

    router: APIRouter
    run: Callable[[], Coroutine[Any, Any, None]]


def anbox_dialect(context: ServiceContext, parts: GatewayParts) -> AnboxDialect:
    """The dialect, wired."""
    settings = context.settings.gateway
    origins = Origins(parts.admission.origins)
    connector = Connector(parts.sessions, parts.rooms, parts.admission, parts.office)
    items = Items(DialectSettings(parts.database))
    shares = Shares(parts.database, parts.sealer)
    revoker = Revoker(shares, parts.sessions, parts.rooms, context.bus)
    router = anbox_router(
        SessionRoutes(
            parts.sessions,
            parts.admission,
            connector,
            Listing(parts.database),
            items,
            end_deadline=settings.end_deadline,
        ),
        ShareRoutes(
            parts.sessions,
            parts.admission,
            connector,
            shares,
            items,
            revoke=revoker,
            public=settings.url or context.urls.public,
        ),
        PlaceRoutes(parts.sessions, items),
        Sockets(
            parts.admission,
            parts.sessions,
            parts.rooms,
            origins,
            context.clock,
            rate=settings.signalling_rate,
        ),
        origins,
    )
    return AnboxDialect(router, revoker.run)
