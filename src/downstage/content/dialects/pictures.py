"""What a page shows beside files: small pictures of stages, and who edits them live."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from downstage.content.dialects.routes import Path, Reader
from downstage.content.directory import Callers
from downstage.content.live import Live
from downstage.content.thumbnails import Thumbnails
from downstage.contracts.files import PresenceList, PresenceView
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["PictureRoutes"]

Checkpoint = Annotated[int, Query(ge=0, le=2**53)]


class Picture(Response):
    """A PNG of our own making: a browser may show it and keep it for as long as its tag holds."""

    media_type = "image/png"


class PictureRoutes:
    """The routes.

    Args:
        thumbnails: draws.
        live: who is in which layer.
        callers: makes callers of principals.
    """

    def __init__(self, thumbnails: Thumbnails, live: Live, callers: Callers) -> None:
        self._thumbnails = thumbnails
        self._live = live
        self._callers = callers

    def router(self) -> APIRouter:
        """As the host serves it."""
        router = ServiceAPIRouter(tags=["files"])
        router.get(
            "/v1/files-thumbnails",
            response_class=Picture,
            responses=refusals(400, 404, 429, 501, 503),
        )(self.get)
        router.get("/v1/files-live", responses=refusals(400, 404))(self.present)
        return router

    async def present(self, who: Reader, path: Path) -> PresenceList:
        """Who has a file open live, whoever came first before all others."""
        found = await self._live.present(await self._callers.of(who), path)
        return PresenceList(items=[PresenceView(name=name, since=since) for name, since in found])

    async def get(
        self,
        who: Reader,
        path: Path,
        checkpoint: Checkpoint = 0,
        if_none_match: Annotated[str | None, Header(max_length=256)] = None,
    ) -> Response:
        """A picture of a USD stage, 480 × 270, as it looks when it is opened."""
        caller = await self._callers.of(who)
        tag, picture = await self._thumbnails.get(caller, path, checkpoint)
        headers = {
            "etag": f'"{tag}"',
            "cache-control": "private, no-cache",
            "x-content-type-options": "nosniff",
        }
        if if_none_match == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Picture(picture, headers=headers)
