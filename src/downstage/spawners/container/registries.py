"""Log-ins of registries: a file that only we may read, looked at anew whenever one is needed."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, cast

from downstage.kernel.errors import SetupError

__all__ = ["login_for", "registry_of"]

OPEN_TO_OTHERS = 0o077
MAX_FILE = 64 * 1024


def registry_of(reference: str) -> str:
    """The registry that a reference of an image names; Docker's where it names none."""
    first, slash, _ = reference.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return first if is_host else "docker.io"


def login_for(path: Path | None, reference: str) -> dict[str, str] | None:
    """What the engine is to show at the image's registry; None: nothing.

    Raises:
        SetupError: the file cannot be read, others may read it, or it is not as it should be.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_FILE).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"The registries' file {path} cannot be read.") from error
    if mode & OPEN_TO_OTHERS:
        raise SetupError(f"Others may read {path}, which holds passwords: chmod 600 {path}")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{path} is no TOML.") from error
    registry = registry_of(reference)
    entry: object = found.get(registry)
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise SetupError(f"{path}: {registry} needs user and password.")
    login = cast("dict[str, Any]", entry)
    user, password = login.get("user"), login.get("password")
    if not isinstance(user, str) or not isinstance(password, str):
        raise SetupError(f"{path}: {registry} needs user and password.")
    return {"username": user, "password": password, "serveraddress": registry}
