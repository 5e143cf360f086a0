"""WebDAV's LOCK and UNLOCK."""

from __future__ import annotations

import re

from downstage.content.dialects.webdav_find import XML_TYPE
from downstage.content.dialects.webdav_if import read_if, tokens_of
from downstage.content.dialects.webdav_locks import LEAST_S, LONGEST_S, Held, bare
from downstage.content.dialects.webdav_props import lock_discovery
from downstage.content.dialects.webdav_visit import Refused, Visit, no_parent
from downstage.content.dialects.webdav_xml import MAX_XML, dumps, element, read_lockinfo
from downstage.content.model import Caller, Condition
from downstage.kernel.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    VersionMismatch,
    WrongType,
)

__all__ = ["lock", "unlock"]

USUAL_S = 600
SECONDS = re.compile(r"second-(\d{1,10})", re.ASCII | re.IGNORECASE)


async def lock(visit: Visit) -> None:
    """LOCK: take a lock, also on what is not there yet, or renew one."""
    body = await visit.exchange.read(MAX_XML)
    if not body.strip():
        await _renew(visit)
        return
    ask = read_lockinfo(body)
    depth = visit.depth()
    if depth == "1":
        raise InvalidInput("The Depth of a lock is 0 or infinity.")
    caller = await visit.actor()
    status = 200
    entry = await visit.find(visit.path)
    if entry is None:
        await _make(visit, caller)
        status = 201
    deep = depth == "infinity" and (entry is not None and entry.kind != "file")
    held = await visit.locks.take(
        caller, visit.path, shared=ask.shared, deep=deep, owner=ask.owner, lease_s=_lease(visit)
    )
    await _tell(visit, status, held, {"lock-token": f"<{held.token}>"})


async def _make(visit: Visit, caller: Caller) -> None:
    """A lock on nothing makes an empty file, as the standard says."""
    if visit.is_folder:
        raise NotFound("There is no such folder.")
    condition = Condition(if_none_match_any=True)
    try:
        await visit.content.write(caller, visit.path, b"", condition=condition, parents=False)
    except (NotFound, WrongType) as error:
        no_parent(error)


async def _renew(visit: Visit) -> None:
    tokens = tokens_of(read_if(visit.exchange.header("if")))
    if len(tokens) != 1:
        raise InvalidInput("A LOCK without a body renews the one lock that its If header names.")
    held = await _held(visit, next(iter(tokens)))
    if held is None:
        raise VersionMismatch("There is no such lock here.")
    held = await visit.locks.renew(visit.caller, held, _lease(visit))
    await _tell(visit, 200, held, {})


async def _held(visit: Visit, token: str) -> Held | None:
    for held in await visit.locks.covering(visit.caller, visit.path):
        if held.token == token:
            if held.subject != visit.caller.subject:
                raise Forbidden("The lock is somebody else's.")
            return held
    return None


async def _tell(visit: Visit, status: int, held: Held, headers: dict[str, str]) -> None:
    discovery = lock_discovery([held], visit.now(), visit.prefix)
    body = dumps(element("prop", discovery))
    await visit.exchange.answer(status, {"content-type": XML_TYPE, **headers}, body)


def _lease(visit: Visit) -> int:
    """Seconds, of those the Timeout header would like the first that we understand."""
    for wish in visit.exchange.header("timeout").split(","):
        if wish.strip().lower() == "infinite":
            return LONGEST_S
        found = SECONDS.fullmatch(wish.strip())
        if found is not None:
            return max(LEAST_S, min(LONGEST_S, int(found[1])))
    return USUAL_S


async def unlock(visit: Visit) -> None:
    """UNLOCK: end the lock whose token is told."""
    token = bare(visit.exchange.header("lock-token"))
    if not token:
        raise InvalidInput("UNLOCK needs a Lock-Token.")
    held = await _held(visit, token)
    if held is None:
        raise Refused(409, "lock-token-matches-request-uri")
    await visit.locks.release(visit.caller, held)
    await visit.exchange.answer(204)
