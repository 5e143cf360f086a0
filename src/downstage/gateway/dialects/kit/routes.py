"""Both halves of the Kit App Streaming API as one router."""

from __future__ import annotations

from fastapi import APIRouter

from downstage.gateway.admission import Admission
from downstage.gateway.dialects.door import Door
from downstage.gateway.dialects.kit.catalogue import CatalogueRoutes
from downstage.gateway.dialects.kit.streams import StreamingRoutes
from downstage.gateway.seats import Seats
from downstage.gateway.sessions import Sessions
from downstage.kernel.settings import Settings

__all__ = ["kit_router"]


def kit_router(
    sessions: Sessions, seats: Seats, admission: Admission, settings: Settings
) -> APIRouter:
    """``/cfg/apps…``, ``/streaming/stream`` and ``/stream``."""
    door = Door(admission, is_demo=settings.platform.demo)
    router = APIRouter()
    router.include_router(CatalogueRoutes(sessions.regions, door).router())
    router.include_router(
        StreamingRoutes(
            sessions, seats, admission, door, settings=settings, public=sessions.home
        ).router()
    )
    return router
