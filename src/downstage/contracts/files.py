"""The routes of `/v1/files`. The socket: `contracts.content`.

A path follows ``/v1/files`` percent-encoded segment by segment; ``%2F`` in a segment is
refused. ``?checkpoint=N`` reads one. A file's ETag is ``"<BLAKE3 in hexadecimal>"``. Every answer
has ``Downstage-Content: 1``, by which a client knows this service. Errors are problem objects.

==========  ===========================  ====================================================
verb        path                         body → answer
==========  ===========================  ====================================================
GET HEAD    /v1/files/{path}             file: its bytes (Range, If-Range, If-Match,
                                         If-None-Match); folder: `FolderPage` (`limit`, `after`,
                                         `recursive`, `deleted`). `?stat` → `FileEntry`
PUT         /v1/files/{path}             bytes → `FileEntry`, 201 or 200; If-Match,
                                         ``If-None-Match: *``; ``Downstage-Message`` (escaped)
                                         makes a checkpoint; ``Downstage-Parents: 0`` makes no
                                         folders; ``Downstage-Lock`` as on the socket
DELETE      /v1/files/{path}             → 204; If-Match; `?recursive=0`: an empty one alone
POST        /v1/files-copy               `CopyRequest` → `FileEntry`
POST        /v1/files-move               `MoveRequest` → `FileEntry`
POST        /v1/files-folders            `FolderRequest` → `FileEntry` 201
POST        /v1/files-undelete           `PathRequest` → `FileEntry`
POST        /v1/files-obliterate         `ObliterateRequest` → 204
GET POST    /v1/files-checkpoints        `path` → `VersionList` / `CheckpointRequest` →
                                         `FileVersion`
GET         /v1/files-versions           `path` → `VersionList`
POST        /v1/files-restore            `RestoreRequest` → `FileEntry`
GET PATCH   /v1/files-properties         `path` → `PropertyMap` / `PropertyPatch` → `PropertyMap`
GET POST    /v1/files-locks              `path`, `below` → `LockList` / `LockRequest` → `FileLock`
POST        /v1/files-locks/renew        `LockRenewal` → `FileLock`
POST        /v1/files-locks/release      `LockRelease` → 204
GET PUT     /v1/files-acl                `path` → `AclList` / `AclList` → `AclList`
GET         /v1/files-acl/explain        `path`, `principal` → `GrantList`
GET PUT     /v1/files-usage              `path` → `UsageView` / `QuotaRequest` → `UsageView`
POST        /v1/files-mounts             `MountRequest` → `FileEntry` 201; DELETE of the file itself
                                         takes it away
GET         /v1/files-live               `path` → `PresenceList`: who edits it live
GET         /v1/files-thumbnails         `path`, `checkpoint` → PNG, a small picture of a stage
POST        /v1/files-links              `LinkRequest` → `FileLink`: a signed URL on the content
                                         origin, for browsers
POST        /v1/files-tickets            → `FilesTicket`: opens one socket, for browsers
GET         /v1/files-people             → `PeopleView`: users and groups, for rights
GET         /v1/files-events             SSE; `path`, `scope`, `since` or Last-Event-ID; ids = seq
POST        /v1/files-uploads            tus 1.0: Upload-Length, Upload-Metadata (`path`,
                                         `message`) → 201 Location
HEAD        /v1/files-uploads/{id}       tus 1.0: → Upload-Offset
PATCH       /v1/files-uploads/{id}       tus 1.0: Upload-Offset, bytes → 204; the answer to the last
                                         of them has the file's ETag
DELETE      /v1/files-uploads/{id}       tus 1.0: drops it
WS          /v1/files-socket             see below
==========  ===========================  ====================================================
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from downstage.contracts.wire import Answer, Request

__all__ = [
    "CAPABILITY",
    "AclEntryView",
    "AclList",
    "CheckpointRequest",
    "CopyRequest",
    "FileEntry",
    "FileLink",
    "FileLock",
    "FileVersion",
    "FilesTicket",
    "FolderPage",
    "FolderRequest",
    "GrantList",
    "GrantView",
    "LinkRequest",
    "LockList",
    "LockRelease",
    "LockRenewal",
    "LockRequest",
    "MountRequest",
    "MoveRequest",
    "ObliterateRequest",
    "PathRequest",
    "PeopleView",
    "PersonView",
    "PresenceList",
    "PresenceView",
    "PropertyMap",
    "PropertyPatch",
    "QuotaRequest",
    "RestoreRequest",
    "UsageView",
    "VersionList",
]

CAPABILITY = "downstage-content"
"""Header of every answer of `/v1/files`; its value is the version, 1."""

MAX_PATH = 4096
"""Characters of a path as text; the service itself allows 4 KiB of UTF-8."""


class FileEntry(Answer):
    """One thing in the tree; times are nanoseconds since the epoch."""

    id: int
    path: str
    name: str
    kind: Literal["folder", "file", "channel", "mount"]
    size: int
    hash: str
    etag: str
    version: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str
    access: int
    """Bits of what the caller may: 1 read, 2 write, 4 admin."""
    flags: int
    seq: int
    comment: str = ""
    checkpoint: int = 0
    locked_by: str = ""
    lock_expires_at: int = 0
    deleted_at: int = 0
    deleted_by: str = ""
    link: str = ""


class FolderPage(Answer):
    """Part of a listing, by name."""

    entries: list[FileEntry]
    next: str
    """Give it as `after`; empty: this was the last."""
    seq: int
    """Events up to this one are in it."""


class FileVersion(Answer):
    """One content that a file has had."""

    n: int
    checkpoint: int
    hash: str
    size: int
    by: str
    at: int
    comment: str


class VersionList(Answer):
    """Newest first."""

    items: list[FileVersion]


class FileLock(Answer):
    """Who alone may write, and until when (nanoseconds); `token` only for who holds it."""

    path: str
    token: str
    owner: str
    subject: str
    client_id: str
    etag: str
    acquired_at: int
    expires_at: int
    note: str = ""


class LockList(Answer):
    """Locks at a path, or below it."""

    items: list[FileLock]


class AclEntryView(Request):
    """What a principal may (bits: 1 read, 2 write, 4 admin) and may not."""

    principal: str = Field(max_length=256)
    allow: int = Field(ge=0, le=7)
    deny: int = Field(default=0, ge=0, le=7)


class AclList(Request):
    """The explicit entries at one path."""

    path: str = Field(max_length=MAX_PATH)
    items: list[AclEntryView] = Field(max_length=1024)


class GrantView(Answer):
    """Where a right comes from."""

    path: str
    principal: str
    allow: int
    deny: int


class GrantList(Answer):
    """In the order in which they count."""

    items: list[GrantView]


class UsageView(Answer):
    """What a subtree holds, and may hold (null: no bound)."""

    bytes: int
    nodes: int
    max_bytes: int | None
    max_nodes: int | None


class QuotaRequest(Request):
    """Bound what a folder may hold."""

    path: str = Field(max_length=MAX_PATH)
    max_bytes: int | None = Field(default=None, ge=0, le=2**62)
    max_nodes: int | None = Field(default=None, ge=0, le=2**62)


class PathRequest(Request):
    """One path."""

    path: str = Field(max_length=MAX_PATH)


class FolderRequest(PathRequest):
    """Make a folder."""

    parents: bool = False


class ObliterateRequest(PathRequest):
    """Remove for good."""

    checkpoints: bool = True


class CheckpointRequest(PathRequest):
    """Keep the present content under a number."""

    comment: str = Field(max_length=4096)
    force: bool = False


class RestoreRequest(PathRequest):
    """Make a checkpoint the present content again."""

    checkpoint: int = Field(ge=1, le=2**53)
    message: str = Field(default="", max_length=4096)


class MoveRequest(Request):
    """Move a file or folder."""

    source: str = Field(max_length=MAX_PATH)
    target: str = Field(max_length=MAX_PATH)
    overwrite: bool = False
    only: Literal["file", "folder"] | None = None
    message: str = Field(default="", max_length=4096)


class CopyRequest(MoveRequest):
    """Copy a file, one of its checkpoints, or a folder."""

    checkpoint: int = Field(default=0, ge=0, le=2**53)


class PropertyMap(Answer):
    """Properties of one thing."""

    properties: dict[str, str]


class PropertyPatch(PathRequest):
    """Set and remove properties."""

    put: dict[str, str] = Field(default_factory=dict, max_length=256)
    remove: list[str] = Field(default_factory=list, max_length=256)


class LockRequest(PathRequest):
    """Lock a file for the person who asks."""

    lease_s: float | None = Field(default=None, gt=0, le=86400)
    etag: str = Field(default="", max_length=128)
    note: str = Field(default="", max_length=1024)


class LockRenewal(PathRequest):
    """Hold a lock for longer."""

    token: str = Field(max_length=256)
    lease_s: float | None = Field(default=None, gt=0, le=86400)


class LockRelease(PathRequest):
    """Give a lock back, or break somebody's."""

    token: str = Field(default="", max_length=256)
    force: bool = False


class MountRequest(PathRequest):
    """Show a place elsewhere at a path: a folder of the server, a web server, a bucket."""

    target: str = Field(max_length=4096)
    writable: bool = False
    """Whether it may be written through the tree."""


class LinkRequest(PathRequest):
    """Ask for a signed URL."""

    checkpoint: int = Field(default=0, ge=0, le=2**53)
    lifetime_s: float | None = Field(default=None, gt=0, le=7 * 86400)


class FileLink(Answer):
    """Opens one file for whoever has it, until it expires (seconds since the epoch)."""

    url: str
    expires_at: int


class FilesTicket(Answer):
    """Opens one socket, once, within a minute."""

    ticket: str
    protocol: str
    url: str


class PresenceView(Answer):
    """Somebody who has a file open live, since when (nanoseconds)."""

    name: str
    since: int


class PresenceList(Answer):
    """Whoever came first before all others."""

    items: list[PresenceView]


class PersonView(Answer):
    """A user as rights name them."""

    subject: str
    name: str
    groups: list[str]


class PeopleView(Answer):
    """Everybody whom rights may name."""

    users: list[PersonView]
    groups: list[str]
