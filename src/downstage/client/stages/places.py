"""Where an asset path leads, and where its copy lies: never outside of the mirror.

USD's resolver reads files. So each server has a folder in the mirror in which its files have the
paths they have there, and relative asset paths work as they are. Every other path is rewritten
in the copy: of the same server to a relative path; whatever leads elsewhere (another machine, this
machine's own files) to a name that is not there.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from downstage.client.places import Place
from downstage.client.url_parts import split
from downstage.kernel.errors import BadUrl

__all__ = ["MISSING", "Mirror", "Target"]

MISSING = "downstage-refused"
"""Folder that is in no mirror: paths that may not be followed are rewritten into it."""
MAX_NAME = 200
_SAFE = re.compile(r"[^A-Za-z0-9._-]")
_TAGGED = re.compile(r"<UDIM>|<UVTILE[0-9]*>|#+(?:\.#+)?")


@dataclass(frozen=True, slots=True)
class Target:
    """What one asset path means in one layer."""

    place: Place | None
    """What has to be there; None: nothing that is fetched."""
    written: str
    """The path to stand in the copy."""
    pattern: re.Pattern[str] | None = None
    """Of a sequence or of tiles: the names in the folder `place` that belong to it."""
    refused: str = ""
    """Why it is not followed."""


class Mirror:
    """The folder of all copies.

    Args:
        folder: private to the user.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path_of(self, place: Place) -> Path:
        """Where the copy of *place* lies; that of a checkpoint beside the present one."""
        server = self._server(place)
        path = server.joinpath(*[_local(part) for part in place.path.split("/") if part])
        if server not in path.parents:
            raise BadUrl("This address names no file.")
        if place.checkpoint:
            return path.with_name(f".{path.stem}.&{place.checkpoint}{path.suffix}")
        return path

    def target(self, layer: Place, asset: str) -> Target:
        """What *asset* in the layer at *layer* means."""
        outer, inner = _package(asset)
        if not outer or outer.startswith(("anon:", "`", "${")):
            return Target(None, asset)
        try:
            place = _meant(layer, outer)
        except BadUrl as error:
            return _refuse(asset, error.detail)
        if place.key != layer.key:
            return _refuse(asset, "It lies on another server, or on this machine.")
        name = PurePosixPath(place.path).name
        written = self._written(layer, place, outer) + inner
        if _TAGGED.search(name):
            return Target(_folder(place), written, _pattern(name))
        return Target(place, written)

    def _written(self, layer: Place, place: Place, asset: str) -> str:
        start, path = self.path_of(layer).parent, self.path_of(place)
        is_relative = split(asset).scheme is None and not asset.startswith("/")
        if is_relative and os.path.normpath(start / asset) == str(path):
            return asset
        relative = os.path.relpath(path, start)
        return relative if relative.startswith("../") else f"./{relative}"

    def _server(self, place: Place) -> Path:
        return self.folder / _local(f"{place.scheme}_{place.authority}")


def _meant(layer: Place, asset: str) -> Place:
    """The place of *asset*.

    Raises:
        BadUrl: none.
    """
    if asset.startswith("\\\\") or "\\" in asset or "\0" in asset:
        raise BadUrl("A path of another system.")
    parts = split(asset)
    if parts.scheme is not None:
        return Place.of(asset)
    if asset.startswith("//"):
        raise BadUrl("It lies on another server.")
    # Without a scheme it is a path and no URL: what a URL reads as a query is part of a name.
    place = Place.of(f"{layer.origin}/")
    for name in PurePosixPath(_joined(layer.path, asset)).parts[1:]:
        place = place.child(name)
    return place


def _joined(layer: str, asset: str) -> str:
    """*asset* seen from the file *layer*; no ``..`` leads above the root."""
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(layer), asset))


def _package(asset: str) -> tuple[str, str]:
    """``a.usdz[b.usd]`` as its file and the rest."""
    cut = asset.find("[")
    return (asset[:cut], asset[cut:]) if cut > 0 and asset.endswith("]") else (asset, "")


def _folder(place: Place) -> Place:
    return Place.of(place.url.rpartition("/")[0] + "/")


def _pattern(name: str) -> re.Pattern[str]:
    parts, last = list[str](), 0
    for found in _TAGGED.finditer(name):
        parts += [re.escape(name[last : found.start()]), r"[-_u0-9v.]+"]
        last = found.end()
    return re.compile("".join(parts) + re.escape(name[last:]))


def _refuse(asset: str, why: str) -> Target:
    name = _SAFE.sub("_", asset)[-MAX_NAME:]
    return Target(None, f"./{MISSING}/{name}", refused=why)


def _local(name: str) -> str:
    """*name* as one on this machine: the same, unless it could be none or something else."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > MAX_NAME:
        return "long-" + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    return name
