"""The catalogue as the rest of the manager sees it: find, publish, change, remove.

Two kinds of applications live side by side. **Declared** ones are folders that the operator put
on the machine: read-only here, always version 1. **Published** ones came in as archives; every
upload is a version, numbered from 1, that never changes afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from downstage.contracts.applications import (
    ApplicationDetail,
    ApplicationPatch,
    ProfileView,
    VersionView,
)

__all__ = ["Applications", "InstancesOf", "ManifestText", "Pool", "Upload"]


@dataclass(frozen=True, slots=True)
class Upload:
    """An archive that has arrived whole; `Applications.publish` takes it, or it is discarded."""

    file: Path
    size: int
    digest: str
    """SHA-256, hexadecimal."""


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


class InstancesOf(Protocol):
    """What the catalogue must know of instances before it removes anything."""

    async def running(self, application: str, version: int | None) -> list[str]:
        """Ids of instances of *application* (of one version of it) that have not ended."""
        ...

    async def end(self, ids: Sequence[str]) -> None:
        """End them and wait, within a bound, until they have."""
        ...


class Applications:
    """All applications; every *key* below is an application's name or id.

    All methods that take a *key* raise `NotFound` where there is none. *number* None is the
    newest published version that is ready.
    """

    async def list(self, *, tags: Sequence[str] = ()) -> list[ApplicationDetail]:
        """All, by name; with *tags*, those that carry every one of them."""
        raise NotImplementedError

    async def get(self, key: str) -> ApplicationDetail:
        """One application with its versions."""
        raise NotImplementedError

    async def versions(self, key: str) -> list[VersionView]:
        """Its versions, newest first."""
        raise NotImplementedError

    async def version(self, key: str, number: int | None = None) -> VersionView:
        """One version."""
        raise NotImplementedError

    async def profiles(self, key: str, number: int | None = None) -> list[ProfileView]:
        """The profiles of one version; the first is the default. Never empty."""
        raise NotImplementedError

    async def manifest(self, key: str, number: int | None = None) -> ManifestText:
        """What the author of that version wrote."""
        raise NotImplementedError

    async def pools(self) -> list[Pool]:
        """The warm pools that published and declared profiles ask for, of newest versions."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def discard(self, upload: Upload) -> None:
        """Remove an upload that nobody will publish; safe to repeat."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def finish(self, key: str, number: int) -> VersionView:
        """Unpack what `begin` took: the version becomes ``ready``, or ``error`` with why."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def set_published(self, key: str, number: int, *, published: bool) -> VersionView:
        """Publish a version, or revoke that.

        Raises:
            Conflict: it is declared, immutable, or not ready.
        """
        raise NotImplementedError

    async def delete(self, key: str, *, force: bool = False) -> None:
        """Remove an application with all its versions.

        Args:
            key: which.
            force: end instances of it first; without, running ones are a conflict.

        Raises:
            Conflict: it is declared, or instances of it run.
        """
        raise NotImplementedError

    async def delete_version(self, key: str, number: int, *, force: bool = False) -> None:
        """Remove one version; as `delete`. The last one takes the application with it."""
        raise NotImplementedError
