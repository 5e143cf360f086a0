"""The dialect put together, on a manager."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter

from downstage.kernel.settings import Settings
from downstage.manager.catalogue.service import Applications
from downstage.manager.dialects.ams.applications import add_application_routes
from downstage.manager.dialects.ams.callers import Callers
from downstage.manager.dialects.ams.certificate import own_certificate
from downstage.manager.dialects.ams.envelope import BASE, AmsRoute
from downstage.manager.dialects.ams.events import EventHub
from downstage.manager.dialects.ams.execs import add_exec_routes
from downstage.manager.dialects.ams.instances import add_instance_routes
from downstage.manager.dialects.ams.lives import Lives
from downstage.manager.dialects.ams.operations import Operations
from downstage.manager.dialects.ams.parts import Parts
from downstage.manager.dialects.ams.port import AmsPort
from downstage.manager.dialects.ams.service import add_service_routes
from downstage.manager.dialects.ams.store import AmsStore
from downstage.manager.dialects.ams.things import add_thing_routes
from downstage.manager.instances import Instances
from downstage.manager.logs import InstanceLogs
from downstage.manager.nodes.fleet import Fleet
from downstage.services.context import ServiceContext
from downstage.services.facilities.database import Database
from downstage.services.server import open_port

__all__ = ["serve_ams"]


async def serve_ams(
    context: ServiceContext,
    database: Database,
    instances: Instances,
    *,
    applications: Applications,
    fleet: Fleet,
    logs: InstanceLogs,
) -> None:
    """Serve the dialect on the public port, and on its own where the settings name one."""
    store, events = AmsStore(database), EventHub()
    await store.load()
    parts = Parts(
        instances=instances,
        applications=applications,
        fleet=fleet,
        logs=logs,
        agents=lambda person: context.client("agent", act=person),
        callers=Callers(store),
        store=store,
        events=events,
        operations=Operations(events, context.start),
        cluster=context.settings.agent.region,
        strategy=context.settings.manager.strategy,
    )
    instances.listeners.append(Lives(events).changed)
    context.start(store.keep_short, name="ams-notes")
    context.public(_router(parts), max_body=context.settings.manager.max_upload)
    if context.settings.manager.ams_port is not None:
        port = await _open(context, store)
        context.start(port.run, name="ams")


def _router(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["ams"], route_class=AmsRoute)
    add_service_routes(router, parts)
    add_application_routes(router, parts)
    add_instance_routes(router, parts)
    add_exec_routes(router, parts)
    add_thing_routes(router, parts)
    # Routers of services read dots in a prefix as slashes; this prefix has one.
    whole = APIRouter()
    whole.include_router(router, prefix=BASE)
    return whole


async def _open(context: ServiceContext, store: AmsStore) -> AmsPort:
    settings = context.settings
    number = settings.manager.ams_port
    assert number is not None  # noqa: S101 - it was asked for
    certificate = await anyio.to_thread.run_sync(_certificate, settings, context.data)
    listening = open_port(settings.manager.ams_host, number)
    return AmsPort(context.app, listening, certificate, store)


def _certificate(settings: Settings, data: Path) -> tuple[Path, Path]:
    """The platform's own, where it has one; else one that it makes."""
    platform = settings.platform
    if platform.tls_certificate is not None and platform.tls_key is not None:
        return platform.tls_certificate, platform.tls_key
    return own_certificate(data, settings.manager.ams_host)
