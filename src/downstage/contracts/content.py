"""The socket of the content service: calls, rows, what is pushed. HTTP: `contracts.files`.

``/v1/files-socket``, sub-protocol ``downstage.files.v1``. A program shows
``Authorization: Bearer``; a page offers ``downstage.ticket.<ticket>`` as a second sub-protocol.
Messages are binary MessagePack, at most `MAX_FRAME` bytes, each **an array of calls**: as many as
the sender had ready in one turn of its loop, at most `MAX_CALLS`.

* to the server: ``[id, op, args]``; `id` is a positive integer of the client's choice, unused while
  its call runs; `args` an array in the order of the table below, whose rest may be left out
* from the server: ``[id, status, body]``; `status` as in HTTP: below 400 the call succeeded and the
  body is as below, else it is ``[code, detail, context]`` (`Failure`)
* from the server, of what a call opened: ``[id, kind, body]`` with `kind` a string, under the id of
  that call, until ``[id, "end", Failure | nil]`` or the call ``close`` with that id

Answers come in the order in which they are ready. A text message closes the socket with 1003, bytes
that are no such array with 1007 and reason ``bad-message``. A slow reader is cut off (1013,
``slow-reader``) once `MAX_UNSENT` bytes wait.

================  ========================================  ==============================
op                args                                      body
================  ========================================  ==============================
hello             versions [int], resume ""                 `Welcome`
ping                                                        ns of the server
stat              path, checkpoint 0, deleted false         Row
stat_many         [[path, checkpoint]]                      [[status, Row | Failure]]
list              path, after "", limit 1000, recursive     [[Row], next, seq]
                  false, deleted false
read              path, checkpoint 0, start 0, length -1    [Row, bytes]
write             path, bytes, Conditions nil, message "",  Row
                  parents true
create_folder     path, parents false                       Row
copy              source, target, checkpoint 0, overwrite   Row
                  false, only nil, Conditions nil,
                  message ""
move              source, target, overwrite false, only     Row
                  nil, Conditions nil, message ""
delete            path, recursive true, Conditions nil      nil
undelete          path                                      Row
obliterate        path, checkpoints true                    nil
checkpoint        path, comment, force false                VersionRow
checkpoints       path                                      [VersionRow]
versions          path                                      [VersionRow]
restore           path, checkpoint, message ""              Row
properties        path                                      {str: str}
patch_properties  path, put {}, remove [], Conditions nil   nil
lock              path, lease_s 0 (the setting's), etag     LockRow
                  "", note ""
renew_lock        path, token, lease_s 0                    LockRow
unlock            path, token "", force false               nil
locks             path, below false                         [LockRow]
acl               path                                      [AclRow]
set_acl           path, [AclRow]                            nil
explain           path, principal                           [GrantRow]
usage             path                                      UsageRow
set_quota         path, bytes nil, nodes nil                UsageRow
mount             path, target, writable false              Row; `delete` takes it away
people                                                      [[[user, [group]]], [group]]
subscribe         path, scope, since nil                    seq; then "event" EventRow
join              path, hello b""                           member id; then "message" [kind,
                                                            from, bytes, name]
send              id of the join, bytes                     nil
close             id of the call                            nil
link              path, checkpoint 0, lifetime_s 0          [url, expires_at]
================  ========================================  ==============================

Live layers add ``live.*`` (see `downstage.content.live`). An event of kind ``relist`` says that
some were lost: list again; its `seq` is where to go on.

Locks belong to the connection. After it breaks they live on for the grace of the settings; a new
socket takes them over by ``hello`` with the `resume` of the old one's `Welcome`.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "CONTENT_CHANGED",
    "MAX_CALLS",
    "MAX_FRAME",
    "MAX_INLINE",
    "MAX_UNSENT",
    "SOCKET_PROTOCOL",
    "TICKET_PREFIX",
    "AclRow",
    "Call",
    "Conditions",
    "EventRow",
    "Failure",
    "GrantRow",
    "LockRow",
    "Row",
    "UsageRow",
    "VersionRow",
    "Welcome",
]

SOCKET_PROTOCOL = "downstage.files.v1"
TICKET_PREFIX = "downstage.ticket."
CONTENT_CHANGED = "content.changed"
"""Bus subject; payload ``{"tenant": str, "seq": int}``: a hint, read events for what it was."""
MAX_FRAME = 4 * 1024 * 1024
"""Bytes of one socket message."""
MAX_CALLS = 16_384
"""Calls of one socket message."""
MAX_INLINE = 1024 * 1024
"""Bytes that `read` and `write` on the socket carry; more goes by HTTP."""
MAX_UNSENT = 16 * 1024 * 1024
"""Bytes that wait for a slow reader of the socket before it is cut off."""


class Row(msgspec.Struct, array_like=True, frozen=True):
    """An entry (`downstage.content.model.Entry`); times are nanoseconds since the epoch."""

    id: int
    path: str
    kind: str
    size: int
    hash: str
    etag: str
    version: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str
    access: int
    flags: int
    seq: int
    comment: str = ""
    checkpoint: int = 0
    locked_by: str = ""
    lock_expires_at: int = 0
    deleted_at: int = 0
    deleted_by: str = ""
    link: str = ""


class VersionRow(msgspec.Struct, array_like=True, frozen=True):
    """One content that a file has had; `checkpoint` 0: not one."""

    n: int
    checkpoint: int
    hash: str
    size: int
    by: str
    at: int
    comment: str = ""


class LockRow(msgspec.Struct, array_like=True, frozen=True):
    """A lock; `token` is empty where it is somebody else's."""

    path: str
    token: str
    owner: str
    subject: str
    client_id: str
    etag: str
    acquired_at: int
    expires_at: int
    note: str = ""


