"""Options that the commands on streams share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import (
    Path,  # noqa: F401  # pyright: ignore[reportUnusedImport] - inherited fields are looked up here
)
from typing import Annotated

from cyclopts import Parameter

from downstage.cli.options import Common

__all__ = ["At", "Flag", "Json", "Last"]

Flag = Parameter(negative="")
Last = Annotated[str, Parameter(allow_leading_hyphen=True)]
Json = Annotated[bool, Parameter(name="--json", negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class At(Common):
    """Which server."""

    server: str | None = None
    """Address of the server [default: the platform that runs on the data folder]."""
