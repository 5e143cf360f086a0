"""The agent's REST interface, internal: its manager's paths once more, and sessions for it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.responses import JSONResponse

from downstage.agent.bridge import Bridge, Reply
from downstage.agent.sessions import SessionDoor
from downstage.auth.principal import Principal
from downstage.contracts.agent import StreamedInstance
from downstage.contracts.gateway import SessionView
from downstage.contracts.manager import InstanceCreate
from downstage.kernel.errors import Forbidden
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["answer", "create_router"]

FIRST_ERROR = 400
Launcher = Annotated[Principal, Depends(require("instances:write"))]
Manager = Annotated[Principal, Depends(require("sessions:write", kinds=("service",)))]


def create_router(bridge: Bridge, door: SessionDoor) -> ServiceAPIRouter:
    """Routes on *bridge* and *door*; who may call is checked here, and by those behind again."""
    router = ServiceAPIRouter(tags=["agent"])
    reads = [Depends(require("instances:read"))]
    writes = [Depends(require("instances:write"))]

    @router.get("/v1/applications", dependencies=reads)
    async def list_applications() -> JSONResponse:
        """All applications of the region."""
        return answer(await bridge.applications())

    @router.get("/v1/applications/{name}", dependencies=reads, responses=refusals(404))
    async def get_application(name: str) -> JSONResponse:
        """One application."""
        return answer(await bridge.application(name))

    @router.get("/v1/instances", dependencies=reads)
    async def list_instances(
        limit: int | None = None, after: str | None = None, *, living: bool = False
    ) -> JSONResponse:
        """Instances of the region, page by page."""
        return answer(await bridge.instances(limit=limit, after=after, living=living))

    @router.post("/v1/instances", status_code=201, responses=refusals(404, 409))
    async def create_instance(body: InstanceCreate, caller: Launcher) -> JSONResponse:
        """Start one."""
        return answer(await bridge.create(body, caller.person))

    @router.get("/v1/instances/{instance_id}", dependencies=reads, responses=refusals(404))
    async def get_instance(instance_id: str) -> JSONResponse:
        """One instance."""
        return answer(await bridge.instance(instance_id))

    @router.delete("/v1/instances/{instance_id}", dependencies=writes, responses=refusals(404))
    async def stop_instance(instance_id: str) -> JSONResponse:
        """Ask for its end."""
        return answer(await bridge.stop(instance_id))

    @router.post(
        "/v1/sessions", status_code=201, response_model=SessionView, responses=refusals(404, 409)
    )
    async def create_session(body: StreamedInstance, caller: Manager) -> JSONResponse:
        """A session for an instance that its manager is about to start, in this region."""
        if caller.act is None:
            raise Forbidden("A session belongs to a person: the caller acts for nobody.")
        return answer(await door.create(body, caller.act))

    @router.get("/v1/health", dependencies=reads)
    async def tell_health() -> JSONResponse:
        """Whether the region can start instances; answers within 2 s."""
        return answer(await bridge.health())

    _ = (list_applications, get_application, list_instances, create_instance)
    _ = (get_instance, stop_instance, create_session, tell_health)
    return router


def answer(reply: Reply) -> JSONResponse:
    """The manager's reply as ours."""
    kind = "application/problem+json" if reply.status >= FIRST_ERROR else "application/json"
    return JSONResponse(reply.body, reply.status, headers=reply.headers, media_type=kind)
