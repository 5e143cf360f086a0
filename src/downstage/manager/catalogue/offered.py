"""What may be started of what was published: `downstage.manager.planning.Published`."""

from __future__ import annotations

from collections.abc import Sequence

import anyio.to_thread

from downstage.contracts.manager import ApplicationView
from downstage.manager.applications import Application, missing_of, plain_image
from downstage.manager.catalogue.addons import Addons
from downstage.manager.catalogue.images import Images
from downstage.manager.catalogue.library import Library
from downstage.manager.catalogue.rules import check_published
from downstage.manager.catalogue.store import Package
from downstage.manager.catalogue.views import manifest_of
from downstage.spawners.plan import Hook

__all__ = ["Offered"]


class Offered:
    """Published applications, as the planner asks for them.

    Args:
        library: of packages.
        addons: whose hooks applications name.
        images: that may run.
        network: whether published applications may ask for the network.
    """

    def __init__(self, library: Library, addons: Addons, images: Images, *, network: bool) -> None:
        self._library, self._addons, self._images = library, addons, images
        self._network = network

    async def views(self) -> list[ApplicationView]:
        """Those with a published version, by name."""
        found = await self._library.store.list("application")
        return [
            (await self.application(package, None)).view()
            for package in found
            if package.latest is not None
        ]

    async def find(self, key: str, number: int | None) -> Application | None:
        """The version *number* of the application with that name, id or image.

        Raises:
            NotFound: there is the application, but not that version.
            InvalidField: it asks for what the settings no longer allow.
        """
        package = await self._library.store.find("application", key)
        if package is None:
            package = await self._by_image(plain_image(key))
        if package is None:
            return None
        found = await self.application(package, number)
        check_published(found.declared, self._images.allowed, network=self._network)
        return found

    async def _by_image(self, image: str) -> Package | None:
        for package in await self._library.store.list("application"):
            latest = package.latest
            names = manifest_of(latest).images if latest else []
            if image in map(plain_image, names):
                return package
        return None

    async def application(self, package: Package, number: int | None) -> Application:
        """A version as something that can be started.

        Raises:
            NotFound: there is no such version, or it is not ready.
        """
        version = package.ready(number)
        manifest = manifest_of(version)
        title = package.title or manifest.title
        text = manifest.description if package.description is None else package.description
        shown = manifest.model_copy(update={"title": title, "description": text})
        return Application(
            shown,
            self._library.shelf.folder("application", package.id, version.number),
            missing=await anyio.to_thread.run_sync(missing_of, tuple(manifest.requires)),
            number=version.number,
        )

    async def addon_hooks(self, names: Sequence[str]) -> list[Hook]:
        """The hooks of addons, in order; see `Addons.hooks`."""
        return await self._addons.hooks(names)
