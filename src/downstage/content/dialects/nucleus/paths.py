"""Paths as the wire writes them: a folder's ends with a slash, a version stands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from downstage.content import names
from downstage.content.model import Entry
from downstage.kernel.errors import BadUrl, InvalidField, NotFound, NotSupported

__all__ = ["Address", "read_address", "wire_path"]

MAIN_BRANCHES = frozenset({None, "", "default"})


@dataclass(frozen=True, slots=True)
class Address:
    """What a command speaks of."""

    path: str
    """As the domain has it: absolute, no slash at the end."""
    is_folder: bool
    """Whether a slash stood at the end: ``x`` and ``x/`` are different things."""
    checkpoint: int = 0

    def check(self, entry: Entry) -> Entry:
        """*entry*, if it is of the kind that the slash says.

        Raises:
            NotFound: it is of the other.
        """
        if (entry.kind == "folder") != self.is_folder:
            raise NotFound("There is no such thing.")
        return entry


def read_address(value: object) -> Address:
    """A path alone, or ``{path, branch?, checkpoint?}``.

    Raises:
        BadUrl: no path of this server.
        NotSupported: a branch; there is one alone.
        InvalidField: a checkpoint that is no number.
    """
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        if fields.get("branch") not in MAIN_BRANCHES:
            raise NotSupported("There are no branches here.")
        return _address(fields.get("path"), _checkpoint(fields.get("checkpoint")))
    return _address(value, 0)


def wire_path(entry: Entry) -> str:
    """The path of *entry* as the wire writes it."""
    return as_folder(entry.path) if entry.kind == "folder" else entry.path


def as_folder(path: str) -> str:
    """*path* with one slash at its end."""
    return path if path.endswith("/") else f"{path}/"


def _address(path: object, checkpoint: int) -> Address:
    if not isinstance(path, str) or not path.startswith("/"):
        raise BadUrl("A path here is a text that begins with a slash.")
    if path == "/":
        return Address("/", True, checkpoint)
    bare = path.removesuffix("/")
    if bare.endswith("/"):
        raise BadUrl("A path holds no empty name.")
    return Address(names.join(names.parse(bare)), bare != path, checkpoint)


def _checkpoint(value: object) -> int:
    if value is None or value == "":
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise InvalidField("checkpoint", "checkpoint: a number, zero for what is there now.")
    return value
