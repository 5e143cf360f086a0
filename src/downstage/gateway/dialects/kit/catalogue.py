"""``/cfg/apps``: applications, versions and profiles, of the region that answers first.

Changing the catalogue needs the scope ``applications:write``; the original leaves it switched off.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from downstage.auth.principal import Principal
from downstage.contracts.applications import ApplicationDetail, VersionView
from downstage.gateway.dialects.door import Door
from downstage.gateway.dialects.kit.models import (
    AppCreate,
    AppItem,
    AppPage,
    AppPatch,
    Profile,
    ProfilePage,
    Version,
    VersionPage,
)
from downstage.gateway.regions.catalogue import RegionCatalogue
from downstage.gateway.regions.regions import Regions
from downstage.kernel.errors import NotFound
from downstage.services.openapi import refusals, secured
from downstage.services.routers import ServiceAPIRouter

__all__ = ["CatalogueRoutes", "read_version"]

ANY = "*"
LATEST = "latest"
SEES, CHANGES = "sessions:read", "applications:write"


class CatalogueRoutes:
    """The routes.

    Args:
        regions: of this gateway.
        door: lets callers in.
    """

    def __init__(self, regions: Regions, door: Door) -> None:
        self._regions, self._door = regions, door

    def router(self) -> APIRouter:
        """All of them."""
        router = ServiceAPIRouter(tags=["kit"])
        own: dict[str, Any] = {
            "responses": refusals(401, 403, 404, 422, 503),
            "openapi_extra": secured(optional=True),
        }
        sees: dict[str, Any] = {**own, "dependencies": self._door.before(SEES)}
        changes: dict[str, Any] = {**own, "dependencies": self._door.before(CHANGES)}
        add, one = router.add_api_route, "/cfg/apps/{app_id}"
        add("/cfg/apps", self.apps, methods=["GET"], **sees)
        add("/cfg/apps", self.create, methods=["POST"], status_code=201, **changes)
        add(one, self.app, methods=["GET"], **sees)
        add(one, self.change, methods=["PATCH"], **changes)
        add(one, self.remove, methods=["DELETE"], **changes)
        add(f"{one}/versions", self.versions, methods=["GET"], **sees)
        add(f"{one}/versions/{{version}}/profiles", self.profiles, methods=["GET"], **sees)
        return router

    async def apps(
        self,
        request: Request,
        tags: Annotated[list[str] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0)] = 0,
    ) -> AppPage:
        """Applications that can be streamed, those with all *tags* where some are named."""
        caller, _ = await self._door.caller(request, SEES)
        wanted = {tag for text in tags or () for tag in text.split(",") if tag}
        found = [
            item
            for item in await (await self._catalogue()).applications(caller.person)
            if item.published and wanted <= set(item.tags)
        ]
        page = found[offset : offset + limit]
        items = [_item(item) for item in page]
        return AppPage(count=len(items), limit=limit, offset=offset, items=items)

    async def app(self, app_id: str, request: Request) -> AppItem:
        """One application."""
        caller, _ = await self._door.caller(request, SEES)
        return _item(await self._found(app_id, caller))

    async def versions(self, app_id: str, request: Request) -> VersionPage:
        """Its published versions."""
        caller, _ = await self._door.caller(request, SEES)
        published = _published(await self._found(app_id, caller))
        items = [Version(version=str(item.number)) for item in published]
        return VersionPage(count=len(items), items=items)

    async def profiles(self, app_id: str, version: str, request: Request) -> ProfilePage:
        """Profiles of one version; ``*``: of all."""
        caller, _ = await self._door.caller(request, SEES)
        published = _published(await self._found(app_id, caller))
        if version != ANY:
            number = read_version(version)
            published = [item for item in published if number in (None, item.number)][:1]
            if not published:
                raise NotFound(f"{app_id[:64]} has no published version {version[:64]}.")
        found: dict[str, Profile] = {}
        for item in published:
            for profile in item.profiles:
                name = profile.title or profile.name
                found.setdefault(
                    profile.name,
                    Profile(id=profile.name, name=name, description=profile.description),
                )
        return ProfilePage(count=len(found), items=list(found.values()))

    async def create(self, body: AppCreate, request: Request) -> AppItem:
        """Publish an application that runs a container image."""
        caller, _ = await self._door.caller(request, CHANGES)
        await (await self._catalogue()).publish(*_archive(body), caller.person)
        return _item(await self._found(body.name, caller))

    async def change(self, app_id: str, body: AppPatch, request: Request) -> AppItem:
        """Change its description or tags."""
        caller, _ = await self._door.caller(request, CHANGES)
        asked = body.model_dump(mode="json", exclude_none=True)
        return _item(await (await self._catalogue()).change(app_id, asked, caller.person))

    async def remove(self, app_id: str, request: Request) -> str:
        """Take it out of the catalogue."""
        caller, _ = await self._door.caller(request, CHANGES)
        await (await self._catalogue()).remove(app_id, caller.person)
        return "OK"

    async def _catalogue(self) -> RegionCatalogue:
        """Of the first region that answers."""
        names = [item.name for item in await self._regions.facts() if item.answering]
        region = self._regions.of((names or self._regions.names())[0])
        return RegionCatalogue(region.name, region.clients)

    async def _found(self, app_id: str, caller: Principal) -> ApplicationDetail:
        found = await (await self._catalogue()).application(app_id, caller.person)
        if not found.published:
            raise NotFound(f"No version of {found.name} is published.")
        return found


def read_version(text: str) -> int | None:
    """The number of a version; None: the newest.

    Raises:
        NotFound: versions here are numbers.
    """
    if text in (LATEST, ""):
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:  # noqa: PLR2004 - fits a column
        raise NotFound(f"There is no version {text[:64]!r}: versions are numbers here, or latest.")
    return int(text)


def _published(application: ApplicationDetail) -> list[VersionView]:
    return [item for item in application.versions if item.published and item.status == "ready"]


def _item(application: ApplicationDetail) -> AppItem:
    return AppItem(
        id=application.id,
        name=application.title or application.name,
        description=application.description,
        tags=application.tags,
    )


def _archive(body: AppCreate) -> tuple[bytes, str]:
    """A zip with a declaration that names the image, and its SHA-256."""
    lines = [
        f"name = {_text(body.name)}",
        f"title = {_text(body.name)}",
        f"description = {_text(body.description)}",
        f"tags = [{', '.join(map(_text, body.tags))}]",
        f"image = {_text(body.container)}",
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("application.toml", "\n".join(lines) + "\n")
    data = packed.getvalue()
    return data, sha256(data).hexdigest()


def _text(value: str) -> str:
    """A TOML basic string."""
    marks: Sequence[tuple[str, str]] = (("\\", "\\\\"), ('"', '\\"'))
    for mark, written in marks:
        value = value.replace(mark, written)
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in value) + '"'
