"""REST interface of the catalogue; see `downstage.contracts.applications`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Header, Query, Request, Response

from downstage.auth.principal import Principal
from downstage.contracts.applications import (
    AddonPage,
    AddonView,
    ApplicationDetail,
    ApplicationDetails,
    ApplicationPatch,
    ImageCreate,
    ImagePage,
    ImageView,
    ProfilePage,
    VersionPage,
    VersionPatch,
    VersionView,
)
from downstage.kernel.errors import Forbidden, InvalidField
from downstage.manager.catalogue.service import Applications
from downstage.services.facilities.principal import require
from downstage.services.incoming import pieces_of
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["addon_routes", "catalogue_routes", "upload_routes", "version_routes"]

BASE = "/v1/catalogue/applications"
ADDONS = "/v1/catalogue/addons"
IMAGES = "/v1/catalogue/images"
LATEST = "latest"
MAX_DIGITS = 9
ARCHIVE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
Caller = Annotated[Principal, Depends(require())]
Publisher = Annotated[Principal, Depends(require("applications:write"))]
Operator = Annotated[Principal, Depends(require("instances:read"))]
Digest = Annotated[str | None, Header(alias="Downstage-Digest", max_length=64)]
Publish = Annotated[Literal["yes", "no"], Header(alias="Downstage-Publish")]
Tags = Annotated[list[str], Query(alias="tag", max_length=64)]


def _reader(caller: Caller) -> Principal:
    """Whoever may start applications may see them; so may who operates the platform."""
    if not caller.may("sessions:read") and not caller.may("instances:read"):
        raise Forbidden("This needs the scope sessions:read.", scope="sessions:read")
    return caller


Reader = Annotated[Principal, Depends(_reader)]


def _number(text: str) -> int | None:
    if text == LATEST:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS:
        raise InvalidField("number", "A version is a number, or latest.")
    return int(text)


def _exact(text: str) -> int:
    found = _number(text)
    if found is None:
        raise InvalidField("number", "This takes the version's number.")
    return found


def _by(caller: Principal) -> str:
    return caller.person or caller.subject


def _version(view: VersionView, caller: Principal) -> VersionView:
    """People who may only start applications do not see who published them."""
    return view if caller.may("instances:read") else view.model_copy(update={"created_by": None})


def _detail(view: ApplicationDetail, caller: Principal) -> ApplicationDetail:
    if caller.may("instances:read"):
        return view
    versions = [_version(item, caller) for item in view.versions]
    return view.model_copy(update={"owner": None, "versions": versions})


def catalogue_routes(applications: Applications) -> ServiceAPIRouter:
    """Reading, changing and removing *applications*."""
    router = ServiceAPIRouter(tags=["catalogue"])
    one = f"{BASE}/{{name}}"

    @router.get(BASE)
    async def list_catalogue(caller: Reader, tag: Tags = []) -> ApplicationDetails:  # noqa: B006
        """All applications, by name; with tags, those that carry every one of them."""
        found = await applications.list(tags=tag)
        return ApplicationDetails(items=[_detail(item, caller) for item in found])

    @router.get(one, responses=refusals(404))
    async def get_catalogued(name: str, caller: Reader) -> ApplicationDetail:
        """One application with its versions."""
        return _detail(await applications.get(name), caller)

    @router.patch(one, responses=refusals(404, 409))
    async def change_application(
        name: str, body: ApplicationPatch, caller: Publisher
    ) -> ApplicationDetail:
        """Change what may change without a new version."""
        return _detail(await applications.change(name, body), caller)

    @router.delete(one, status_code=204, responses=refusals(404, 409))
    async def remove_application(name: str, caller: Publisher, *, force: bool = False) -> Response:
        """Remove an application; by force also where instances of it run: they are ended."""
        del caller
        await applications.delete(name, force=force)
        return Response(status_code=204)

    _ = (list_catalogue, get_catalogued, change_application, remove_application)
    return router


def version_routes(applications: Applications) -> ServiceAPIRouter:
    """Versions of *applications*."""
    router = ServiceAPIRouter(tags=["catalogue"])
    one, number = f"{BASE}/{{name}}", f"{BASE}/{{name}}/versions/{{number}}"

    @router.get(f"{one}/versions", responses=refusals(404))
    async def list_versions(name: str, caller: Reader) -> VersionPage:
        """Its versions, newest first."""
        found = await applications.versions(name)
        return VersionPage(items=[_version(item, caller) for item in found])

    @router.get(number, responses=refusals(404))
    async def get_version(name: str, number: str, caller: Reader) -> VersionView:
        """One version."""
        return _version(await applications.version(name, _number(number)), caller)

    @router.patch(number, responses=refusals(404, 409))
    async def publish_version(
        name: str, number: str, body: VersionPatch, caller: Publisher
    ) -> VersionView:
        """Publish a version, or revoke that."""
        del caller
        return await applications.set_published(name, _exact(number), published=body.published)

    @router.delete(number, status_code=204, responses=refusals(404, 409))
    async def remove_version(
        name: str, number: str, caller: Publisher, *, force: bool = False
    ) -> Response:
        """Remove a version; with the last one the application goes."""
        del caller
        await applications.delete_version(name, _exact(number), force=force)
        return Response(status_code=204)

    @router.get(f"{number}/profiles", responses=refusals(404))
    async def list_profiles(name: str, number: str, caller: Reader) -> ProfilePage:
        """Its profiles; the first is taken where none is asked for."""
        del caller
        return ProfilePage(items=await applications.profiles(name, _number(number)))

    @router.get(f"{number}/manifest", responses=refusals(404), response_class=Response)
    async def get_manifest(name: str, number: str, caller: Operator) -> Response:
        """The manifest as its author wrote it."""
        del caller
        found = await applications.manifest(name, _number(number))
        headers = {
            "content-disposition": f'attachment; filename="{found.name}"',
            "x-content-type-options": "nosniff",
        }
        return Response(found.text, media_type="text/plain; charset=utf-8", headers=headers)

    _ = (list_versions, get_version, publish_version, remove_version)
    _ = (list_profiles, get_manifest)
    return router


def upload_routes(applications: Applications) -> ServiceAPIRouter:
    """Where archives come in: bodies of up to ``manager.max_upload`` bytes."""
    router = ServiceAPIRouter(tags=["catalogue"])

    @router.post(BASE, status_code=201, responses=refusals(409), openapi_extra=ARCHIVE)
    async def publish_application(
        request: Request, caller: Publisher, digest: Digest = None, publish: Publish = "yes"
    ) -> VersionView:
        """Publish an archive: a new application, or a new version of the one that it names."""
        upload = await applications.receive(pieces_of(request, "archive"), digest=digest)
        return await applications.publish(upload, by=_by(caller), publish=publish == "yes")

    @router.post(
        f"{BASE}/{{name}}/versions",
        status_code=201,
        responses=refusals(404, 409),
        openapi_extra=ARCHIVE,
    )
    async def publish_next(
        name: str,
        request: Request,
        caller: Publisher,
        digest: Digest = None,
        publish: Publish = "yes",
    ) -> VersionView:
        """Publish an archive as the next version of this application."""
        await applications.get(name)
        upload = await applications.receive(pieces_of(request, "archive"), digest=digest)
        wanted = publish == "yes"
        return await applications.publish(upload, by=_by(caller), key=name, publish=wanted)

    @router.post(ADDONS, status_code=201, responses=refusals(409), openapi_extra=ARCHIVE)
    async def publish_addon(
        request: Request, caller: Publisher, digest: Digest = None
    ) -> AddonView:
        """Publish an addon, or a new version of the one that it names."""
        addons = applications.addons
        upload = await addons.receive(pieces_of(request, "archive"), digest=digest)
        return await addons.publish(upload, by=_by(caller))

    _ = (publish_application, publish_next, publish_addon)
    return router


def addon_routes(applications: Applications) -> ServiceAPIRouter:
    """Addons and images."""
    router = ServiceAPIRouter(tags=["catalogue"])
    addons, images = applications.addons, applications.images

    @router.get(ADDONS)
    async def list_addons(caller: Operator) -> AddonPage:
        """All addons, by name."""
        del caller
        return AddonPage(items=await addons.list(await applications.users_of_addons()))

    @router.get(f"{ADDONS}/{{name}}", responses=refusals(404))
    async def get_addon(name: str, caller: Operator) -> AddonView:
        """One addon."""
        del caller
        return await addons.get(name)

    @router.delete(f"{ADDONS}/{{name}}", status_code=204, responses=refusals(404, 409))
    async def remove_addon(name: str, caller: Publisher) -> Response:
        """Remove an addon that no application names."""
        del caller
        await addons.delete(name, await applications.users_of_addons())
        return Response(status_code=204)

    @router.get(IMAGES)
    async def list_images(caller: Operator) -> ImagePage:
        """Images that were registered or that applications name."""
        del caller
        return ImagePage(items=await images.list(await applications.users_of_images()))

    @router.post(IMAGES, status_code=201, responses=refusals(409))
    async def register_image(body: ImageCreate, caller: Publisher) -> ImageView:
        """Give an image a name that manifests may say."""
        del caller
        return await images.add(body)

    @router.delete(f"{IMAGES}/{{image}}", status_code=204, responses=refusals(404))
    async def forget_image(image: str, caller: Publisher) -> Response:
        """Forget a name."""
        del caller
        await images.remove(image)
        return Response(status_code=204)

    _ = (list_addons, get_addon, remove_addon, list_images, register_image, forget_image)
    return router
