"""``/instances``: stop them, protect them, remove them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import anyio
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from downstage.auth.principal import Principal
from downstage.contracts.manager import InstanceView
from downstage.kernel.errors import Conflict, DeadlineExceeded, InvalidField, NotSupported
from downstage.manager.dialects.ams.applications import forced, read_json
from downstage.manager.dialects.ams.found import Found
from downstage.manager.dialects.ams.operations import Operation, accepted
from downstage.manager.dialects.ams.parts import Parts

__all__ = ["add_ending"]

STARTS = "instances:write"
WAIT_S = 660.0
"""Hooks after an application's end may take ten minutes."""
LOOK_S = 0.2


class _Security(BaseModel):
    model_config = ConfigDict(extra="ignore")
    delete_protected: bool | None = None


class _Config(BaseModel):
    model_config = ConfigDict(extra="ignore")
    security: _Security = _Security()


class _Change(BaseModel):
    model_config = ConfigDict(extra="ignore")
    desired_status: str | None = None
    config: _Config = _Config()


def add_ending(router: APIRouter, parts: Parts, found: Found, kind: str) -> None:
    """The routes, for instances under the name *kind*."""

    async def change_instance(key: str, request: Request) -> Response:
        """Stop it, or protect it from being removed."""
        caller = await parts.callers.need(request, STARTS)
        view = await found.view(key, caller)
        asked = _read(await read_json(request), view)
        protected = asked.config.security.delete_protected
        if protected is not None:
            note = await parts.store.note_of(view.id)
            await parts.store.note(view.id, replace(note, protected=protected))

        async def work(_: Operation) -> None:
            if asked.desired_status == "stopped":
                await _stop(parts, view.id)

        operation = _operation(caller, "Updating instance", [view.id])
        return accepted(request, parts.operations.begin(operation, work))

    async def delete_instances(request: Request) -> Response:
        """Remove several."""
        asked = await forced(request)
        return await _remove(parts, found, request, asked.ids, force=asked.force)

    async def delete_instance(key: str, request: Request) -> Response:
        """Stop it, and show it no more."""
        force = (await forced(request)).force
        return await _remove(parts, found, request, [key], force=force)

    one = f"/{kind}/{{key}}"
    router.add_api_route(one, change_instance, methods=["PATCH"])
    router.add_api_route(f"/{kind}", delete_instances, methods=["DELETE"])
    router.add_api_route(one, delete_instance, methods=["DELETE"])


def _read(body: dict[str, object], view: InstanceView) -> _Change:
    try:
        asked = _Change.model_validate(body)
    except ValueError as error:
        raise InvalidField("body", "The change is not well formed.") from error
    if asked.desired_status not in (None, "", "stopped", "running"):
        raise InvalidField("desired_status", "desired_status is running or stopped.")
    if asked.desired_status == "running" and view.state in ("ending", "ended"):
        raise NotSupported("What has stopped is not started again: create another instance.")
    return asked


async def _remove(
    parts: Parts, found: Found, request: Request, keys: Sequence[str], *, force: bool
) -> Response:
    caller = await parts.callers.need(request, STARTS)
    views = [await found.view(key, caller) for key in keys]
    notes = {view.id: await parts.store.note_of(view.id) for view in views}
    for view in views:
        if notes[view.id].protected and not force:
            raise Conflict(f"{view.id} is protected from being removed.")

    async def work(_: Operation) -> None:
        for view in views:
            await _stop(parts, view.id)
            await parts.store.note(view.id, replace(notes[view.id], deleted=True))

    operation = _operation(caller, "Deleting instance", [view.id for view in views])
    return accepted(request, parts.operations.begin(operation, work))


def _operation(caller: Principal, description: str, ids: list[str]) -> Operation:
    paths = [f"/instances/{item}" for item in ids]
    return Operation(
        caller.tenant, caller.subject, description, {"instances": paths, "containers": paths}
    )


async def _stop(parts: Parts, instance_id: str) -> None:
    """End it and wait until it has.

    Raises:
        DeadlineExceeded: it does not end.
    """
    await parts.instances.stop(instance_id)
    with anyio.move_on_after(WAIT_S):
        while (await parts.instances.get(instance_id)).state != "ended":
            await anyio.sleep(LOOK_S)
        return
    raise DeadlineExceeded("The instance does not end.")
