"""Images by which applications run: those registered under a name, and those that are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import RowMapping, delete, func, insert, or_, select

from downstage.contracts.applications import ImageCreate, ImageView
from downstage.kernel.clock import Clock
from downstage.kernel.errors import AlreadyExists, NotFound, TooMany
from downstage.kernel.ids import new_id
from downstage.manager.catalogue.references import check_image, is_allowed, name_of
from downstage.manager.catalogue.tables import images
from downstage.services.facilities.database import Database

__all__ = ["Images"]

MOST = 1000


class Images:
    """Names for images of the allowed repositories; a manifest may say the name.

    Args:
        database: of the manager.
        clock: of the platform.
        allowed: patterns of images that may run (``manager.images``).
    """

    def __init__(self, database: Database, clock: Clock, allowed: Sequence[str]) -> None:
        self._database, self._clock = database, clock
        self.allowed = tuple(allowed)

    async def list(self, named: Mapping[str, list[str]] | None = None) -> list[ImageView]:
        """All, by name; *named* are references that applications name, and which do."""
        users = dict(named or {})
        async with self._database.read() as connection:
            rows = (await connection.execute(select(images).order_by(images.c.name))).mappings()
            found = [self._view(row, users.pop(row["reference"], [])) for row in rows]
        found += [self._unregistered(reference, names) for reference, names in users.items()]
        return found

    async def add(self, new: ImageCreate) -> ImageView:
        """Register an image.

        Raises:
            InvalidField: it is none that may run here.
            AlreadyExists: the name is taken.
        """
        check_image("reference", new.reference, self.allowed)
        values = {"id": new_id("img"), "name": new.name, "reference": new.reference}
        values["created_at"] = self._clock.now().astimezone(UTC).isoformat()
        async with self._database.write() as connection:
            taken = select(images.c.id).where(images.c.name == new.name)
            if (await connection.execute(taken)).first() is not None:
                raise AlreadyExists(f"There is an image called {new.name}.", field="name")
            count = select(func.count()).select_from(images)
            if (await connection.execute(count)).scalar_one() >= MOST:
                raise TooMany(f"There are {MOST} images. Remove old ones.")
            await connection.execute(insert(images).values(**values))
        return await self.get(new.name)

    async def get(self, key: str) -> ImageView:
        """The image with name or id *key*.

        Raises:
            NotFound: there is none.
        """
        row = await self._row(key)
        if row is None:
            raise NotFound("There is no such image.", field="image")
        return self._view(row, [])

    async def remove(self, key: str) -> None:
        """Forget a name; what runs goes on.

        Raises:
            NotFound: there is none.
        """
        found = await self.get(key)
        async with self._database.write() as connection:
            await connection.execute(delete(images).where(images.c.id == found.id))

    async def resolve(self, name: str) -> str:
        """The reference that *name* was registered for, else *name* itself."""
        row = await self._row(name)
        return name if row is None else str(row["reference"])

    async def _row(self, key: str) -> RowMapping | None:
        query = select(images).where(or_(images.c.name == key, images.c.id == key))
        async with self._database.read() as connection:
            return (await connection.execute(query)).mappings().first()

    def _view(self, row: RowMapping, used_by: list[str]) -> ImageView:
        name = name_of(row["reference"]) or ""
        return ImageView(
            id=row["id"],
            name=row["name"],
            reference=row["reference"],
            allowed=is_allowed(name, self.allowed),
            used_by=used_by,
            created_at=datetime.fromisoformat(row["created_at"]),
        )

    def _unregistered(self, reference: str, used_by: list[str]) -> ImageView:
        name = name_of(reference) or reference
        return ImageView(
            id=reference,
            name=name,
            reference=reference,
            allowed=is_allowed(name, self.allowed),
            used_by=used_by,
        )
