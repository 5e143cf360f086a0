"""Who may what: explicit entries, the nearest one for each principal, deny wins.

For each principal that a caller is (the user, each group, everyone) the nearest entry up the
parents counts, and only that one. What any of them denies is denied. The root without an entry for
everyone lets everyone read and write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from downstage.content.model import Access, AclEntry, Caller, Grant
from downstage.kernel.errors import Forbidden, InvalidField, NotFound

__all__ = [
    "BY_SCOPES",
    "EVERYONE",
    "Entries",
    "allowed",
    "check_entries",
    "entries_on",
    "forget_orphans",
    "grants",
    "load",
    "nodes_below",
    "refuse",
    "store",
    "within_bounds",
]

EVERYONE = "everyone"
ALL = Access.READ | Access.WRITE | Access.ADMIN
BY_DEFAULT = (Access.READ | Access.WRITE, Access.NONE)
BY_SCOPES = [ALL if may & Access.ADMIN else Access(may) & BY_DEFAULT[0] for may in range(8)]
"""By what a token's scopes allow: what it may where no entries are."""
READ, ADMIN = int(Access.READ), int(Access.ADMIN)
MAX_ENTRIES = 256
"""Of one node."""
MAX_PRINCIPAL = 256

Entries = Mapping[int, Mapping[str, tuple[Access, Access]]]
"""By node, by principal: what is allowed and what is denied there."""


def allowed(entries: Entries, ids: Sequence[int], caller: Caller, path: str) -> Access:
    """What *caller* may at a node.

    Args:
        entries: the explicit entries, at least of the nodes in *ids*.
        ids: from the root down to the node.
        caller: who asks.
        path: of the node, for the bounds of a token.
    """
    if not entries or int(caller.may) & ADMIN:
        return within_bounds(BY_SCOPES[caller.may], caller, path)
    # ADMIN in the token is every right everywhere; that of one folder comes from its entries, and
    # is for tokens that may write.
    bound = caller.may | (Access.ADMIN if caller.may & Access.WRITE else Access.NONE)
    rights = _resolve(entries, ids, _principals(caller.subject, caller.groups))
    return within_bounds(rights & bound, caller, path)


def within_bounds(access: Access, caller: Caller, path: str) -> Access:
    """*access* as far as the caller's token reaches at *path*."""
    if caller.reach is None:
        return access
    bound = Access.NONE
    for reach in caller.reach:
        if reach.path in {"/", path} or path.startswith(reach.path + "/"):
            bound |= reach.access
    return access & bound


def refuse(access: Access, needed: Access, path: str) -> None:
    """Let pass who has all of *needed*.

    Raises:
        NotFound: may not read it: as if it were not there.
        Forbidden: may read it, but not that.
    """
    held = int(access)  # arithmetic on flags takes longer than all the rest
    if not held & READ:
        raise NotFound("There is nothing at this path.", path=path)
    if int(needed) & ~held:
        raise Forbidden("You may not do that here.", path=path, needed=needed.name)


def grants(
    entries: Entries, trail: Sequence[tuple[int, str]], subject: str, groups: Iterable[str]
) -> list[Grant]:
    """The entries that count for a subject at the last of *trail* (ids with paths), nearest first.

    The default of the root is told as an entry of everyone at ``/``.
    """
    told = list[Grant]()
    for principal in _principals(subject, frozenset(groups)):
        for node, path in reversed(trail):
            found = entries.get(node, {}).get(principal)
            if found is not None:
                told.append(Grant(path, principal, *found))
                break
        else:
            if principal == EVERYONE:
                told.append(Grant("/", EVERYONE, *BY_DEFAULT))
    return sorted(told, key=lambda grant: -len(grant.path))


def load(db: sqlite3.Connection) -> dict[int, dict[str, tuple[Access, Access]]]:
    """Every explicit entry."""
    return _gather(db.execute("SELECT node, principal, allow, deny FROM acl"))


def entries_on(
    db: sqlite3.Connection, ids: Sequence[int]
) -> dict[int, dict[str, tuple[Access, Access]]]:
    """The explicit entries of some nodes."""
    marks = ",".join("?" * len(ids))
    return _gather(
        db.execute(f"SELECT node, principal, allow, deny FROM acl WHERE node IN ({marks})", ids)  # noqa: S608 - question marks
    )


def nodes_below(db: sqlite3.Connection, top: int) -> list[int]:
    """The nodes below one that have entries of their own; few have, so up from those."""
    rows = db.execute(
        "WITH RECURSIVE up (own, at) AS (SELECT DISTINCT node, node FROM acl UNION ALL"
        " SELECT own, parent FROM up JOIN node ON node.id = up.at WHERE at <> ?1)"
        " SELECT own FROM up WHERE at = ?1 AND own <> ?1",
        (top,),
    )
    return [node for (node,) in rows]


def forget_orphans(db: sqlite3.Connection) -> None:
    """Drop the entries of what is gone for ever, once no event names it."""
    db.execute(
        "DELETE FROM acl WHERE node NOT IN (SELECT id FROM node)"
        " AND node NOT IN (SELECT node FROM event)"
    )


def store(db: sqlite3.Connection, node: int, entries: Sequence[AclEntry]) -> None:
    """Replace the entries of a node."""
    db.execute("DELETE FROM acl WHERE node = ?", (node,))
    db.executemany(
        "INSERT INTO acl (node, principal, allow, deny) VALUES (?, ?, ?, ?)",
        [(node, entry.principal, int(entry.allow), int(entry.deny)) for entry in entries],
    )


def check_entries(entries: Sequence[AclEntry]) -> None:
    """Refuse what cannot be stored.

    Raises:
        InvalidField: an unknown form of principal, one named twice, or too many.
    """
    if len(entries) > MAX_ENTRIES:
        raise InvalidField("entries", f"at most {MAX_ENTRIES} entries")
    seen = set[str]()
    for entry in entries:
        kind, colon, name = entry.principal.partition(":")
        named = kind in {"user", "group"} and colon and name
        if entry.principal != EVERYONE and not named:
            raise InvalidField("principal", "user:<subject>, group:<name> or everyone")
        if len(entry.principal) > MAX_PRINCIPAL:
            raise InvalidField("principal", f"at most {MAX_PRINCIPAL} characters")
        if entry.principal in seen:
            raise InvalidField("principal", "each principal once", principal=entry.principal)
        seen.add(entry.principal)


def _resolve(entries: Entries, ids: Sequence[int], principals: tuple[str, ...]) -> Access:
    on_the_way = [entries[node] for node in reversed(ids) if node in entries]
    allow, deny = 0, 0
    for principal in principals:
        default = BY_DEFAULT if principal == EVERYONE else (0, 0)
        found = next((here[principal] for here in on_the_way if principal in here), default)
        allow |= found[0]
        deny |= found[1]
    return Access(allow & ~deny)


@lru_cache(maxsize=1024)
def _principals(subject: str, groups: frozenset[str]) -> tuple[str, ...]:
    return (f"user:{subject}", *(f"group:{group}" for group in sorted(groups)), EVERYONE)


def _gather(
    rows: Iterable[tuple[int, str, int, int]],
) -> dict[int, dict[str, tuple[Access, Access]]]:
    found = dict[int, dict[str, tuple[Access, Access]]]()
    for node, principal, allow, deny in rows:
        found.setdefault(node, {})[principal] = (Access(allow), Access(deny))
    return found
