"""Where a client's address is, by a file in MaxMind's format; nothing leaves this machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import anyio.to_thread
import maxminddb

from downstage.gateway.regions.score import Place
from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger

__all__ = ["Locations"]

log = get_logger(__name__)


class Locations:
    """Looks addresses up; without a file none is known.

    Args:
        reader: of the opened file.
    """

    def __init__(self, reader: maxminddb.Reader | None = None) -> None:
        self._reader = reader

    @classmethod
    async def open(cls, path: Path | None) -> Locations:
        """Read the file at *path*.

        Raises:
            SetupError: it cannot be read, or is no such file.
        """
        if path is None:
            return cls()
        try:
            return cls(await anyio.to_thread.run_sync(_open, path))
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            raise SetupError(f"gateway.locations: {path} cannot be used: {error}.") from error

    async def place(self, address: str | None) -> Place | None:
        """Where *address* is; None where that is not known, or it is no address."""
        if self._reader is None or address is None:
            return None
        # The file is mapped: what is not in memory yet is read from the disk.
        return await anyio.to_thread.run_sync(self._find, self._reader, address)

    def _find(self, reader: maxminddb.Reader, address: str) -> Place | None:
        try:
            parsed = ip_address(address.partition("%")[0])
            found = reader.get(getattr(parsed, "ipv4_mapped", None) or parsed)
        except (ValueError, maxminddb.InvalidDatabaseError) as error:
            log.debug("location.not_found", why=str(error))
            return None
        return _place(found)

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()


def _open(path: Path) -> maxminddb.Reader:
    return maxminddb.open_database(str(path))


def _place(record: object) -> Place | None:
    """The middle of what *record* names, if it is one of places."""
    entry = cast("Mapping[str, Any]", record if isinstance(record, dict) else {})
    where = entry.get("location")
    if not isinstance(where, dict):
        return None
    point = cast("Mapping[str, Any]", where)
    latitude, longitude = _degrees(point.get("latitude"), 90), _degrees(point.get("longitude"), 180)
    return None if latitude is None or longitude is None else Place(latitude, longitude)


def _degrees(value: object, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and abs(value) <= most else None
