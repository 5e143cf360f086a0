"""Folders with declared applications, read anew whenever somebody asks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from downstage.kernel.logging import get_logger
from downstage.manager.applications import Catalogue, load

__all__ = ["Declared"]

log = get_logger(__name__)


class Declared:
    """Knows what is declared below *folders*; the first of them wins a name."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._seen: dict[Path, str] = {}
        self.catalogue = Catalogue({})

    async def reload(self) -> Catalogue:
        """Read every declaration anew: a new file needs no restart."""
        found = self.catalogue = await anyio.to_thread.run_sync(load, self._folders)
        for fault in found.faults:
            if self._seen.get(fault.file) != fault.reason:
                log.warning("application.refused", file=str(fault.file), reason=fault.reason)
        self._seen = {fault.file: fault.reason for fault in found.faults}
        return found