class AclRow(msgspec.Struct, array_like=True, frozen=True):
    """What a principal may (bits: 1 read, 2 write, 4 admin) and may not."""

    principal: str
    """``user:<subject>``, ``group:<name>`` or ``everyone``."""
    allow: int
    deny: int = 0


class GrantRow(msgspec.Struct, array_like=True, frozen=True):
    """Where a right comes from."""

    path: str
    principal: str
    allow: int
    deny: int = 0


class UsageRow(msgspec.Struct, array_like=True, frozen=True):
    """What a subtree holds and may hold."""

    bytes: int
    nodes: int
    max_bytes: int | None = None
    max_nodes: int | None = None


class EventRow(msgspec.Struct, array_like=True, frozen=True):
    """Something that happened; `entry` as it is after it, nil where it is gone."""

    seq: int
    kind: str
    path: str
    old_path: str = ""
    entry: Row | None = None
    by: str = ""
    at: int = 0
    node_id: int = 0


class Conditions(msgspec.Struct, array_like=True, frozen=True):
    """What must hold for a change; etags without quotes."""

    if_match: list[str] | None = None
    """One of these is the present etag; ``["*"]``: it exists."""
    if_none_match: list[str] | None = None
    """None of these is; ``["*"]``: it does not exist."""


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """Why a call failed: `code` and `context` as in a problem object."""

    code: str
    detail: str
    context: dict[str, Any] = {}


class Call(msgspec.Struct, array_like=True, frozen=True):
    """One call on the socket; `args` are decoded by its op."""

    id: int
    op: str
    args: msgspec.Raw = msgspec.Raw(b"\x90")


class Welcome(msgspec.Struct, array_like=True, frozen=True):
    """Answer to ``hello``."""

    version: int
    client_id: str
    """Owns this connection's locks."""
    resume: str
    """Secret by which a later socket becomes the same client."""
    seq: int
    subject: str
    name: str
    access: int
    """What the token allows at most."""
    server: str = ""
    ops: list[str] = []
    """Ops that this server knows."""
    lock_lease_s: float = 0.0
