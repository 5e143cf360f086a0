"""``UPath("omniverse://…")``: universal_pathlib finds this by its entry point, and nobody else."""

from __future__ import annotations

import fsspec
from upath import UPath

from downstage.client.filesystem import SCHEMES

__all__ = ["ContentPath"]

for _scheme in SCHEMES:
    fsspec.get_filesystem_class(
        _scheme
    )  # of one that is not loaded it warns that it knows no default


class ContentPath(UPath):
    """A path on a content server; all that it does is done by the file system."""

    __slots__ = ()
