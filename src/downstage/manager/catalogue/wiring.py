"""The catalogue as the manager puts it together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from downstage.kernel.clock import Clock
from downstage.kernel.settings import Manager as ManagerSettings
from downstage.manager.catalogue.addons import Addons
from downstage.manager.catalogue.declared import Declared
from downstage.manager.catalogue.images import Images
from downstage.manager.catalogue.library import Library
from downstage.manager.catalogue.members import Limits
from downstage.manager.catalogue.offered import Offered
from downstage.manager.catalogue.service import Applications
from downstage.manager.catalogue.shelf import Shelf
from downstage.manager.catalogue.store import PackageStore
from downstage.services.facilities.database import Database

__all__ = ["CatalogueParts", "open_catalogue"]

UNFOLD = 4
"""Bytes that an archive may unfold to, times ``manager.max_upload``."""


@dataclass(frozen=True, slots=True)
class CatalogueParts:
    """What others of the manager need."""

    declared: Declared
    applications: Applications
    offered: Offered


async def open_catalogue(
    database: Database,
    clock: Clock,
    data: Path,
    folders: Sequence[Path],
    settings: ManagerSettings,
) -> CatalogueParts:
    """All of it, with what a crash broke off settled.

    Args:
        database: the manager's.
        clock: of the platform.
        data: the platform's folder.
        folders: where applications are declared.
        settings: of the manager.
    """
    limits = Limits(bytes=UNFOLD * settings.max_upload)
    shelf = Shelf(data / "manager", max_upload=settings.max_upload, limits=limits)
    library = Library(PackageStore(database, clock), shelf)
    await library.recover()
    addons = Addons(library)
    images = Images(database, clock, settings.images)
    declared = Declared(folders)
    await declared.reload()
    network = settings.published_network
    return CatalogueParts(
        declared=declared,
        applications=Applications(declared, library, addons, images, network=network),
        offered=Offered(library, addons, images, network=network),
    )
