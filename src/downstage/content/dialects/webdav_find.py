"""WebDAV's PROPFIND and PROPPATCH."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import anyio.lowlevel

from downstage.content.dialects.webdav_locks import Held
from downstage.content.dialects.webdav_props import (
    LIVE,
    QUOTA,
    Facts,
    dead_key,
    known_properties,
    lock_discovery,
    needs_dead,
    propstat,
    response,
)
from downstage.content.dialects.webdav_visit import Refused, Visit
from downstage.content.dialects.webdav_xml import (
    CLOSE,
    DAV,
    MAX_XML,
    OPEN,
    Ask,
    Change,
    element,
    multistatus,
    read_propertyupdate,
    read_propfind,
)
from downstage.content.model import Entry, Page

__all__ = ["XML_TYPE", "find", "patch"]

AT_ONCE = 32
"""Things that one piece of an answer tells of: each may have 64 KiB of properties."""
XML_TYPE = 'application/xml; charset="utf-8"'
LOCKS = f"{DAV}lockdiscovery"


@dataclass(frozen=True, slots=True)
class _Search:
    """What one PROPFIND tells, beside the things themselves."""

    visit: Visit
    ask: Ask
    locks: list[Held]
    """All that may cover one of the things."""

    async def facts(self, entry: Entry) -> Facts:
        visit, ask = self.visit, self.ask
        dead = dict[str, str]()
        if needs_dead(ask):
            dead = await known_properties(visit.content, visit.caller, entry.path)
        usage = None
        if entry.kind == "folder" and QUOTA.intersection(ask.names):
            usage = await visit.content.usage(visit.caller, entry.path)
        covering = [held for held in self.locks if held.covers(entry.path)]
        discovery = lock_discovery(covering, visit.now(), visit.prefix)
        return Facts(entry, dead, discovery, usage)

    async def tell(self, entries: list[Entry]) -> bytes:
        told: list[Element] = []
        for entry in entries:
            await anyio.lowlevel.checkpoint()  # others have their turn: this is work of ours alone
            facts = await self.facts(entry)
            href = self.visit.href(entry.path, folder=facts.is_folder)
            told.append(response(href, self.ask, facts))
        return multistatus(told)


async def find(visit: Visit) -> None:
    """PROPFIND: properties of a thing, and with Depth 1 of what is in it."""
    depth = visit.depth()
    ask = read_propfind(await visit.exchange.read(MAX_XML))
    if depth == "infinity":
        raise Refused(403, "propfind-finite-depth")
    top = await visit.content.stat(visit.caller, visit.path)
    locks = list[Held]()
    if ask.kind == "all" or LOCKS in ask.names:
        locks = await visit.locks.covering(visit.caller, visit.path)
        if depth == "1":
            below = await visit.locks.below(visit.caller, visit.path)
            locks += [held for held in below if held.path != visit.path]
    search = _Search(visit, ask, locks)
    page = None
    if depth == "1" and top.kind != "file":
        page = await visit.content.list(visit.caller, visit.path)
    await visit.exchange.stream(207, {"content-type": XML_TYPE}, _pieces(search, top, page))


async def _pieces(search: _Search, top: Entry, page: Page | None) -> AsyncGenerator[bytes]:
    """The answer, page by page: a folder may hold more than fits into memory."""
    yield OPEN + await search.tell([top])
    visit = search.visit
    while page is not None:
        for start in range(0, len(page.entries), AT_ONCE):
            yield await search.tell(page.entries[start : start + AT_ONCE])
        if not page.next:
            break
        page = await visit.content.list(visit.caller, visit.path, after=page.next)
    yield CLOSE


async def patch(visit: Visit) -> None:
    """PROPPATCH: all changes are made, or none."""
    changes = read_propertyupdate(await visit.exchange.read(MAX_XML))
    entry = await visit.content.stat(visit.caller, visit.path)
    caller = await visit.actor()
    names = list(dict.fromkeys(change.name for change in changes))
    guarded = [name for name in names if name in LIVE]
    if guarded:
        others = [name for name in names if name not in LIVE]
        condition = "cannot-modify-protected-property"
        stats = [propstat(403, map(element, guarded), condition)]
        if others:
            stats.append(propstat(424, map(element, others)))
    else:
        put, remove = _folded(changes)
        await visit.content.patch_properties(
            caller, visit.path, put, remove, condition=visit.condition()
        )
        stats = [propstat(200, map(element, names))]
    href = visit.href(visit.path, folder=entry.kind != "file")
    told = element("response", element("href", text=href), *stats)
    body = OPEN + multistatus([told]) + CLOSE
    await visit.exchange.answer(207, {"content-type": XML_TYPE}, body)


def _folded(changes: list[Change]) -> tuple[dict[str, str], list[str]]:
    """What is put and what is removed in the end: the last step for each name counts."""
    last = {change.name: change.value for change in changes}
    put = {dead_key(name): value for name, value in last.items() if value is not None}
    remove = [dead_key(name) for name, value in last.items() if value is None]
    return put, remove
