"""How packages of either kind come in and go: rows and files together."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from downstage.kernel.errors import Conflict, InvalidField, PlatformError
from downstage.kernel.logging import get_logger
from downstage.manager.catalogue.archives import Package as Archive
from downstage.manager.catalogue.shelf import Shelf, Upload
from downstage.manager.catalogue.store import Kind, NewVersion, Package, PackageStore

__all__ = ["Begun", "Library", "Place", "Read", "check_text"]

Read = Callable[[Archive], tuple[str, Mapping[str, Any]]]
"""From an archive to its name and its manifest; refuses by `InvalidField`."""
Place = tuple[Kind, str, int]
"""Kind, package and number of a version."""
IsUsed = Callable[[Kind, str, int], Awaitable[bool]]
BROKEN_OFF = "The platform ended before it was unpacked. Publish it again."
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Begun:
    """A version that waits to be unpacked."""

    upload: Upload
    top: str
    package: str
    number: int


class Library:
    """Packages of one platform.

    Args:
        store: their rows.
        shelf: their files.
    """

    def __init__(self, store: PackageStore, shelf: Shelf) -> None:
        self.store, self.shelf = store, shelf
        self._begun: dict[tuple[str, int], Begun] = {}
        self._left: dict[Place, str] = {}
        """Removed, but something still ran from there; with the package's name."""
        self.is_used: IsUsed = _is_unused
        """Whether something runs from a version: kind, name, number."""

    async def recover(self) -> None:
        """After a start: settle what was broken off, and remove files without a row."""
        for kind, package_id, number in await self.store.initializing():
            if self.shelf.has(kind, package_id, number):
                await self.store.settle(package_id, number, "ready")
            else:
                await self.store.settle(package_id, number, "error", BROKEN_OFF)
        kinds: tuple[Kind, ...] = ("application", "addon")
        known: set[Place] = {
            (kind, package.id, version.number)
            for kind in kinds
            for package in await self.store.list(kind)
            for version in package.versions
        }
        await self.shelf.sweep(known)

    async def receive(self, pieces: AsyncIterable[bytes], digest: str | None) -> Upload:
        """See `Shelf.receive`."""
        return await self.shelf.receive(pieces, digest)

    async def begin(
        self,
        kind: Kind,
        upload: Upload,
        wanted: tuple[str, ...],
        read: Read,
        *,
        by: str,
        key: str | None = None,
        publish: bool = True,
    ) -> Package:
        """Look at *upload* and give it the next number; nothing of it is left where this raises."""
        try:
            archive = await self.shelf.inspect(upload, wanted)
            name, manifest = await anyio.to_thread.run_sync(read, archive)
            new = NewVersion(
                name=name,
                by=by,
                size=upload.size,
                digest=upload.digest,
                manifest=manifest,
                manifest_name=archive.manifest,
                manifest_text=archive.text.decode("utf-8"),
                published=publish,
            )
            package = await self.store.add(kind, new, key)
        except BaseException:
            await self.shelf.discard(upload)
            raise
        number = package.versions[0].number
        begun = Begun(upload, archive.folder, package.id, number)
        self._begun[package.id, number] = begun
        return package

    async def finish(self, kind: Kind, package: Package, number: int) -> Package:
        """Unpack what `begin` took; whether that went well stands in the version's status."""
        begun = self._begun.pop((package.id, number), None)
        if begun is None:
            return await self.store.get(kind, package.id)
        try:
            await self._unpack(kind, begun)
        finally:
            await self.shelf.discard(begun.upload)
        return await self.store.get(kind, package.id)

    async def _unpack(self, kind: Kind, begun: Begun) -> None:
        try:
            await self.shelf.put(begun.upload, begun.top, kind, begun.package, begun.number)
        except PlatformError as error:
            await self.store.settle(begun.package, begun.number, "error", error.detail)
        except OSError as error:
            detail = f"It cannot be unpacked: {error.strerror}."
            await self.store.settle(begun.package, begun.number, "error", detail)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.store.settle(begun.package, begun.number, "error", BROKEN_OFF)
            raise
        else:
            await self.store.settle(begun.package, begun.number, "ready")
            log.info("package.published", kind=kind, package=begun.package, number=begun.number)

    async def remove(self, package: Package, number: int | None = None) -> None:
        """Take a package or one version off the record, and its files from the disk.

        Files that something still runs from stay until a later removal, or the next start.

        Raises:
            Conflict: it is being unpacked.
        """
        numbers = [v.number for v in package.versions if number in (None, v.number)]
        if any((package.id, one) in self._begun for one in numbers):
            raise Conflict(f"{package.name} is being unpacked. Try again in a while.")
        await self.store.remove(package.id, number)
        self._left |= {(package.kind, package.id, one): package.name for one in numbers}
        for place, name in list(self._left.items()):
            if not await self.is_used(place[0], name, place[2]):
                self._left.pop(place, None)
                await self.shelf.remove(*place)
        log.info("package.removed", kind=package.kind, package=package.id, numbers=numbers)


async def _is_unused(kind: Kind, name: str, number: int) -> bool:
    del kind, name, number
    return False


def check_text(archive: Archive) -> None:
    """Refuse a manifest that is no text.

    Raises:
        InvalidField: naming the file.
    """
    try:
        archive.text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidField(archive.manifest, f"{archive.manifest} is no text.") from error
