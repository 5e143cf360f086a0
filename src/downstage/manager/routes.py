"""The manager's REST interface, internal; see `downstage.contracts.manager`."""

from __future__ import annotations

from fastapi import Depends

from downstage.contracts.manager import (
    ApplicationPage,
    ApplicationView,
    InstanceCreate,
    InstancePage,
    InstanceView,
)
from downstage.manager.instances import Instances
from downstage.manager.planning import Planner
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["create_router"]


def create_router(instances: Instances, planner: Planner) -> ServiceAPIRouter:
    """Routes on *instances* and *planner*; who may call is checked on each."""
    router = ServiceAPIRouter(tags=["manager"])
    reads = [Depends(require("instances:read"))]
    writes = [Depends(require("instances:write"))]

    @router.get("/v1/applications", dependencies=reads)
    async def list_applications() -> ApplicationPage:
        """All declared applications."""
        return await planner.page()

    @router.get("/v1/applications/{name}", dependencies=reads, responses=refusals(404))
    async def get_application(name: str) -> ApplicationView:
        """One application."""
        return await planner.view(name)

    @router.get("/v1/instances", dependencies=reads)
    async def list_instances() -> InstancePage:
        """All instances on record."""
        return InstancePage(items=await instances.list())

    @router.post(
        "/v1/instances", dependencies=writes, status_code=201, responses=refusals(404, 409)
    )
    async def create_instance(body: InstanceCreate) -> InstanceView:
        """Start one; answers at once."""
        return await instances.create(body)

    @router.get("/v1/instances/{instance_id}", dependencies=reads, responses=refusals(404))
    async def get_instance(instance_id: str) -> InstanceView:
        """One instance."""
        return await instances.get(instance_id)

    @router.delete("/v1/instances/{instance_id}", dependencies=writes, responses=refusals(404))
    async def stop_instance(instance_id: str) -> InstanceView:
        """Ask it to end."""
        return await instances.stop(instance_id)

    @router.get("/v1/health", dependencies=reads)
    async def tell_health() -> dict[str, object]:
        """Whether it can start instances, and how many more."""
        capacity, running = instances.capacity, instances.running
        free = max(0, capacity - running)
        return {"ok": True, "capacity": capacity, "running": running, "free": free}

    _ = (list_applications, get_application, list_instances, create_instance)
    _ = (get_instance, stop_instance, tell_health)
    return router
