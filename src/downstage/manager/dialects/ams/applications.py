"""``/applications``: what is published, in versions."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from downstage.contracts.applications import (
    ApplicationDetail,
    ApplicationPatch,
    VersionView,
)
from downstage.kernel.errors import InvalidField, NotFound, NotSupported
from downstage.manager.dialects.ams.envelope import listing, sync
from downstage.manager.dialects.ams.operations import Operation, accepted
from downstage.manager.dialects.ams.parts import Parts
from downstage.manager.dialects.ams.words import application_words
from downstage.services.incoming import pieces_of

__all__ = ["add_application_routes", "application_view"]

ARCHIVE = "application/octet-stream"
PUBLISHES, SEES = "applications:write", "instances:read"
FILTERS = ("id", "name", "status", "published", "immutable", "tags", "addons", "instance_type")
MEBIBYTE = 1 << 20
MAX_JSON = 64 * 1024


class Forced(BaseModel):
    """What a removal may say."""

    model_config = ConfigDict(extra="ignore")

    force: bool = False
    ids: list[str] = Field(default_factory=list, max_length=1000)


def version_view(version: VersionView) -> dict[str, Any]:
    """One version."""
    return {
        "number": version.number,
        **application_words(version.status),
        "published": version.published,
        "error_message": version.error or "",
        "addons": version.addons,
        "created_at": version.created_at.isoformat() if version.created_at else "",
        "extra_properties": version.extra,
    }


def application_view(item: ApplicationDetail) -> dict[str, Any]:
    """One application; sizes in bytes."""
    newest = item.versions[0] if item.versions else None
    needs = newest.profiles[0].needs if newest and newest.profiles else None
    memory = needs.memory_mb if needs else None
    disk = needs.disk_mb if needs else None
    return {
        "id": item.id,
        "name": item.name,
        **application_words(item.status),
        "error_message": item.error or item.unavailable or "",
        "instance_type": "container",
        "vm": False,
        "abi": "x86_64",
        "boot_package": "",
        "parent_image_id": "",
        "published": item.published,
        "immutable": item.immutable,
        "inhibit_auto_updates": True,
        "tags": item.tags,
        "addons": newest.addons if newest else [],
        "resources": {
            "cpus": (needs.cpus if needs else None) or 0,
            "memory": (memory or 0) * MEBIBYTE,
            "disk-size": (disk or 0) * MEBIBYTE,
            "gpu-slots": needs.gpu_slots if needs else 0,
        },
        "versions": [version_view(version) for version in item.versions],
        "created_at": item.created_at.isoformat() if item.created_at else "",
    }


def add_application_routes(router: APIRouter, parts: Parts) -> None:
    """Reading, publishing and removing."""
    _add_reading(router, parts)
    _add_uploads(router, parts)
    _add_changes(router, parts)


def _add_reading(router: APIRouter, parts: Parts) -> None:
    applications, callers = parts.applications, parts.callers

    @router.get("/applications")
    async def list_applications(request: Request) -> Response:
        """All applications."""
        await callers.need(request, SEES)
        items = [application_view(item) for item in await applications.list()]
        return listing(request, matching(request, items, FILTERS), "applications", "id")

    @router.get("/applications/{app_id}")
    async def get_application(app_id: str, request: Request) -> Response:
        """One application."""
        await callers.need(request, SEES)
        return sync(application_view(await applications.get(app_id)))

    @router.get("/applications/{app_id}/manifest")
    async def get_manifest(app_id: str, request: Request) -> Response:
        """What its author wrote, of the newest published version."""
        await callers.need(request, SEES)
        text = await applications.manifest(app_id)
        return Response(text.text, media_type="text/plain; charset=utf-8")

    @router.get("/applications/{app_id}/{version}")
    async def get_version(app_id: str, version: str, request: Request) -> Response:
        """One version."""
        await callers.need(request, SEES)
        return sync(version_view(await applications.version(app_id, number_of(version))))

    @router.get("/applications/{app_id}/{version}/manifest")
    async def get_version_manifest(app_id: str, version: str, request: Request) -> Response:
        """What its author wrote."""
        await callers.need(request, SEES)
        text = await applications.manifest(app_id, number_of(version))
        return Response(text.text, media_type="text/plain; charset=utf-8")

    _ = (list_applications, get_application, get_manifest, get_version, get_version_manifest)


def _add_uploads(router: APIRouter, parts: Parts) -> None:
    applications = parts.applications

    async def publish(request: Request, key: str | None) -> Response:
        caller = await parts.callers.need(request, PUBLISHES)
        if request.query_params.get("vm") in ("1", "true"):
            raise NotSupported("Applications run in containers and processes here, not in VMs.")
        digest = request.headers.get("x-ams-fingerprint")
        upload = await applications.receive(pieces_of(request, "archive"), digest=digest)
        by = caller.person or caller.subject
        begun = await applications.begin(upload, by=by, key=key)
        operation = Operation(
            caller.tenant,
            by,
            "Creating application" if key is None else "Updating application",
            {"applications": [f"/applications/{begun.application_id}"]},
        )

        async def finish(_: Operation) -> None:
            done = await applications.finish(begun.application_id, begun.number)
            if done.status == "error":
                raise InvalidField("archive", done.error or "The archive is of no use.")

        return accepted(request, parts.operations.begin(operation, finish))

    @router.post("/applications")
    async def create_application(request: Request) -> Response:
        """Publish an archive with a manifest."""
        return await publish(request, None)

    @router.patch("/applications/{app_id}")
    async def update_application(app_id: str, request: Request) -> Response:
        """An archive: one more version. JSON: what may change without one."""
        if request.headers.get("content-type", "").startswith(ARCHIVE):
            return await publish(request, app_id)
        caller = await parts.callers.need(request, PUBLISHES)
        asked = await read_json(request)
        tags: object = asked.get("tags")
        immutable = True if asked.get("immutable") is True else None
        patch = ApplicationPatch.model_validate({"tags": tags, "immutable": immutable})
        await applications.change(app_id, patch)
        operation = Operation(
            caller.tenant,
            caller.subject,
            "Updating application",
            {"applications": [f"/applications/{app_id}"]},
        )
        return accepted(request, parts.operations.begin(operation, _nothing))

    _ = (create_application, update_application)


async def _nothing(_: Operation) -> None:
    """It is done already."""


def _add_changes(router: APIRouter, parts: Parts) -> None:
    applications, callers = parts.applications, parts.callers

    @router.delete("/applications")
    async def delete_applications(request: Request) -> Response:
        """Remove several."""
        asked = await forced(request)
        return await _remove(parts, request, asked.ids, force=asked.force)

    @router.delete("/applications/{app_id}")
    async def delete_application(app_id: str, request: Request) -> Response:
        """Remove one."""
        return await _remove(parts, request, [app_id], force=(await forced(request)).force)

    @router.patch("/applications/{app_id}/{version}")
    async def publish_version(app_id: str, version: str, request: Request) -> Response:
        """Publish a version, or revoke that."""
        await callers.need(request, PUBLISHES)
        wanted = (await read_json(request)).get("published")
        if not isinstance(wanted, bool):
            raise InvalidField("published", "published is true or false.")
        await applications.set_published(app_id, number_of(version), published=wanted)
        return sync({})

    @router.delete("/applications/{app_id}/{version}")
    async def delete_version(app_id: str, version: str, request: Request) -> Response:
        """Remove one version."""
        caller = await callers.need(request, PUBLISHES)
        force = (await forced(request)).force
        await applications.version(app_id, number_of(version))

        async def work(_: Operation) -> None:
            await applications.delete_version(app_id, number_of(version), force=force)

        paths = [f"/applications/{app_id}"]
        operation = Operation(
            caller.tenant, caller.subject, "Deleting version", {"applications": paths}
        )
        return accepted(request, parts.operations.begin(operation, work))

    _ = (delete_applications, delete_application, publish_version, delete_version)


async def _remove(parts: Parts, request: Request, ids: list[str], *, force: bool) -> Response:
    caller = await parts.callers.need(request, PUBLISHES)
    for key in ids:
        await parts.applications.get(key)

    async def work(_: Operation) -> None:
        for key in ids:
            await parts.applications.delete(key, force=force)

    paths = [f"/applications/{key}" for key in ids]
    operation = Operation(
        caller.tenant, caller.subject, "Deleting application", {"applications": paths}
    )
    return accepted(request, parts.operations.begin(operation, work))


def number_of(version: str) -> int:
    """The number of a version, read once it is known who asks.

    Raises:
        NotFound: there is none of that name: versions are numbers.
    """
    if not (version.isascii() and version.isdigit()) or len(version) > 9:  # noqa: PLR2004 - fits
        raise NotFound(f"There is no version {version[:64]!r}: versions are numbers.")
    return int(version)


async def read_json(request: Request) -> dict[str, Any]:
    """The body, a JSON object; nothing is an empty one.

    Raises:
        InvalidField: it is neither.
    """
    raw = bytearray()
    async for piece in request.stream():  # archives may come here, too: see before it is kept
        raw += piece
        if len(raw) > MAX_JSON:
            raise InvalidField("body", f"The body has at most {MAX_JSON} bytes.")
    try:
        found: object = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidField("body", "The body is not JSON.") from error
    if not isinstance(found, dict):
        raise InvalidField("body", "The body is a JSON object.")
    return {str(key): value for key, value in found.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


async def forced(request: Request) -> Forced:
    """What a removal says."""
    asked = await read_json(request)
    try:
        return Forced.model_validate(asked)
    except ValueError as error:
        raise InvalidField("body", "force is true or false, ids is a list of texts.") from error


def matching(
    request: Request, items: list[dict[str, Any]], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The items that have every value that the query asks for."""
    wanted = {name: request.query_params[name] for name in names if name in request.query_params}
    return [item for item in items if all(_has(item.get(k), v) for k, v in wanted.items())]


def _has(value: Any, wanted: str) -> bool:
    if isinstance(value, list):
        return set(wanted.split(",")) <= {str(part) for part in value}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, bool):
        return wanted.lower() == str(value).lower()
    return str(value) == wanted
