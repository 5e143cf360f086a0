"""Refuse to build a package without the viewer, whose files are built from ``web/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["ViewerHook"]

STATIC = Path("src/downstage/gateway/static")


class ViewerHook(BuildHookInterface):
    """Looks for the built viewer before a wheel or a source archive is written."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """An editable install reads the sources in place and may be made first."""
        del build_data
        if version != "editable" and not (Path(self.root) / STATIC / "index.html").is_file():
            raise SystemExit(
                f"The built viewer is missing in {STATIC}: a package without it would open an "
                "empty page. Run `make setup` (it builds web/), then build again."
            )
