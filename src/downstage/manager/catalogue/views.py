"""Applications and versions as callers see them; pure."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from downstage.contracts.applications import (
    AddonVersion,
    AddonView,
    ApplicationDetail,
    VersionView,
)
from downstage.manager.applications import Application
from downstage.manager.catalogue.manifest import ApplicationFile
from downstage.manager.catalogue.store import Package, Version

__all__ = ["addon_view", "declared_detail", "declared_version", "detail", "manifest_of", "version"]


@lru_cache(maxsize=1024)
def _parsed(manifest: _Once) -> ApplicationFile:
    return ApplicationFile.model_validate(manifest.values)


class _Once:
    """A manifest that counts as the same for the same version, which never changes."""

    def __init__(self, version: Version) -> None:
        self.values = dict(version.manifest)
        self._key = (version.package_id, version.number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)


def manifest_of(version: Version) -> ApplicationFile:
    """What the version says of itself."""
    return _parsed(_Once(version))


def version(package: Package, item: Version) -> VersionView:
    """One version of a published application."""
    manifest = manifest_of(item)
    return VersionView(
        application=package.name,
        application_id=package.id,
        number=item.number,
        published=item.published,
        status=item.status,
        error=item.error,
        size=item.size,
        digest=item.digest,
        image=manifest.image,
        addons=manifest.addons,
        profiles=[profile.view(name) for name, profile in manifest.all_profiles.items()],
        extra=manifest.extra,
        created_at=item.created_at,
        created_by=item.created_by,
    )


def detail(package: Package, unavailable: str | None = None) -> ApplicationDetail:
    """A published application; what was patched counts more than the newest manifest."""
    latest = package.latest
    newest = manifest_of(latest or package.versions[0])
    is_ready = any(item.status == "ready" for item in package.versions)
    return ApplicationDetail(
        id=package.id,
        name=package.name,
        title=package.title or newest.title,
        description=newest.description if package.description is None else package.description,
        tags=newest.tags if package.tags is None else package.tags,
        source="published",
        immutable=package.immutable,
        status="ready" if is_ready else package.versions[0].status,
        error=None if is_ready else package.versions[0].error,
        published=latest is not None,
        latest=None if latest is None else latest.number,
        opens_stage=newest.opens_stage,
        unavailable=unavailable,
        versions=[version(package, item) for item in package.versions],
        owner=package.owner,
        created_at=package.created_at,
        updated_at=package.updated_at,
    )


def declared_version(application: Application) -> VersionView:
    """The only version of a declared application."""
    manifest = application.declared
    return VersionView(
        application=manifest.name,
        application_id=manifest.name,
        number=1,
        published=True,
        status="ready",
        image=manifest.image,
        addons=manifest.addons,
        profiles=[profile.view(name) for name, profile in manifest.all_profiles.items()],
        extra=manifest.extra,
    )


def declared_detail(application: Application) -> ApplicationDetail:
    """A declared application."""
    manifest = application.declared
    return ApplicationDetail(
        id=manifest.name,
        name=manifest.name,
        title=manifest.title,
        description=manifest.description,
        tags=manifest.tags,
        source="declared",
        immutable=True,
        status="ready",
        published=True,
        latest=1,
        opens_stage=manifest.opens_stage,
        unavailable=application.unavailable,
        versions=[declared_version(application)],
    )


def addon_view(package: Package, used_by: list[str]) -> AddonView:
    """One addon."""
    newest = package.versions[0].manifest
    return AddonView(
        name=package.name,
        description=str(newest.get("description", "")),
        owner=package.owner,
        versions=[_addon_version(item, item.created_at) for item in package.versions],
        used_by=used_by,
    )


def _addon_version(item: Version, created_at: datetime) -> AddonVersion:
    return AddonVersion(
        number=item.number,
        status=item.status,
        error=item.error,
        size=item.size,
        digest=item.digest,
        created_at=created_at,
    )
