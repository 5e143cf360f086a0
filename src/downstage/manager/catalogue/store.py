"""Packages on record: applications and addons with their versions; one short transaction each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import RowMapping, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.contracts.applications import ApplicationStatus
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Conflict, InvalidField, NotFound, TooMany
from downstage.kernel.ids import new_id
from downstage.manager.catalogue.tables import package_versions, packages
from downstage.manager.moments import write_moment
from downstage.services.facilities.database import Database

__all__ = ["Kind", "NewVersion", "Package", "PackageStore", "Version"]

Kind = Literal["application", "addon"]
MOST_PACKAGES = 5000
MOST_VERSIONS = 500
MAX_ERROR = 2000
ID = re.compile(r"(app|addon)-[a-z2-7]{26}")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a package."""

    package_id: str
    number: int
    status: ApplicationStatus
    error: str | None
    published: bool
    size: int
    digest: str
    manifest: Mapping[str, Any]
    manifest_name: str
    manifest_text: str
    created_by: str
    created_at: datetime

    @property
    def is_offered(self) -> bool:
        """It may be taken where no version is asked for."""
        return self.published and self.status == "ready"


@dataclass(frozen=True, slots=True)
class Package:
    """One application or addon."""

    id: str
    kind: Kind
    name: str
    owner: str
    title: str | None
    description: str | None
    tags: list[str] | None
    immutable: bool
    created_at: datetime
    updated_at: datetime
    versions: tuple[Version, ...] = field(default=())
    """Newest first."""

    @property
    def latest(self) -> Version | None:
        """The newest published version that is ready."""
        return next((version for version in self.versions if version.is_offered), None)

    def version(self, number: int | None) -> Version:
        """The version *number*, or the latest.

        Raises:
            NotFound: there is none.
        """
        if number is None:
            if self.latest is not None:
                return self.latest
            raise NotFound(f"{self.name} has no published version that is ready.", field="version")
        for version in self.versions:
            if version.number == number:
                return version
        raise NotFound(f"{self.name} has no version {number}.", field="version")

    def ready(self, number: int | None) -> Version:
        """The same, if it can be started.

        Raises:
            NotFound: there is none, or it is not ready.
        """
        found = self.version(number)
        if found.status != "ready":
            why = f": {found.error}" if found.error else ""
            raise NotFound(
                f"Version {found.number} of {self.name} is not ready{why}", field="version"
            )
        return found


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is published."""

    name: str
    by: str
    size: int
    digest: str
    manifest: Mapping[str, Any]
    manifest_name: str
    manifest_text: str
    published: bool = True


class PackageStore:
    """Reads and writes packages."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def list(self, kind: Kind) -> list[Package]:
        """All of a kind, by name."""
        query = select(packages).where(packages.c.kind == kind).order_by(packages.c.name)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
            owned = packages.c.kind == kind
            join = package_versions.join(packages, packages.c.id == package_versions.c.package_id)
            found = select(package_versions).select_from(join).where(owned)
            found = found.order_by(package_versions.c.number.desc())
            versions = (await connection.execute(found)).mappings().all()
        by_package = dict[str, list[Version]]()
        for row in versions:
            by_package.setdefault(row["package_id"], []).append(_version(row))
        return [_package(row, by_package.get(row["id"], [])) for row in rows]

    async def get(self, kind: Kind, key: str) -> Package:
        """The one with name or id *key*.

        Raises:
            NotFound: there is none.
        """
        async with self._database.read() as connection:
            return await _get(connection, kind, key)

    async def find(self, kind: Kind, key: str) -> Package | None:
        """The same; None where there is none."""
        try:
            return await self.get(kind, key)
        except NotFound:
            return None

    async def add(self, kind: Kind, new: NewVersion, key: str | None = None) -> Package:
        """Give *new* the next number, in state ``initializing``; it is the first of `versions`.

        Args:
            kind: of the package.
            new: what is published.
            key: of the package that must be there; None makes one where there is none.

        Raises:
            NotFound: there is none called *key*.
            Conflict: *key* has another name, or is immutable.
            TooMany: of packages, or versions of this one.
            InvalidField: the name could be another's id.
        """
        if ID.fullmatch(new.name):
            raise InvalidField("name", "That name could be the id of another.")
        now = write_moment(self._clock.now())
        async with self._database.write() as connection:
            package = await _find(connection, kind, key or new.name)
            if package is None and key is not None:
                raise _unknown(kind)
            if package is None:
                package_id = await _insert(connection, kind, new, now)
            else:
                package_id = _check(package, new.name).id
            counted = select(packages.c.next_number).where(packages.c.id == package_id)
            number = (await connection.execute(counted)).scalar_one()
            values = {**asdict(new), "package_id": package_id, "number": number}
            values |= {"created_by": values.pop("by"), "created_at": now}
            values |= {"status": "initializing", "error": None}
            del values["name"]
            await connection.execute(insert(package_versions).values(**values))
            changes = {"next_number": number + 1, "updated_at": now}
            await connection.execute(
                update(packages).where(packages.c.id == package_id).values(**changes)
            )
            return await _get(connection, kind, package_id)

    async def settle(
        self, package_id: str, number: int, status: ApplicationStatus, error: str | None = None
    ) -> None:
        """A version is ``ready``, or of no use; one that was removed meanwhile stays away."""
        cut = None if error is None else error[:MAX_ERROR]
        async with self._database.write() as connection:
            await connection.execute(
                update(package_versions)
                .where(_is(package_id, number))
                .values(status=status, error=cut)
            )

    async def change(self, package: Package, values: Mapping[str, Any]) -> None:
        """Write fields of a package; immutable ones are left alone.

        Raises:
            Conflict: it became immutable meanwhile.
        """
        now = write_moment(self._clock.now())
        async with self._database.write() as connection:
            done = await connection.execute(
                update(packages)
                .where(packages.c.id == package.id, packages.c.immutable.is_(False))
                .values(**values, updated_at=now)
            )
            if done.rowcount == 0:
                raise Conflict(f"{package.name} is immutable.")

    async def set_published(self, package: Package, number: int, *, published: bool) -> None:
        """Publish a version, or take that back."""
        async with self._database.write() as connection:
            await connection.execute(
                update(package_versions).where(_is(package.id, number)).values(published=published)
            )

    async def remove(self, package_id: str, number: int | None = None) -> None:
        """Remove a package, or one version of it; with the last version the package goes."""
        mine = package_versions.c.package_id == package_id
        async with self._database.write() as connection:
            where = mine if number is None else _is(package_id, number)
            await connection.execute(delete(package_versions).where(where))
            left = select(func.count()).select_from(package_versions).where(mine)
            if (await connection.execute(left)).scalar_one() == 0:
                await connection.execute(delete(packages).where(packages.c.id == package_id))

    async def initializing(self) -> Sequence[tuple[Kind, str, int]]:
        """Versions that nobody has finished: kind, package and number."""
        join = package_versions.join(packages, packages.c.id == package_versions.c.package_id)
        query = select(packages.c.kind, packages.c.id, package_versions.c.number)
        query = query.select_from(join).where(package_versions.c.status == "initializing")
        async with self._database.read() as connection:
            return [(row[0], row[1], row[2]) for row in await connection.execute(query)]


