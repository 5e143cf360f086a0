"""The catalogue of the region's manager, passed on for gateways: read, publish, change, remove."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request
from starlette.responses import JSONResponse

from downstage.agent.bridge import ManagerClients, carry
from downstage.agent.routes import answer
from downstage.auth.principal import Principal
from downstage.contracts.applications import ApplicationPatch
from downstage.kernel.errors import TooLarge
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["catalogue_router"]

MAX_ARCHIVE = 1 << 20
"""What gateways publish names a container image and little else; larger ones go to the manager."""
BASE = "/v1/catalogue/applications"
Reader = Annotated[Principal, Depends(require("instances:read"))]
Publisher = Annotated[Principal, Depends(require("applications:write"))]
Digest = Annotated[str | None, Header(alias="Downstage-Digest")]


def catalogue_router(managers: ManagerClients) -> ServiceAPIRouter:
    """Routes that call the manager in the name of the person who asks."""
    router = ServiceAPIRouter(tags=["agent"])

    @router.get(BASE)
    async def list_catalogue(caller: Reader) -> JSONResponse:
        """All applications with their versions."""
        return answer(await carry(managers(caller.person).v1.catalogue.applications.get))

    @router.get(f"{BASE}/{{name}}", responses=refusals(404))
    async def get_catalogued(name: str, caller: Reader) -> JSONResponse:
        """One application with its versions."""
        return answer(await carry(managers(caller.person).v1.catalogue.applications[name].get))

    @router.post(BASE, status_code=201, responses=refusals(409, 413))
    async def publish(request: Request, caller: Publisher, digest: Digest = None) -> JSONResponse:
        """Publish a small archive."""
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > MAX_ARCHIVE:
                raise TooLarge(f"An archive of more than {MAX_ARCHIVE} bytes goes to the manager.")
        post = managers(caller.person).v1.catalogue.applications.post
        headers = {"Downstage-Digest": digest} if digest else {}
        return answer(await carry(post, bytes(data), status=201, __headers__=headers))

    @router.patch(f"{BASE}/{{name}}", responses=refusals(404, 409))
    async def change(name: str, body: ApplicationPatch, caller: Publisher) -> JSONResponse:
        """Change what may change of an application."""
        patch = managers(caller.person).v1.catalogue.applications[name].patch
        return answer(await carry(patch, body.model_dump(mode="json", exclude_none=True)))

    @router.delete(f"{BASE}/{{name}}", responses=refusals(404, 409))
    async def remove(name: str, caller: Publisher) -> JSONResponse:
        """Remove an application that nobody uses."""
        return answer(await carry(managers(caller.person).v1.catalogue.applications[name].delete))

    _ = (list_catalogue, get_catalogued, publish, change, remove)
    return router
