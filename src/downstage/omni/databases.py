"""The database facility by its foreign name: made by the extension, from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from downstage.omni.settings import get_settings
from downstage.services.extension import IExt
from downstage.services.facilities.databases import DatabaseFacility
from downstage.services.facilities.injection import FacilityParts

__all__ = ["DatabaseManagerFacility"]


class DatabaseManagerFacility(DatabaseFacility):
    """The databases ``exts."name".dbs.<handle>`` of one extension.

    Args:
        ext: the extension, or its name. Given itself, relative paths of its settings are in its
            data folder, and the facility stops with it; else ``await facility.stop()``.
        ext_name: its name, for callers that say it so.
    """

    facility_name: ClassVar[str] = ""

    def __init__(self, ext: IExt | str = "", *, ext_name: str = "") -> None:
        data: Path | None = None
        name = ext_name or (ext if isinstance(ext, str) else ext.context.name)
        if isinstance(ext, IExt):
            data = ext.context.data
            ext.context.facilities.register(f"database of {name}", self)
        tables = get_settings().get_settings_dictionary(f"/exts/{name}/dbs") or {}
        super().__init__(cast("Mapping[str, Mapping[str, Any]]", tables), data=data, owner=name)

    @classmethod
    def make(cls, parts: FacilityParts) -> Self:
        """The name of an extension is enough."""
        return cls(parts.owner)
