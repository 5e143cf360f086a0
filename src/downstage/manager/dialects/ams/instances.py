"""``/instances`` (also ``/containers``): start, follow, stop, remove; their logs."""

from __future__ import annotations

from typing import Any, Literal

import anyio
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from downstage.auth.principal import Principal
from downstage.contracts.agent import StreamedInstance
from downstage.contracts.manager import Display, InstanceCreate, Needs
from downstage.kernel.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidField,
    NotSupported,
    PlatformError,
    Unavailable,
)
from downstage.kernel.ids import new_id
from downstage.manager.dialects.ams.applications import matching, read_json
from downstage.manager.dialects.ams.ending import add_ending
from downstage.manager.dialects.ams.envelope import listing, prefix_of, sync
from downstage.manager.dialects.ams.found import Found
from downstage.manager.dialects.ams.operations import Operation, accepted
from downstage.manager.dialects.ams.parts import Parts
from downstage.manager.dialects.ams.store import Note
from downstage.services.errors import BaseServiceError

__all__ = ["add_instance_routes"]

SEES, STARTS, LOOKS = "instances:read", "instances:write", "instances:exec"
FILTERS = ("id", "name", "type", "status", "node", "app_id", "app_name", "app_version", "tags")
MEBIBYTE = 1 << 20
WAIT_S = 660.0
"""For an image to be pulled and a first picture; the instance's own deadlines are shorter."""
LOOK_S = 0.2
START_S = 25.0
"""How long the way through agent and gateway, and back to us, may take."""
LATEST = -1


