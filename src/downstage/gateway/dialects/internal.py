"""What services ask of the gateway: a session for an instance that its manager begins with."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Depends

from downstage.auth.principal import Principal
from downstage.contracts.agent import SessionFor
from downstage.contracts.gateway import SessionView
from downstage.gateway.models import Key
from downstage.gateway.orders import Order
from downstage.gateway.regions.score import Wish
from downstage.gateway.sessions import Sessions
from downstage.gateway.wishes import Wishes
from downstage.kernel.errors import Forbidden, InvalidField
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["internal_router"]

Service = Annotated[Principal, Depends(require("sessions:write", kinds=("service",)))]


def internal_router(sessions: Sessions) -> APIRouter:
    """The routes; never on the public port."""
    router = ServiceAPIRouter(tags=["internal"])

    async def create_session(body: SessionFor, caller: Service) -> SessionView:
        """A session whose instance is chosen already; the same instance, the same session."""
        return sessions.view(await sessions.create(_order(body, caller)))

    router.add_api_route(
        "/v1/internal/sessions",
        create_session,
        methods=["POST"],
        status_code=201,
        responses=refusals(404, 409),
    )
    return router


def _order(body: SessionFor, caller: Principal) -> Order:
    if caller.act is None:
        raise Forbidden("A session belongs to a person: the caller acts for nobody.")
    wanted = body.instance
    if wanted.instance_id is None:
        raise InvalidField("instance.instance_id", "instance.instance_id: it must be chosen.")
    if wanted.session_id is not None:
        raise InvalidField("instance.session_id", "instance.session_id: it has one already.")
    # The id alone is what makes it the same: whoever asks again may have its secrets minted anew.
    sign = sha256(wanted.instance_id.encode()).hexdigest()
    return Order(
        tenant=caller.tenant,
        owner=caller.act,
        username=body.username,
        application=wanted.application,
        stage=wanted.stage,
        arguments=tuple(wanted.arguments),
        environment=wanted.environment,
        display=wanted.display,
        where=Wish(region=body.region),
        act=caller.act,
        access_token=wanted.access_token,
        key=Key(caller.tenant, caller.act, f"instance:{wanted.instance_id}", sign),
        version=wanted.version,
        user_data=wanted.user_data,
        wishes=Wishes.read(wanted.model_dump(mode="json")),
        instance_id=wanted.instance_id,
        dialect=body.dialect,
        extra=body.extra,
    )
