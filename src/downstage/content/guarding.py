"""Locks, rights and bounds as operations: who may set them, what that tells whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from downstage.content import acl, locks, quota, tree
from downstage.content.change import Change
from downstage.content.edit import Edit
from downstage.content.model import Access, AclEntry, Caller, Grant, Lock, Usage
from downstage.content.tree import Trail
from downstage.kernel.errors import Forbidden, InvalidField, Locked, NotFound, WrongType
from downstage.kernel.ids import new_secret, new_uuid

__all__ = [
    "acl_of",
    "expire_locks",
    "explain",
    "lock",
    "locks_at",
    "release_client",
    "renew",
    "set_acl",
    "set_quota",
    "unlock",
    "usage",
]

MAX_NOTE = 16 * 1024


def lock(edit: Edit, path: str, *, lease_s: float, etag: str, shared_note: str) -> Lock:
    """Take the lock of something; of a folder: for all below it. The holder's own is renewed.

    Raises:
        Locked: somebody else holds one there, above or below.
        InvalidField: a lease out of range.
    """
    _check_lease(lease_s)
    if len(shared_note) > MAX_NOTE:
        raise InvalidField("note", f"at most {MAX_NOTE} characters")
    # The lock of the root stops everybody; it is not for who may merely write there.
    trail = edit.find(path, Access.WRITE)
    if len(trail.nodes) == 1:
        edit.require(trail, Access.ADMIN)
    edit.refuse_locked(trail, below=True)
    own = edit.held((trail.node.id,))
    held = locks.Held(
        node=trail.node.id,
        token=own[0].token if own else new_uuid(),
        owner=edit.by,
        subject=edit.caller.subject,
        client=edit.caller.client_id,
        etag=etag or (own[0].etag if own else new_secret(16)),
        note=shared_note,
        acquired_at=own[0].acquired_at if own else edit.change.at,
        expires_at=edit.now.ns + int(lease_s * 1e9),
        expires_mono=edit.now.mono + lease_s,
        boot=edit.now.boot,
    )
    _store(edit, held)
    if not own:
        edit.record("locked", trail, edit.change.next_seq())
    return held.told(trail.path)


def renew(edit: Edit, path: str, token: str, lease_s: float) -> Lock:
    """Prolong a lock, from now on.

    Raises:
        NotFound: it is over, or never was.
        Locked: it is somebody else's.
    """
    _check_lease(lease_s)
    trail = edit.find(path, Access.READ)
    held = _find(edit, trail, token)
    held = replace(
        held,
        expires_at=edit.now.ns + int(lease_s * 1e9),
        expires_mono=edit.now.mono + lease_s,
        boot=edit.now.boot,
    )
    _store(edit, held)
    return held.told(trail.path)


def unlock(edit: Edit, path: str, *, token: str, force: bool) -> None:
    """End a lock: its holder's own, or with *force* anybody's.

    Raises:
        NotFound: there is none.
        Locked: it is somebody else's.
        Forbidden: *force* without the right ADMIN there.
    """
    trail = edit.find(path, Access.ADMIN if force else Access.READ)
    if force:
        if not edit.held((trail.node.id,)):
            raise NotFound("There is no lock here.", path=path)
    else:
        _find(edit, trail, token)
    locks.remove(edit.db, trail.node.id)
    edit.change.stale.add("lock")
    edit.record("unlocked", trail, edit.change.next_seq())


def locks_at(edit: Edit, path: str, *, below: bool) -> list[Lock]:
    """The locks that bear on a place: its own and those above; also those *below*."""
    trail = edit.find(path, Access.READ)
    found = edit.held(trail.ids)
    if below:
        found += [held for held in edit.held_below(trail) if held.node != trail.node.id]
    told = list[Lock]()
    for held in found:
        way = tree.trail_of(edit.db, held.node)
        if way is not None and edit.access(way) & Access.READ:
            told.append(held.told(way.path))
    return told


def expire_locks(edit: Edit) -> None:
    """Remove the locks whose lease is over, and tell."""
    for held in locks.expire(edit.db, edit.now):
        edit.change.stale.add("lock")
        way = tree.trail_of(edit.db, held.node)
        if way is not None and not way.is_deleted:
            edit.record("unlocked", way, edit.change.next_seq())


def release_client(change: Change, client: str, now: locks.Moment, grace_s: float) -> None:
    """A client is gone: its locks end after a grace."""
    locks.release_client(change.db, client, now, grace_s)
    change.stale.add("lock")


def acl_of(edit: Edit, path: str) -> list[AclEntry]:
    """The entries of one node, not those that it inherits."""
    trail = edit.find(path, Access.READ)
    found = acl.entries_on(edit.db, (trail.node.id,)).get(trail.node.id, {})
    return [AclEntry(principal, *rights) for principal, rights in sorted(found.items())]


def set_acl(edit: Edit, path: str, entries: Sequence[AclEntry]) -> None:
    """Replace the entries of one node; none: all is inherited.

    Raises:
        Forbidden: without the right ADMIN there.
        InvalidField: a principal of an unknown form, or twice.
    """
    acl.check_entries(entries)
    trail = edit.find(path, Access.ADMIN)
    acl.store(edit.db, trail.node.id, entries)
    edit.change.stale.add("acl")
    seq = edit.change.next_seq()
    edit.db.execute("UPDATE node SET seq = ? WHERE id = ?", (seq, trail.node.id))
    edit.record("acl", edit.refreshed(trail), seq)


def explain(edit: Edit, path: str, subject: str, groups: Iterable[str]) -> list[Grant]:
    """Where each right of somebody comes from at a place, nearest first.

    Raises:
        Forbidden: another than oneself, without the right ADMIN there.
    """
    mine = subject == edit.caller.subject
    trail = edit.find(path, Access.READ if mine else Access.ADMIN)
    way = [(node.id, Trail(trail.nodes[:n]).path) for n, node in enumerate(trail.nodes, 1)]
    return acl.grants(acl.entries_on(edit.db, trail.ids), way, subject, groups)


def usage(edit: Edit, path: str) -> Usage:
    """What a folder holds and may hold.

    Raises:
        WrongType: not a folder.
    """
    return quota.usage(edit.db, _folder(edit.find(path, Access.READ)))


def set_quota(edit: Edit, path: str, max_bytes: int | None, max_nodes: int | None) -> None:
    """Bound what a folder may hold; None: no bound of its own.

    Raises:
        Forbidden: the caller is no administrator of the whole service.
        InvalidField: a negative bound.
    """
    for name, bound in (("bytes", max_bytes), ("nodes", max_nodes)):
        if bound is not None and bound < 0:
            raise InvalidField(name, "a bound is not negative")
    trail = edit.find(path, Access.READ)
    # The administrator of a folder is who the quota bounds.
    if not edit.caller.may & Access.ADMIN:
        raise Forbidden("Only an administrator sets quotas.", path=path)
    quota.set_bounds(edit.db, _folder(trail), max_bytes, max_nodes)


def _find(edit: Edit, trail: Trail, token: str) -> locks.Held:
    found = edit.held((trail.node.id,))
    if not found:
        raise NotFound("There is no lock here.", path=trail.path)
    held = found[0]
    if (token and token != held.token) or not _is_own(held, edit.caller, token):
        raise Locked("Somebody else holds this lock.", path=trail.path, owner=held.owner)
    return held


def _is_own(held: locks.Held, caller: Caller, token: str) -> bool:
    """The token proves it too, to who came back over another connection."""
    return locks.is_holder(held, caller) or (bool(token) and held.subject == caller.subject)


def _store(edit: Edit, held: locks.Held) -> None:
    locks.store(edit.db, held)
    edit.change.stale.add("lock")


def _check_lease(lease_s: float) -> None:
    if not 0 < lease_s <= locks.MAX_LEASE_S:
        raise InvalidField("lease_s", f"a lease takes up to {locks.MAX_LEASE_S:.0f} seconds")


def _folder(trail: Trail) -> int:
    if trail.node.kind != "folder":
        raise WrongType("Only folders have quotas.", path=trail.path)
    return trail.node.id
