"""The manager's REST interface; see `downstage.contracts.manager`.

What only reads instances is public too: people see those of their own sessions.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from downstage.auth.principal import Principal
from downstage.contracts.manager import (
    ApplicationPage,
    ApplicationView,
    InstanceCreate,
    InstancePage,
    InstanceView,
)
from downstage.kernel.errors import Forbidden, NotFound
from downstage.manager.instances import Instances
from downstage.manager.listing import Wanted
from downstage.manager.planning import Planner
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["create_router", "instance_router"]

PAGE = 50
MAX_PAGE = 200
SEES = "instances:read"


def _seer(caller: Annotated[Principal, Depends(require())]) -> Principal:
    """Whoever may see sessions may see what runs for theirs; so may who operates the platform."""
    if not caller.may("sessions:read") and not caller.may(SEES):
        raise Forbidden("This needs the scope sessions:read.", scope="sessions:read")
    return caller


Seer = Annotated[Principal, Depends(_seer)]


def create_router(instances: Instances, planner: Planner) -> ServiceAPIRouter:
    """What is internal, on *instances* and *planner*; who may call is checked on each."""
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

    @router.post(
        "/v1/instances", dependencies=writes, status_code=201, responses=refusals(404, 409)
    )
    async def create_instance(body: InstanceCreate) -> InstanceView:
        """Start one; answers at once."""
        return await instances.create(body)

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

    _ = (list_applications, get_application, create_instance, stop_instance, tell_health)
    return router


def instance_router(instances: Instances) -> ServiceAPIRouter:
    """Reading *instances*, for people and services."""
    router = ServiceAPIRouter(tags=["instances"])

    @router.get("/v1/instances")
    async def list_instances(
        caller: Seer,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
        after: str | None = None,
        *,
        living: bool = False,
    ) -> InstancePage:
        """Instances of the caller's sessions, newest first; everybody's for who may see them."""
        tenant, owner = _bounds(caller)
        wanted = Wanted(tenant, owner, living=living, limit=limit, after=after)
        page = await instances.page(wanted)
        return page.model_copy(update={"items": [_shown(item, caller) for item in page.items]})

    @router.get("/v1/instances/{instance_id}", responses=refusals(404))
    async def get_instance(instance_id: str, caller: Seer) -> InstanceView:
        """One instance."""
        view = await instances.get(instance_id)
        tenant, owner = _bounds(caller)
        if tenant not in (None, view.tenant) or owner not in (None, view.owner):
            raise NotFound("There is no such instance.")
        return _shown(view, caller)

    _ = (list_instances, get_instance)
    return router


def _bounds(caller: Principal) -> tuple[str | None, str | None]:
    """Tenant and owner of the instances that *caller* may see; None: any."""
    if caller.kind == "service" and caller.act is None:
        return None, None
    if caller.kind != "service" and caller.may(SEES):
        return caller.tenant, None
    return caller.tenant, caller.person


def _shown(view: InstanceView, caller: Principal) -> InstanceView:
    """People do not see where on the node it listens; who owns it alone, not which node it is."""
    if caller.kind == "service":
        return view
    hidden: dict[str, object] = {"media_socket": None}
    if not caller.may(SEES):
        hidden |= {"node": "", "node_reason": None}
    return view.model_copy(update=hidden)
