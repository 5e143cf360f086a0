"""Pack files: small new ranges of many large files, one behind the other."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from downstage.content.blobs.layout import Layout, disk_errors, sync_folder, write_all
from downstage.content.blobs.pins import Hold
from downstage.content.blobs.protocol import Extent
from downstage.kernel.chaos import point
from downstage.kernel.logging import get_logger

__all__ = ["FULL", "Packs"]

log = get_logger(__name__)

FULL = 64 * 1024 * 1024
"""Bytes from which a pack takes no more."""


class Packs:
    """Appends to one pack at a time. Blocks; for workers."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._name = ""
        self._size = 0

    def recover(self, known: Mapping[str, int]) -> int:
        """Cut off what no row reaches: appended before a crash, never committed.

        Args:
            known: how far the rows of each pack reach. Nothing may be staged meanwhile.

        Returns:
            Bytes that were given back.
        """
        freed = 0
        for path in sorted(self._layout.packs.iterdir()):
            name, size = f"packs/{path.name}", path.stat().st_size
            reach = known.get(name, 0)
            if reach == 0:
                path.unlink()
            elif size > reach:
                os.truncate(path, reach)
            elif size < reach:
                log.error("content.pack_short", pack=name, bytes=size, expected=reach)
                continue
            freed += size - reach
            if 0 < reach < FULL:
                self._name, self._size = name, reach
        return freed

    def append(self, data: bytes | bytearray, hold: Hold) -> Extent:
        """Make *data* durable in the present pack, which *hold* keeps from then on.

        Raises:
            OutOfSpace: the disk is full; nothing was added.
        """
        with self._lock:
            if not self._name or self._size >= FULL:
                self._name, self._size = self._layout.pack_name(), 0
            hold.keep((self._name,))
            extent = Extent(self._name, self._size, len(data))
            with disk_errors():
                self._write(extent, data)
            self._size += len(data)
            return extent

    def retire(self, name: str) -> None:
        """Append no more to the pack *name*: it is about to go."""
        with self._lock:
            if self._name == name:
                self._name, self._size = "", 0

    def _write(self, extent: Extent, data: bytes | bytearray) -> None:
        path = self._layout.of(extent.source)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.lseek(descriptor, extent.at, os.SEEK_SET)
            write_all(descriptor, data)
            point("content.pack.appended")
            os.fdatasync(descriptor)
        except OSError:
            os.ftruncate(descriptor, extent.at)
            raise
        finally:
            os.close(descriptor)
        if extent.at == 0:
            sync_folder(path.parent)
        point("content.pack.synced")
