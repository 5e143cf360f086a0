"""The catalogue as the rest of the manager sees it: find, publish, change, remove.

Two kinds of applications live side by side. **Declared** ones are folders that the operator put
on the machine: read-only here, always version 1. **Published** ones came in as archives; every
upload is a version, numbered from 1, that never changes afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from downstage.contracts.applications import (
    ApplicationDetail,
    ApplicationPatch,
    ProfileView,
    VersionView,
)
from downstage.kernel.errors import Conflict, NotFound
from downstage.manager.applications import Application
from downstage.manager.catalogue import views
from downstage.manager.catalogue.addons import Addons
from downstage.manager.catalogue.archives import Package as Archive
from downstage.manager.catalogue.declared import Declared
from downstage.manager.catalogue.images import Images
from downstage.manager.catalogue.library import Library, check_text
from downstage.manager.catalogue.manifest import FILE, ApplicationFile
from downstage.manager.catalogue.rules import WANTED, check_published, complete, read_manifest
from downstage.manager.catalogue.shelf import Upload
from downstage.manager.catalogue.store import Kind, Package

__all__ = ["Applications", "InstancesOf", "ManifestText", "Pool", "Upload"]


@dataclass(frozen=True, slots=True)
class ManifestText:
    """A manifest as its author wrote it."""

    name: str
    """``application.toml`` or ``manifest.yaml``."""
    text: bytes


@dataclass(frozen=True, slots=True)
class Pool:
    """Instances that a profile wants to have waiting."""

    application: str
    version: int
    profile: str
    size: int
    ttl_s: float


_Names = Callable[[VersionView], Iterable[str]]


class InstancesOf(Protocol):
    """What the catalogue must know of instances before it removes anything."""

    async def running(self, application: str | None, version: int | None) -> list[str]:
        """Ids of instances of *application* that have not ended; None means any."""
        ...

    async def end(self, ids: Sequence[str]) -> None:
        """End them and wait, within a bound, until they have."""
        ...


class Applications:
    """All applications; every *key* below is an application's name or id.

    All methods that take a *key* raise `NotFound` where there is none. *number* None is the
    newest published version that is ready.

    Args:
        declared: folders of the operator's.
        library: packages.
        addons: that manifests may name.
        images: that may run, and names for them.
        network: whether published applications may ask for the network.

    Attributes:
        addons, images: as given.
    """

    def __init__(
        self,
        declared: Declared,
        library: Library,
        addons: Addons,
        images: Images,
        *,
        network: bool = False,
    ) -> None:
        self._declared, self._library = declared, library
        self._network = network
        self._instances: InstancesOf | None = None
        self.addons, self.images = addons, images
        library.is_used = self._is_used

    def watch(self, instances: InstancesOf) -> None:
        """From now on ask *instances* before anything is removed."""
        self._instances = instances

    # Reading

    async def list(self, *, tags: Sequence[str] = ()) -> list[ApplicationDetail]:
        """All, by name; with *tags*, those that carry every one of them."""
        catalogue = await self._declared.reload()
        found = [views.declared_detail(item) for item in catalogue.applications.values()]
        found += [
            views.detail(package)
            for package in await self._library.store.list("application")
            if package.name not in catalogue.applications
        ]
        chosen = [item for item in found if set(tags) <= set(item.tags)]
        return sorted(chosen, key=lambda item: item.name)

    async def get(self, key: str) -> ApplicationDetail:
        """One application with its versions."""
        found = await self._find(key)
        if isinstance(found, Application):
            return views.declared_detail(found)
        return views.detail(found)

    async def versions(self, key: str) -> list[VersionView]:
        """Its versions, newest first."""
        return (await self.get(key)).versions

    async def version(self, key: str, number: int | None = None) -> VersionView:
        """One version."""
        found = await self._find(key)
        if isinstance(found, Application):
            _only_version(found, number)
            return views.declared_version(found)
        return views.version(found, found.version(number))

    async def profiles(self, key: str, number: int | None = None) -> list[ProfileView]:
        """The profiles of one version; the first is the default. Never empty."""
        return (await self.version(key, number)).profiles

    async def manifest(self, key: str, number: int | None = None) -> ManifestText:
        """What the author of that version wrote."""
        found = await self._find(key)
        if isinstance(found, Application):
            _only_version(found, number)
            return ManifestText(FILE, await found.text())
        version = found.version(number)
        return ManifestText(version.manifest_name, version.manifest_text.encode())

    async def pools(self) -> list[Pool]:
        """The warm pools that profiles ask for, of newest published versions."""
        return [
            Pool(item.name, item.latest, profile.name, profile.pool.size, profile.pool.ttl_s)
            for item in await self.list()
            if item.latest is not None and item.unavailable is None
            for version in item.versions
            if version.number == item.latest
            for profile in version.profiles
            if profile.pool.size > 0
        ]

    # Publishing

    async def receive(self, pieces: AsyncIterable[bytes], *, digest: str | None = None) -> Upload:
        """Take an archive to disk, piece by piece.

        Args:
            pieces: the body.
            digest: what the sender says its SHA-256 is, hexadecimal.

        Raises:
            TooLarge: more than ``manager.max_upload``.
            InvalidField: the digest is another one.
        """
        return await self._library.receive(pieces, digest)

    async def discard(self, upload: Upload) -> None:
        """Remove an upload that nobody will publish; safe to repeat."""
        await self._library.shelf.discard(upload)

    async def begin(
        self, upload: Upload, *, by: str, key: str | None = None, publish: bool = True
    ) -> VersionView:
        """Check the archive and its manifest, and give it the next number: ``initializing``.

        The upload is taken: nothing of it is left where this raises.

        Args:
            upload: of `receive`.
            by: who publishes.
            key: add a version to this application; None: the one that the manifest names, which
                is made where there is none.
            publish: whether it is taken by default once it is ready.

        Raises:
            InvalidField: the archive or its manifest is not acceptable.
            TooLarge: it would unfold to more than may be.
            Conflict: the application is declared, immutable, or *key* has another name.
        """
        declared = await self._declared.reload()
        names = {view.name: view.reference for view in await self.images.list()}

        def read(archive: Archive) -> tuple[str, Mapping[str, Any]]:
            manifest = self._read(archive, names)
            if manifest.name in declared.applications:
                raise Conflict(f"{manifest.name} is declared on this machine: read-only here.")
            return manifest.name, manifest.model_dump(mode="json")

        package = await self._library.begin(
            "application", upload, WANTED, read, by=by, key=key, publish=publish
        )
        return views.version(package, package.versions[0])

    def _read(self, archive: Archive, names: Mapping[str, str]) -> ApplicationFile:
        check_text(archive)
        manifest = read_manifest(archive.manifest, archive.text)
        image = manifest.image
        if image is not None and image in names:
            manifest = manifest.model_copy(update={"image": names[image]})
        check_published(manifest, self.images.allowed, network=self._network)
        return complete(manifest, archive.executables)

    async def finish(self, key: str, number: int) -> VersionView:
        """Unpack what `begin` took: the version becomes ``ready``, or ``error`` with why."""
        begun = await self._library.store.get("application", key)
        package = await self._library.finish("application", begun, number)
        return views.version(package, package.version(number))

    async def publish(
        self, upload: Upload, *, by: str, key: str | None = None, publish: bool = True
    ) -> VersionView:
        """`begin` and `finish` in one."""
        begun = await self.begin(upload, by=by, key=key, publish=publish)
        return await self.finish(begun.application_id, begun.number)

    # Changing

    async def change(self, key: str, patch: ApplicationPatch) -> ApplicationDetail:
        """Change what may change without a new version.

        Raises:
            Conflict: it is declared, or immutable.
        """
        package = await self._own(key)
        values = patch.model_dump(exclude_unset=True, exclude_none=True)
        if values:
            await self._library.store.change(package, values)
        return await self.get(package.id)

    async def set_published(self, key: str, number: int, *, published: bool) -> VersionView:
        """Publish a version, or revoke that.

        Raises:
            Conflict: it is declared, immutable, or of no use.
        """
        package = await self._own(key)
        version = package.version(number)
        if package.immutable:
            raise Conflict(f"{package.name} is immutable.")
        if published and version.status == "error":
            raise Conflict(f"Version {number} of {package.name} is of no use: {version.error}")
        await self._library.store.set_published(package, number, published=published)
        return await self.version(package.id, number)

    async def delete(self, key: str, *, force: bool = False) -> None:
        """Remove an application with all its versions.

        Args:
            key: which.
            force: end instances of it first; without, running ones are a conflict.

        Raises:
            Conflict: it is declared, or instances of it run.
        """
        package = await self._own(key)
        await self._end_instances(package, None, force=force)
        await self._library.remove(package)

    async def delete_version(self, key: str, number: int, *, force: bool = False) -> None:
        """Remove one version; as `delete`. The last one takes the application with it."""
        package = await self._own(key)
        package.version(number)
        if package.immutable:
            raise Conflict(f"{package.name} is immutable: it can only be removed as a whole.")
        await self._end_instances(package, number, force=force)
        await self._library.remove(package, number)

    # Addons and images, which applications name

    async def users_of_addons(self) -> dict[str, list[str]]:
        """Addon → applications whose newest version names it."""
        return await self._users(lambda version: version.addons)

    async def users_of_images(self) -> dict[str, list[str]]:
        """Reference of an image → applications whose newest version runs it."""
        return await self._users(lambda version: [version.image] if version.image else [])

    async def _users(self, names_of: _Names) -> dict[str, list[str]]:
        found = dict[str, list[str]]()
        for item in await self.list():
            for version in item.versions[:1]:
                for name in names_of(version):
                    found.setdefault(name, []).append(item.name)
        return found

    # Finding

    async def _find(self, key: str) -> Application | Package:
        declared = (await self._declared.reload()).applications.get(key)
        return declared or await self._library.store.get("application", key)

    async def _own(self, key: str) -> Package:
        found = await self._find(key)
        if isinstance(found, Application):
            raise Conflict(f"{key} is declared on this machine: read-only here.")
        return found

    async def _end_instances(self, package: Package, number: int | None, *, force: bool) -> None:
        if self._instances is None:
            return
        running = await self._instances.running(package.name, number)
        if running and not force:
            raise Conflict(
                f"{len(running)} instances of {package.name} run. End them first, or force it.",
                instances=len(running),
            )
        if running:
            await self._instances.end(running)

    async def _is_used(self, kind: Kind, name: str, number: int) -> bool:
        if self._instances is None:
            return False
        if kind == "addon":  # instances do not say which they use
            return bool(await self._instances.running(None, None))
        return bool(await self._instances.running(name, number))


def _only_version(application: Application, number: int | None) -> None:
    if number not in (None, application.number):
        name = application.declared.name
        raise NotFound(f"{name} is declared on this machine: it has version 1.", field="version")
