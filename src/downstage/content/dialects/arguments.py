"""Arguments of the socket's file operations: arrays whose rest may be left out."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from downstage.content.model import ANY, Access, AclEntry, Condition
from downstage.contracts.content import AclRow, Conditions
from downstage.kernel.errors import BadMessage

__all__ = [
    "Args",
    "CheckpointArgs",
    "CopyArgs",
    "Count",
    "DeleteArgs",
    "ExplainArgs",
    "FolderArgs",
    "ListArgs",
    "LockArgs",
    "LocksArgs",
    "ManyArgs",
    "MountArgs",
    "MoveArgs",
    "ObliterateArgs",
    "PatchArgs",
    "PathArgs",
    "QuotaArgs",
    "ReadArgs",
    "RenewArgs",
    "RestoreArgs",
    "SetAclArgs",
    "StatArgs",
    "UnlockArgs",
    "WriteArgs",
    "acl_entry",
    "condition_of",
]

Kind = Literal["file", "folder"]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""A number that the database can hold."""


class Args(msgspec.Struct, array_like=True, frozen=True):
    """Base: an array whose rest may be left out."""


class PathArgs(Args, frozen=True):
    """One path."""

    path: str


class StatArgs(PathArgs, frozen=True):
    """What to look at."""

    checkpoint: Count = 0
    deleted: bool = False


class ManyArgs(Args, frozen=True):
    """Paths, each with a checkpoint or 0."""

    addresses: list[tuple[str, Count]]


class ListArgs(PathArgs, frozen=True):
    """Which page of which folder."""

    after: str = ""
    limit: Annotated[int, msgspec.Meta(le=2**62)] = 1000
    recursive: bool = False
    deleted: bool = False


class ReadArgs(PathArgs, frozen=True):
    """Which bytes of which file."""

    checkpoint: Count = 0
    start: Count = 0
    length: Annotated[int, msgspec.Meta(ge=-1, le=2**62)] = -1


class WriteArgs(PathArgs, frozen=True):
    """All bytes of a file."""

    data: bytes
    conditions: Conditions | None = None
    message: str = ""
    parents: bool = True


class FolderArgs(PathArgs, frozen=True):
    """A folder to make."""

    parents: bool = False


class CopyArgs(Args, frozen=True):
    """From where to where."""

    source: str
    target: str
    checkpoint: Count = 0
    overwrite: bool = False
    only: Kind | None = None
    conditions: Conditions | None = None
    message: str = ""


class MoveArgs(Args, frozen=True):
    """From where to where."""

    source: str
    target: str
    overwrite: bool = False
    only: Kind | None = None
    conditions: Conditions | None = None
    message: str = ""


class DeleteArgs(PathArgs, frozen=True):
    """What to hide."""

    recursive: bool = True
    conditions: Conditions | None = None


class ObliterateArgs(PathArgs, frozen=True):
    """What to remove for ever."""

    checkpoints: bool = True


class CheckpointArgs(PathArgs, frozen=True):
    """What to keep, and why."""

    comment: str
    force: bool = False


class RestoreArgs(PathArgs, frozen=True):
    """Which checkpoint to bring back."""

    checkpoint: Count
    message: str = ""


class PatchArgs(PathArgs, frozen=True):
    """Properties to set and to remove."""

    put: dict[str, str] = {}
    remove: list[str] = []
    conditions: Conditions | None = None


class LockArgs(PathArgs, frozen=True):
    """What to lock, for how long."""

    lease_s: float = 0.0
    etag: str = ""
    note: str = ""


class RenewArgs(PathArgs, frozen=True):
    """Which lock, for how long more."""

    token: str
    lease_s: float = 0.0


class UnlockArgs(PathArgs, frozen=True):
    """Which lock to give back, or to break."""

    token: str = ""
    force: bool = False


class LocksArgs(PathArgs, frozen=True):
    """Where to look for locks."""

    below: bool = False


class SetAclArgs(PathArgs, frozen=True):
    """All explicit entries of one place."""

    entries: list[AclRow]


class ExplainArgs(PathArgs, frozen=True):
    """Whose rights."""

    principal: str


class QuotaArgs(PathArgs, frozen=True):
    """What a folder may hold."""

    bytes: Count | None = None
    nodes: Count | None = None


class MountArgs(PathArgs, frozen=True):
    """What to show where."""

    target: str
    writable: bool = False


def condition_of(given: Conditions | None) -> Condition:
    """What the caller demands of the present state."""
    if given is None:
        return ANY
    match, none_match = given.if_match, given.if_none_match
    any_match, any_none = match == ["*"], none_match == ["*"]
    return Condition(
        if_match=None if match is None or any_match else tuple(match),
        if_match_any=any_match,
        if_none_match=None if none_match is None or any_none else tuple(none_match),
        if_none_match_any=any_none,
    )


def acl_entry(given: AclRow) -> AclEntry:
    """An entry from its row.

    Raises:
        BadMessage: bits that stand for nothing.
    """
    allow, deny = given.allow, given.deny
    if not (0 <= allow <= 7 and 0 <= deny <= 7):  # noqa: PLR2004 - three bits
        raise BadMessage("Rights are bits: 1 read, 2 write, 4 admin.")
    return AclEntry(given.principal, Access(allow), Access(deny))
