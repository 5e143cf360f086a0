"""What the content service speaks of: entries, versions, locks, rights, events. Data alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Literal

import msgspec

__all__ = [
    "ANY",
    "Access",
    "AclEntry",
    "Caller",
    "Condition",
    "Entry",
    "Event",
    "EventKind",
    "Family",
    "Flags",
    "Grant",
    "Kind",
    "Lock",
    "Page",
    "Reach",
    "Scope",
    "Usage",
    "Version",
]

Kind = Literal["folder", "file", "channel", "mount"]

Scope = Literal["node", "list", "tree"]
"""What a subscription watches: the thing itself, a folder's own children, everything below."""

EventKind = Literal[
    "created",
    "updated",
    "deleted",
    "undeleted",
    "obliterated",
    "metadata",
    "locked",
    "unlocked",
    "renamed",
    "acl",
    "checkpoint",
    "relist",
]
"""``renamed`` names the old path; ``relist``: events were lost to this subscriber, list again."""


class Access(IntFlag):
    """Rights; the values of the client library."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 4


class Flags(IntFlag):
    """What a thing is and can do; the values of the client library's ``ItemFlags``."""

    NONE = 0
    READABLE_FILE = 1
    WRITEABLE_FILE = 2
    CAN_HAVE_CHILDREN = 4
    DOES_NOT_HAVE_CHILDREN = 8
    IS_MOUNT = 16
    IS_INSIDE_MOUNT = 32
    CAN_LIVE_UPDATE = 64
    IS_OMNI_OBJECT = 128
    IS_CHANNEL = 256
    IS_CHECKPOINTED = 512
    IS_DELETED = 1024


@dataclass(frozen=True, slots=True)
class Reach:
    """A bound on what a token may touch, whatever its owner may: a path, and all below it."""

    path: str
    access: Access


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the rules of content see it."""

    subject: str
    """Stable id of the person; what owns, and what ACLs name."""
    name: str
    """For eyes."""
    tenant: str = "main"
    groups: frozenset[str] = field(default_factory=frozenset[str])
    may: Access = Access.READ | Access.WRITE
    """What the token's scopes allow at most; ADMIN there means every right everywhere."""
    reach: tuple[Reach, ...] | None = None
    """Bounds of a token for an instance; None: no bound."""
    client_id: str = ""
    """The connection or session that owns locks; ends with it. Empty: the person."""
    lock_tokens: frozenset[str] = field(default_factory=frozenset[str])
    """Locks of the caller that the request names by their tokens, whatever client took them."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold for a change to be made, else `VersionMismatch`."""

    if_match: tuple[str, ...] | None = None
    """One of these etags is the present one."""
    if_match_any: bool = False
    """It exists (``If-Match: *``)."""
    if_none_match: tuple[str, ...] | None = None
    """None of these etags is the present one."""
    if_none_match_any: bool = False
    """It does not exist (``If-None-Match: *``)."""


ANY = Condition()


@dataclass(frozen=True, slots=True)
class Family:
    """Properties that change together: *values* in place of all that begin so."""

    beginnings: tuple[str, ...]
    values: Mapping[str, str]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One thing in the tree as its reader sees it; times are nanoseconds since the epoch.

    A listing makes a thousand of them: a struct costs a tenth of a frozen dataclass. Copies
    with a change come from `msgspec.structs.replace`.
    """

    id: int
    path: str
    """Absolute, without a slash at the end."""
    kind: Kind
    size: int
    hash: str
    """BLAKE3 of a file's bytes, hexadecimal; empty for everything else."""
    etag: str
    version: int
    """Counts the contents that a file has had."""
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str
    access: Access
    flags: Flags
    seq: int
    """Of the event that changed it last."""
    comment: str = ""
    checkpoint: int = 0
    """Number of the checkpoint that this is; 0: the present content."""
    locked_by: str = ""
    lock_expires_at: int = 0
    deleted_at: int = 0
    deleted_by: str = ""
    link: str = ""
    """Of a mount: what it shows; to who has the right ADMIN there alone."""

    @property
    def name(self) -> str:
        """The last part of the path; empty for the root."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing."""

    entries: list[Entry]
    next: str
    """Give it as `after` for the next page; empty: this was the last."""
    seq: int
    """Events up to this one are in the listing; subscribe from here."""


@dataclass(frozen=True, slots=True)
class Version:
    """One content that a file has had."""

    n: int
    checkpoint: int
    """Number as in ``file?&N``; 0: not a checkpoint."""
    hash: str
    size: int
    by: str
    at: int
    comment: str


@dataclass(frozen=True, slots=True)
class Lock:
    """Who alone may write, and until when."""

    path: str
    token: str
    owner: str
    subject: str
    client_id: str
    etag: str
    acquired_at: int
    expires_at: int
    note: str = ""
    """What its taker wrote down with it."""


@dataclass(frozen=True, slots=True)
class AclEntry:
    """What one user or group may do at a node and below, until a nearer entry says otherwise."""

    principal: str
    """``user:<subject>``, ``group:<name>`` or ``everyone``."""
    allow: Access
    deny: Access = Access.NONE


@dataclass(frozen=True, slots=True)
class Grant:
    """Where a right comes from."""

    path: str
    principal: str
    allow: Access
    deny: Access


@dataclass(frozen=True, slots=True)
class Usage:
    """What a subtree holds, and may hold (None: no bound)."""

    bytes: int
    nodes: int
    max_bytes: int | None
    max_nodes: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in one order for all."""

    seq: int
    kind: EventKind
    path: str
    old_path: str = ""
    entry: Entry | None = None
    """As it is after the event, for this subscriber; None where it is gone."""
    by: str = ""
    at: int = 0
    node_id: int = 0
