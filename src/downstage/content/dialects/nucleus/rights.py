"""Commands on locks and on who may do what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from downstage.content.dialects.nucleus.call import Answer, Call
from downstage.content.dialects.nucleus.paths import as_folder, read_address, wire_path
from downstage.content.dialects.nucleus.status import failure
from downstage.content.dialects.nucleus.views import RIGHTS, rights
from downstage.content.locks import MAX_LEASE_S
from downstage.content.model import Access, AclEntry
from downstage.kernel.errors import InvalidField, PlatformError

__all__ = ["get_acl_resolved", "get_acl_v2", "lock", "set_acl_v2", "unlock"]

EVERYONE = "everyone"
WORDS = {word: bit for bit, word in RIGHTS}
LEAST_LEASE_S, LONGEST_LEASE_S = 1, MAX_LEASE_S
MAX_ENTRIES = 256
NEWEST = "0"


async def lock(call: Call) -> Answer:
    """Let nobody else write, for `duration` seconds."""
    address = read_address(call.get("uri"))
    etag = call.text("etag")
    lease = call.get("duration")
    options: dict[str, Any] = {}
    if isinstance(lease, int | float) and not isinstance(lease, bool) and lease > 0:
        options["lease_s"] = min(max(lease, LEAST_LEASE_S), LONGEST_LEASE_S)
    if etag and etag != NEWEST:
        options["etag"] = etag
    made = await call.content.lock(call.caller, address.path, **options)
    return Answer({"uri": address.path, "etag": made.etag})


async def unlock(call: Call) -> Answer:
    """Give the lock back; with `force` somebody else's, where rights allow it."""
    address = read_address(call.get("uri"))
    await call.content.unlock(call.caller, address.path, force=call.flag("force"))
    return Answer({"uri": address.path})


async def get_acl_v2(call: Call) -> Answer:
    """What is said at each path itself."""
    responses = list[dict[str, Any]]()
    for item in call.items("paths"):
        try:
            address = read_address(item)
            found = await call.content.acl(call.caller, address.path)
            acl = {_name(entry.principal): rights(entry.allow & ~entry.deny) for entry in found}
            responses.append({"status": "OK", "path": address.path, "acl": acl})
        except PlatformError as error:
            responses.append({**failure(error), "path": _path_of(item), "acl": {}})
    return Answer({"responses": responses})


async def get_acl_resolved(call: Call) -> Answer:
    """What the caller may do at each path, and where that comes from."""
    responses = list[dict[str, Any]]()
    for item in call.items("paths"):
        try:
            responses.append(await _resolved(call, item))
        except PlatformError as error:
            responses.append({**failure(error), "path": _path_of(item), "acl": {}})
    return Answer({"responses": responses})


async def _resolved(call: Call, item: object) -> dict[str, Any]:
    """The caller's own rights, and the nearest place that speaks of them."""
    address = read_address(item)
    caller = call.caller
    entry = await call.content.stat(caller, address.path)
    grants = await call.content.explain(caller, address.path, caller.subject, caller.groups)
    level: dict[str, Any] = {"acl": rights(entry.access), "path": wire_path(entry)}
    if grants:
        nearest = max(grants, key=lambda grant: len(grant.path))
        level["path"] = as_folder(nearest.path) if nearest.path != entry.path else level["path"]
        if nearest.principal.startswith("group:"):
            level["group"] = nearest.principal.removeprefix("group:")
    return {"status": "OK", "path": wire_path(entry), "acl": {caller.name: level}}


async def set_acl_v2(call: Call) -> Answer:
    """Say at each path who may do what; what was said there before is replaced."""
    statuses = list[dict[str, Any]]()
    for item in call.objects("paths"):
        try:
            address = read_address(item.get("path_at_version"))
            await call.content.set_acl(call.caller, address.path, _entries(item.get("acl")))
            statuses.append({"status": "OK"})
        except PlatformError as error:
            statuses.append(failure(error))
    return Answer({"pathStatuses": statuses})


def _path_of(item: object) -> str:
    """The path as it was sent, for an answer that must name it whatever is wrong with it."""
    value = cast("dict[str, object]", item).get("path") if isinstance(item, dict) else item
    return value if isinstance(value, str) else ""


def _entries(acl: object) -> Sequence[AclEntry]:
    if not isinstance(acl, dict):
        raise InvalidField("acl", "acl: an object of names and their rights.")
    named = cast("dict[str, object]", acl)
    if len(named) > MAX_ENTRIES:
        raise InvalidField("acl", f"acl: at most {MAX_ENTRIES} names.")
    return [AclEntry(_principal(name), _access(words)) for name, words in named.items()]


def _access(words: object) -> Access:
    known = isinstance(words, list) and all(
        isinstance(word, str) and word in WORDS for word in cast("list[object]", words)
    )
    if not known:
        raise InvalidField("acl", "acl: rights are read, write and admin.")
    access = Access.NONE
    for word in cast("list[str]", words):
        access |= WORDS[word]
    return access


def _name(principal: str) -> str:
    """A user's name alone; groups keep the word before theirs, for both share one space here."""
    return principal.removeprefix("user:")


def _principal(name: str) -> str:
    if name == EVERYONE or name.startswith(("user:", "group:")):
        return name
    return f"user:{name}"
