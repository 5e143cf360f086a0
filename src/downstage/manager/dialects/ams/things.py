"""``/nodes``, ``/images``, ``/addons``."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from fastapi import APIRouter, Request, Response

from downstage.auth.principal import Principal
from downstage.contracts.applications import AddonView, ImageCreate, ImageView
from downstage.contracts.nodes import NodeCreate, NodePatch, NodeView
from downstage.kernel.errors import InvalidField, NotSupported, VersionMismatch
from downstage.manager.dialects.ams.applications import forced, read_json
from downstage.manager.dialects.ams.envelope import listing, sync
from downstage.manager.dialects.ams.operations import Operation, accepted
from downstage.manager.dialects.ams.parts import Parts
from downstage.manager.dialects.ams.words import NODE
from downstage.services.incoming import pieces_of

__all__ = ["add_thing_routes"]

SEES, PUBLISHES, NODES = "instances:read", "applications:write", "nodes:write"
MEBIBYTE = 1 << 20
ACTIVE, AVAILABLE = 3, 5


def node_view(node: NodeView) -> dict[str, Any]:
    """One node; memory in bytes. `unscheduable` is how the original spells it, too."""
    word = node.status if node.status in NODE else "unknown"
    return {
        "name": node.name,
        "address": node.engine or "",
        "public_address": "",
        "status": word,
        "status_code": NODE[word],
        "status_message": node.detail or "",
        "is_master": node.name == "local",
        "architecture": "x86_64",
        "cpus": node.cpus,
        "cpu-allocation-rate": node.cpu_overcommit,
        "memory": node.memory_mb * MEBIBYTE,
        "memory-allocation-rate": node.memory_overcommit,
        "gpu-slots": sum(node.gpus),
        "gpus": [{"id": number, "slots": slots} for number, slots in enumerate(node.gpus)],
        "tags": [f"{key}={value}" for key, value in node.labels.items()],
        "unschedulable": node.cordoned or node.draining,
        "unscheduable": node.cordoned or node.draining,
        "instances": node.instances,
    }


def etag_of(node: NodeView) -> str:
    """What changes with whatever a caller may change."""
    facts = (node.labels, node.cordoned, node.cpus, node.memory_mb, node.gpus, node.places)
    return '"' + sha256(repr(facts).encode()).hexdigest()[:32] + '"'


def add_thing_routes(router: APIRouter, parts: Parts) -> None:
    """All three."""
    _add_nodes(router, parts)
    _add_node_changes(router, parts)
    _add_images(router, parts)
    _add_addons(router, parts)


def _done(parts: Parts, request: Request, by: Principal, kind: str, key: str) -> Response:
    """An operation for what is done already."""

    async def nothing(_: Operation) -> None:
        return

    operation = Operation(by.tenant, by.subject, f"Changing {kind}", {kind: [f"/{kind}/{key}"]})
    return accepted(request, parts.operations.begin(operation, nothing))


def _add_nodes(router: APIRouter, parts: Parts) -> None:
    fleet, callers = parts.fleet, parts.callers

    @router.get("/nodes")
    async def list_nodes(request: Request) -> Response:
        """All nodes."""
        await callers.need(request, SEES)
        items = [node_view(node) for node in await fleet.views()]
        return listing(request, items, "nodes", "name")

    @router.get("/nodes/{name}")
    async def get_node(name: str, request: Request) -> Response:
        """One node."""
        await callers.need(request, SEES)
        node = await fleet.view(name)
        return sync(node_view(node), etag=etag_of(node))

    @router.post("/nodes")
    async def add_node(request: Request) -> Response:
        """Run instances on a further engine, at `address`."""
        caller = await callers.need(request, NODES)
        asked = await read_json(request)
        wanted = {
            "name": asked.get("name"),
            "engine": asked.get("address"),
            "places": asked.get("places", 10),
            "cpus": asked.get("cpus"),
            "memory_mb": (asked.get("memory") or 0) // MEBIBYTE,
        }
        try:
            node = await fleet.add(NodeCreate.model_validate(wanted))
        except ValueError as error:
            raise InvalidField(
                "body", "A node has a name, an address (its engine's), cpus, and memory in bytes."
            ) from error
        return _done(parts, request, caller, "nodes", node.name)

    _ = (list_nodes, get_node, add_node)


def _add_node_changes(router: APIRouter, parts: Parts) -> None:
    fleet, callers = parts.fleet, parts.callers

    @router.patch("/nodes/{name}")
    async def change_node(name: str, request: Request) -> Response:
        """Change tags and over-commitment, or let nothing new be placed there."""
        caller = await callers.need(request, NODES)
        before = await fleet.view(name)
        if (wanted := request.headers.get("if-match")) not in (None, "*", etag_of(before)):
            raise VersionMismatch(f"The node changed meanwhile: it is not {wanted} any more.")
        asked = await read_json(request)
        unschedulable: object = asked.get("unschedulable", asked.get("unscheduable"))
        if isinstance(unschedulable, bool):
            await (fleet.cordon(name) if unschedulable else fleet.uncordon(name))
        patch = {
            "labels": _labels(asked.get("tags")),
            "cpu_overcommit": asked.get("cpu-allocation-rate"),
            "memory_overcommit": asked.get("memory-allocation-rate"),
        }
        given = {key: value for key, value in patch.items() if value is not None}
        if given:
            await fleet.patch(name, NodePatch.model_validate(given))
        return _done(parts, request, caller, "nodes", name)

    @router.delete("/nodes/{name}")
    async def remove_node(name: str, request: Request) -> Response:
        """Forget a node."""
        caller = await callers.need(request, NODES)
        fleet.node(name)
        if (await forced(request)).force:
            await parts.instances.abandon(name)
        await fleet.remove(name)
        return _done(parts, request, caller, "nodes", name)

    _ = (change_node, remove_node)


def _labels(tags: object) -> dict[str, str] | None:
    """Tags ``key=value`` as labels; a tag alone is one without a value."""
    if not isinstance(tags, list):
        return None
    found = dict[str, str]()
    for tag in tags:  # pyright: ignore[reportUnknownVariableType]
        key, _, value = str(tag).partition("=")  # pyright: ignore[reportUnknownArgumentType]
        found[key] = value
    return found


def image_view(image: ImageView) -> dict[str, Any]:
    """One image."""
    return {
        "id": image.id,
        "name": image.name,
        "status": "active" if image.allowed else "error",
        "status_code": ACTIVE if image.allowed else -1,
        "versions": [{"number": 0, "remote_id": image.reference, "status": "active"}],
        "used_by": image.used_by,
        "immutable": image.created_at is None,
        "default": False,
        "architecture": "x86_64",
        "type": "container",
    }


def _add_images(router: APIRouter, parts: Parts) -> None:
    images, callers = parts.applications.images, parts.callers

    @router.get("/images")
    async def list_images(request: Request) -> Response:
        """Images that were registered or that applications name."""
        await callers.need(request, SEES)
        found = await images.list(await parts.applications.users_of_images())
        return listing(request, [image_view(item) for item in found], "images", "id")

    @router.get("/images/{key}")
    async def get_image(key: str, request: Request) -> Response:
        """One image."""
        await callers.need(request, SEES)
        return sync(image_view(await images.get(key)))

    @router.post("/images")
    async def add_image(request: Request) -> Response:
        """Give a container image a name: ``{name, path}``."""
        caller = await callers.need(request, PUBLISHES)
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise NotSupported("Images are named here, not sent: {name, path: registry/name:tag}.")
        asked = await read_json(request)
        wanted = {"name": asked.get("name"), "reference": asked.get("path")}
        try:
            image = await images.add(ImageCreate.model_validate(wanted))
        except ValueError as error:
            raise InvalidField("body", "An image has a name and a path.") from error
        return _done(parts, request, caller, "images", image.id)

    @router.delete("/images/{key}")
    async def remove_image(key: str, request: Request) -> Response:
        """Forget an image's name."""
        caller = await callers.need(request, PUBLISHES)
        await images.remove(key)
        return _done(parts, request, caller, "images", key)

    _ = (list_images, get_image, add_image, remove_image)


