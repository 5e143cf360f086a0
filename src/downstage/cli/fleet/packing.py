"""A folder, or an archive, as what is published: its bytes and their SHA-256."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

import anyio.to_thread

from downstage.kernel.errors import SetupError

__all__ = ["digest_of", "pack", "pieces"]

MANIFESTS = ("application.toml", "manifest.yaml")
PIECE = 1 << 20
MOMENT = (1980, 1, 1, 0, 0, 0)
"""The oldest that a zip can say: the same files make the same archive."""


def pack(source: Path, to: IO[bytes]) -> None:
    """Write *source*, a folder with a manifest or an archive, to *to*; blocking.

    Raises:
        SetupError: it is neither, or holds links that lead out of it.
    """
    if source.is_file():
        with source.open("rb") as archive:
            while piece := archive.read(PIECE):
                to.write(piece)
        return
    if not any((source / name).is_file() for name in MANIFESTS):
        raise SetupError(f"{source} holds no {' and no '.join(MANIFESTS)}.")
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(source):
            entry = zipfile.ZipInfo(path.relative_to(source).as_posix(), MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (path.stat().st_mode & 0o777 | 0o100000) << 16
            with path.open("rb") as file, archive.open(entry, "w", force_zip64=True) as packed:
                while piece := file.read(PIECE):
                    packed.write(piece)


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(root) / name
            if path.is_symlink():
                raise SetupError(f"{path} is a link: an application is published without any.")
            if path.is_file():
                yield path


def digest_of(file: IO[bytes]) -> str:
    """SHA-256 of *file* from its begin, hexadecimal; blocking."""
    file.seek(0)
    found = hashlib.sha256()
    while piece := file.read(PIECE):
        found.update(piece)
    return found.hexdigest()


async def pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The bytes of *file* from its begin."""
    await anyio.to_thread.run_sync(file.seek, 0)
    while piece := await anyio.to_thread.run_sync(file.read, PIECE):
        yield piece