class _Asked(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class ResourcesAsked(_Asked):
    """What it is promised; memory and disk in bytes."""

    cpus: float | None = Field(default=None, ge=0, le=1024)
    memory: int | None = Field(default=None, ge=0)
    disk_size: int | None = Field(default=None, ge=0, alias="disk-size")
    gpu_slots: int = Field(default=0, ge=0, le=64, alias="gpu-slots")


class DisplayAsked(_Asked):
    """The picture."""

    width: int = Field(default=1280, ge=1, le=65535)
    height: int = Field(default=720, ge=1, le=65535)
    fps: int = Field(default=60, ge=1, le=240)
    density: int = Field(default=240, ge=1)


class ConfigAsked(_Asked):
    """How it runs."""

    platform: str = Field(default="", max_length=64)
    enable_streaming: bool = False
    display: DisplayAsked = DisplayAsked()


class ServiceAsked(_Asked):
    """A port of it."""

    name: str = Field(max_length=63)
    port: int = Field(ge=1, le=65535)
    port_end: int | None = None
    protocols: list[Literal["tcp", "udp"]] = Field(default_factory=lambda: ["tcp"], min_length=1)


class InstanceAsked(_Asked):
    """A new instance."""

    name: str | None = Field(default=None, max_length=128)
    type: Literal["container", "vm", ""] = "container"
    app_id: str = Field(default="", max_length=128)
    app_version: int | None = Field(default=None, ge=-1)
    image_id: str = Field(default="", max_length=512)
    node: str = Field(default="", max_length=128)
    tags: list[str] = Field(default_factory=list, max_length=64)
    no_start: bool = False
    user_data: str | None = Field(default=None, max_length=10 * 1024)
    addons: list[str] = Field(default_factory=list, max_length=32)
    services: list[ServiceAsked] = Field(default_factory=list[ServiceAsked], max_length=32)
    resources: ResourcesAsked = ResourcesAsked()
    config: ConfigAsked = ConfigAsked()

    def wanted(self, instance_id: str, caller: Principal) -> InstanceCreate:
        """As the manager is asked for it."""
        needs, screen = self.resources, self.config.display
        memory = needs.memory // MEBIBYTE if needs.memory else None
        return InstanceCreate.model_validate(
            {
                "instance_id": instance_id,
                "tenant": caller.tenant,
                "owner": caller.person or caller.subject,
                "application": self.app_id,
                "version": None if self.app_version in (None, LATEST) else self.app_version,
                "name": self.name,
                "node": self.node or None,
                "tags": self.tags,
                "user_data": self.user_data,
                "addons": self.addons,
                "ports": [
                    {"name": service.name, "number": service.port, "type": protocol.upper()}
                    for service in self.services
                    for protocol in service.protocols
                ],
                "needs": Needs(
                    cpus=needs.cpus or None,
                    memory_mb=memory,
                    disk_mb=(needs.disk_size // MEBIBYTE or None) if needs.disk_size else None,
                    gpu_slots=needs.gpu_slots,
                ),
                "display": Display(width=screen.width, height=screen.height, fps=screen.fps),
            }
        )


def add_instance_routes(router: APIRouter, parts: Parts) -> None:
    """All of them, under both names."""
    found = Found(parts)
    for kind in ("instances", "containers"):
        _add_reading(router, parts, found, kind)
        _add_starting(router, parts, kind)
        add_ending(router, parts, found, kind)


def _add_reading(router: APIRouter, parts: Parts, found: Found, kind: str) -> None:
    callers = parts.callers

    async def list_instances(request: Request) -> Response:
        """All instances."""
        items = await found.all(await callers.need(request, SEES))
        return listing(request, matching(request, items, FILTERS), kind, "id")

    async def get_instance(key: str, request: Request) -> Response:
        """One instance, by id or name."""
        caller = await callers.need(request, SEES)
        shown = await found.one(key, caller)
        logs = [log.name for log in await parts.logs.list(shown["id"])]
        return sync({**shown, "stored_logs": logs})

    async def list_logs(key: str, request: Request) -> Response:
        """Its logs."""
        view = await found.view(key, await callers.need(request, LOOKS))
        base = f"{prefix_of(request)}/{kind}/{view.id}/logs"
        return sync([f"{base}/{log.name}" for log in await parts.logs.list(view.id)])

    async def get_log(key: str, name: str, request: Request) -> Response:
        """The end of one log."""
        view = await found.view(key, await callers.need(request, LOOKS))
        text = await parts.logs.read(view.id, name)
        headers = {"x-content-type-options": "nosniff"}
        return Response(text, media_type="text/plain; charset=utf-8", headers=headers)

    one = f"/{kind}/{{key}}"
    router.add_api_route(f"/{kind}", list_instances, methods=["GET"])
    router.add_api_route(one, get_instance, methods=["GET"])
    router.add_api_route(f"{one}/logs", list_logs, methods=["GET"])
    router.add_api_route(f"{one}/logs/{{name}}", get_log, methods=["GET"])


def _add_starting(router: APIRouter, parts: Parts, kind: str) -> None:
    async def create_instance(request: Request) -> Response:
        """Start an instance, with a session of its own where streaming is enabled."""
        caller = await parts.callers.need(request, STARTS)
        asked = _read(await read_json(request))
        application = await parts.applications.get(asked.app_id)
        asked = asked.model_copy(update={"app_id": application.name})
        instance_id = new_id("i")
        config = asked.config.model_dump(mode="json")
        await parts.store.note(instance_id, Note(config))
        paths = [f"/instances/{instance_id}"]
        operation = Operation(
            caller.tenant,
            caller.subject,
            "Creating instance",
            {"instances": paths, "containers": paths},
        )
        is_patient = request.query_params.get("no_wait") not in ("1", "true")
        begun = anyio.Event()

        async def work(_: Operation) -> None:
            try:
                await _start(parts, asked, instance_id, caller)
            except PlatformError:
                await parts.store.note(instance_id, Note(config, deleted=True))
                raise
            finally:
                begun.set()
            if is_patient:
                await _until_running(parts, instance_id)

        parts.operations.begin(operation, work)
        # Who asks for the instance as soon as this is answered finds it.
        with anyio.move_on_after(START_S):
            await begun.wait()
        return accepted(request, operation)

    router.add_api_route(f"/{kind}", create_instance, methods=["POST"])


def _read(body: dict[str, Any]) -> InstanceAsked:
    try:
        asked = InstanceAsked.model_validate(body)
    except ValueError as error:
        raise InvalidField("body", f"The instance is not well formed: {error}"[:500]) from error
    if asked.type == "vm":
        raise NotSupported("Instances are containers and processes here, not VMs.")
    if asked.no_start:
        raise NotSupported("Instances start at once here: leave no_start away.")
    if not asked.app_id:
        raise InvalidField("app_id", "app_id: name the application; images alone do not run here.")
    return asked


async def _start(parts: Parts, asked: InstanceAsked, instance_id: str, caller: Principal) -> None:
    wanted = asked.wanted(instance_id, caller)
    if not asked.config.enable_streaming:
        await parts.instances.create(wanted)
        return
    body = StreamedInstance(instance=wanted, username=caller.name)
    try:
        await parts.agents(caller.person).v1.sessions.post(body, __timeout__=START_S)
    except BaseServiceError as error:
        if error.status is not None and error.problem is not None:
            raise _Refused(error.detail, status=error.status) from error
        raise Unavailable(f"The agent does not answer: {error.detail}") from error


class _Refused(Conflict):
    """The session of the instance was refused, for the reason that is told."""


async def _until_running(parts: Parts, instance_id: str) -> None:
    """Wait for it.

    Raises:
        Conflict: it ended instead; why.
        DeadlineExceeded: it does neither.
    """
    with anyio.move_on_after(WAIT_S):
        while True:
            view = await parts.instances.get(instance_id)
            if view.state == "running":
                return
            if view.state == "ended":
                raise Conflict(view.detail or view.reason or "The instance ended.")
            await anyio.sleep(LOOK_S)
    raise DeadlineExceeded("The instance neither runs nor ends.")