def addon_view(addon: AddonView) -> dict[str, Any]:
    """One addon."""
    return {
        "name": addon.name,
        "description": addon.description,
        "owner": addon.owner,
        "used_by": addon.used_by,
        "versions": [
            {
                "version": version.number,
                "status": version.status,
                "fingerprint": version.digest,
                "size": version.size,
                "created_at": version.created_at.isoformat(),
            }
            for version in addon.versions
        ],
    }


def _add_addons(router: APIRouter, parts: Parts) -> None:
    addons, callers = parts.applications.addons, parts.callers

    @router.get("/addons")
    async def list_addons(request: Request) -> Response:
        """All addons."""
        await callers.need(request, SEES)
        found = await addons.list(await parts.applications.users_of_addons())
        return listing(request, [addon_view(item) for item in found], "addons", "name")

    @router.get("/addons/{name}")
    async def get_addon(name: str, request: Request) -> Response:
        """One addon."""
        await callers.need(request, SEES)
        return sync(addon_view(await addons.get(name)))

    async def publish(request: Request, key: str | None) -> Response:
        caller = await callers.need(request, PUBLISHES)
        digest = request.headers.get("x-ams-fingerprint")
        upload = await addons.receive(pieces_of(request, "archive"), digest=digest)
        by = caller.person or caller.subject
        addon = await addons.publish(upload, by=by, key=key)
        return _done(parts, request, caller, "addons", addon.name)

    @router.post("/addons")
    async def add_addon(request: Request) -> Response:
        """Publish an archive of hooks."""
        return await publish(request, None)

    @router.patch("/addons/{name}")
    async def update_addon(name: str, request: Request) -> Response:
        """One more version."""
        return await publish(request, name)

    @router.delete("/addons/{name}")
    async def remove_addon(name: str, request: Request) -> Response:
        """Remove an addon that no application names."""
        caller = await callers.need(request, PUBLISHES)
        await addons.delete(name, await parts.applications.users_of_addons())
        return _done(parts, request, caller, "addons", name)

    _ = (list_addons, get_addon, add_addon, update_addon, remove_addon)