def _is(package_id: str, number: int) -> Any:
    return and_(package_versions.c.package_id == package_id, package_versions.c.number == number)


def _check(package: Package, name: str) -> Package:
    if package.name != name:
        raise Conflict(f"The manifest is of {name}, not of {package.name}.")
    if package.immutable:
        raise Conflict(f"{package.name} is immutable: it takes no further version.")
    if len(package.versions) >= MOST_VERSIONS:
        raise TooMany(f"{package.name} has {MOST_VERSIONS} versions. Remove old ones.")
    return package


async def _insert(connection: AsyncConnection, kind: Kind, new: NewVersion, now: str) -> str:
    counted = select(func.count()).select_from(packages)
    if (await connection.execute(counted)).scalar_one() >= MOST_PACKAGES:
        raise TooMany(f"There are {MOST_PACKAGES} applications and addons. Remove old ones.")
    package_id = new_id("app" if kind == "application" else "addon")
    values: dict[str, Any] = {"id": package_id, "kind": kind, "name": new.name, "owner": new.by}
    values |= {"immutable": False, "next_number": 1, "created_at": now, "updated_at": now}
    await connection.execute(insert(packages).values(**values))
    return package_id


async def _find(connection: AsyncConnection, kind: Kind, key: str) -> Package | None:
    query = select(packages).where(
        packages.c.kind == kind, or_(packages.c.name == key, packages.c.id == key)
    )
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    found = select(package_versions).where(package_versions.c.package_id == row["id"])
    found = found.order_by(package_versions.c.number.desc())
    versions = (await connection.execute(found)).mappings()
    return _package(row, [_version(item) for item in versions])


async def _get(connection: AsyncConnection, kind: Kind, key: str) -> Package:
    found = await _find(connection, kind, key)
    if found is None:
        raise _unknown(kind)
    return found


def _unknown(kind: Kind) -> NotFound:
    return NotFound(f"There is no such {kind}.", field=kind)


def _package(row: RowMapping, versions: Sequence[Version]) -> Package:
    names = [item.name for item in fields(Package) if item.name != "versions"]
    values = {name: row[name] for name in names}
    for name in ("created_at", "updated_at"):
        values[name] = datetime.fromisoformat(values[name])
    return Package(**values, versions=tuple(versions))


def _version(row: RowMapping) -> Version:
    values = {item.name: row[item.name] for item in fields(Version)}
    values["created_at"] = datetime.fromisoformat(values["created_at"])
    return Version(**values)
