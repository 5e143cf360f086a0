"""Names in archives: what may be unpacked, and where to; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from downstage.kernel.errors import InvalidField, TooLarge

__all__ = ["ARCHIVE", "Limits", "Member", "check_members", "clean", "strip_folder"]

ARCHIVE = "archive"
"""What refusals call the body."""
LONGEST_NAME = 512
LONGEST_PART = 255
DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may unfold to."""

    members: int = 20_000
    bytes: int = 16 << 30
    """Of all members."""
    ratio: int = 200
    """Unpacked to packed; beyond a few MiB more than that is a bomb."""


@dataclass(frozen=True, slots=True)
class Member:
    """A plain file of an archive."""

    name: str
    """Relative, with ``/`` and nothing to climb by."""
    size: int
    is_executable: bool = False


def clean(name: str) -> str:
    """*name* as a relative path.

    Raises:
        InvalidField: it leads out of the folder, or nothing is called so.
    """
    plain = name.removeprefix("./")
    if len(plain) > LONGEST_NAME or not plain.isprintable() or "\\" in plain:
        raise InvalidField(ARCHIVE, "A member of the archive has a name that nothing has.")
    parts = plain.split("/")
    if len(parts) > DEEPEST or any(len(part.encode()) > LONGEST_PART for part in parts):
        raise InvalidField(
            ARCHIVE, "A member of the archive lies too deep, or has too long a name."
        )
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidField(
            ARCHIVE, f"{plain[:64]!r}: names are relative and stay in the archive's folder."
        )
    return plain


def check_members(members: Sequence[Member], limits: Limits) -> None:
    """Refuse a list of members that no honest archive has.

    Raises:
        InvalidField: a name twice, or a file where a folder of another member is.
        TooLarge: too many, or too large together.
    """
    if len(members) > limits.members:
        raise TooLarge(f"The archive has more than {limits.members} members.", limit=limits.members)
    if sum(member.size for member in members) > limits.bytes:
        raise TooLarge(f"Unpacked it has more than {limits.bytes} bytes.", limit=limits.bytes)
    names = {member.name for member in members}
    if len(names) != len(members):
        raise InvalidField(ARCHIVE, "Two members of the archive have the same name.")
    for name in names:
        parent = name
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in names:
                raise InvalidField(ARCHIVE, f"{parent[:64]!r} is a file and a folder at once.")


def strip_folder(names: Sequence[str], wanted: Sequence[str]) -> str:
    """The folder, with its slash, in which all lies and one of the *wanted* files is; or empty."""
    if any(name in wanted for name in names):
        return ""
    firsts = {name.partition("/")[0] for name in names}
    if len(firsts) != 1:
        return ""
    folder = f"{firsts.pop()}/"
    return folder if any(name.removeprefix(folder) in wanted for name in names) else ""
