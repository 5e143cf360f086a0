"""``GET /v1/regions``: what there is to choose from, so that pages and programs can measure."""

from __future__ import annotations

from fastapi import APIRouter, Response

from downstage.contracts.agent import RegionPage
from downstage.gateway.regions.regions import Regions
from downstage.services.routers import ServiceAPIRouter

__all__ = ["region_router"]


def region_router(regions: Regions) -> APIRouter:
    """The route; anybody may ask."""
    router = ServiceAPIRouter(tags=["regions"])

    async def list_regions(response: Response) -> RegionPage:
        """All regions, where they are, and what to measure the distance by."""
        response.headers["cache-control"] = "no-store"
        return RegionPage(items=await regions.views())

    router.add_api_route("/v1/regions", list_regions, methods=["GET"])
    return router
