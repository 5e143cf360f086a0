"""Asset paths of a layer, seen and changed by USD itself: wherever in the layer they stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from downstage.client.live.pxr import Sdf, Tf, UsdUtils
from downstage.client.logs import log
from downstage.client.types import LogLevel

__all__ = ["export", "format_of", "rewrite"]

_BINARY = b"PXR-USDC"


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Give the layer at *path* the asset paths that *change* makes of each of its own.

    A file that is no layer is left as it is: USD tells of it when it is opened.
    """
    try:
        layer = Sdf.Layer.OpenAsAnonymous(str(path))
    except Tf.ErrorException:
        layer = None
    if layer is None:
        log(LogLevel.WARNING, "client.layer_unreadable", path=path.name)
        return
    is_changed = False

    def seen(asset: str) -> str:
        nonlocal is_changed
        changed = change(asset)
        is_changed |= changed != asset
        return changed

    UsdUtils.ModifyAssetPaths(layer, seen)
    if is_changed:
        export(layer, path, format_of(path))


def format_of(path: Path) -> str:
    """How the layer at *path* is written: ``usda`` or ``usdc``."""
    with path.open("rb") as file:
        return "usdc" if file.read(len(_BINARY)) == _BINARY else "usda"


def export(layer: Any, path: Path, form: str) -> None:
    """Write *layer* to *path* in the given form, whatever the ending says."""
    arguments = {"format": form} if path.suffix.lower() == ".usd" else {}
    if not layer.Export(str(path), args=arguments):
        raise OSError(f"{path.name} could not be written")
