"""Properties as WebDAV tells them: those that follow from a thing, and those that people set."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree.ElementTree import Element

from downstage.content.dialects.webdav_locks import Held
from downstage.content.dialects.webdav_xml import DAV, Ask, element, parse
from downstage.content.model import Caller, Entry, Usage
from downstage.kernel.errors import InvalidInput, NotFound, NotSupported, WrongType

if TYPE_CHECKING:
    from downstage.content.service import Content

__all__ = [
    "CONTENT_TYPE",
    "LIVE",
    "Facts",
    "content_type",
    "dead_key",
    "dead_of",
    "href_of",
    "known_properties",
    "lock_discovery",
    "needs_dead",
    "propstat",
    "response",
]

CONTENT_TYPE = "content-type"
"""Our property that holds a media type, where a client told one."""
DEAD = "dav:"
"""How our properties begin that WebDAV's clients set; the name in braces form follows."""
FOLDER_TYPE = "httpd/unix-directory"
MEDIA_TYPE = re.compile(r"[\x20-\x7e]{1,255}")
"""What goes into a header and into XML as it is: other dialects let any text be a property."""
STATUS = {
    200: "OK",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    423: "Locked",
    424: "Failed Dependency",
    507: "Insufficient Storage",
}


class Facts:
    """What the properties of one thing are made of.

    Args:
        entry: the thing.
        dead: our properties of it.
        locks: `lockdiscovery`, where it was asked for.
        usage: of a folder, where it was asked for.
    """

    __slots__ = ("dead", "entry", "locks", "usage")

    def __init__(
        self,
        entry: Entry,
        dead: Mapping[str, str] | None = None,
        locks: Element | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.entry = entry
        self.dead = dead or {}
        self.locks = locks
        self.usage = usage

    @property
    def is_folder(self) -> bool:
        """Whether things can lie in it."""
        return self.entry.kind in ("folder", "mount")


def content_type(name: str, properties: Mapping[str, str]) -> str:
    """Media type of a file."""
    known = properties.get(CONTENT_TYPE, "")
    if MEDIA_TYPE.fullmatch(known):
        return known
    return mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"


async def known_properties(content: Content, caller: Caller, path: str) -> dict[str, str]:
    """Our properties of what is at *path*; none inside of a mount, or where it went away."""
    try:
        return await content.properties(caller, path)
    except (NotFound, NotSupported, WrongType):
        return {}


def _text(name: str, value: str | None) -> Element | None:
    return None if value is None else element(name, text=value)


def _resource_type(facts: Facts) -> Element:
    kinds = [element("collection")] if facts.is_folder else []
    return element("resourcetype", *kinds)


def _length(facts: Facts) -> Element | None:
    return None if facts.is_folder else element("getcontentlength", text=str(facts.entry.size))


def _type(facts: Facts) -> Element:
    kind = FOLDER_TYPE if facts.is_folder else content_type(facts.entry.name, facts.dead)
    return element("getcontenttype", text=kind)


def _created(facts: Facts) -> Element:
    at = datetime.fromtimestamp(facts.entry.created_at // 10**9, UTC)
    return element("creationdate", text=at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _modified(facts: Facts) -> Element:
    at = formatdate(facts.entry.modified_at // 10**9, usegmt=True)
    return element("getlastmodified", text=at)


def _supported(facts: Facts) -> Element:
    del facts
    entries = [
        element(
            "lockentry",
            element("lockscope", element(scope)),
            element("locktype", element("write")),
        )
        for scope in ("exclusive", "shared")
    ]
    return element("supportedlock", *entries)


def _used(facts: Facts) -> Element | None:
    return _text("quota-used-bytes", None if facts.usage is None else str(facts.usage.bytes))


def _available(facts: Facts) -> Element | None:
    usage = facts.usage
    if usage is None or usage.max_bytes is None:
        return None
    return element("quota-available-bytes", text=str(max(0, usage.max_bytes - usage.bytes)))


LIVE: Mapping[str, Callable[[Facts], Element | None]] = {
    f"{DAV}resourcetype": _resource_type,
    f"{DAV}displayname": lambda facts: element("displayname", text=facts.entry.name),
    f"{DAV}getcontentlength": _length,
    f"{DAV}getcontenttype": _type,
    f"{DAV}getetag": lambda facts: element("getetag", text=f'"{facts.entry.etag}"'),
    f"{DAV}getlastmodified": _modified,
    f"{DAV}creationdate": _created,
    f"{DAV}supportedlock": _supported,
    f"{DAV}lockdiscovery": lambda facts: facts.locks,
    f"{DAV}quota-used-bytes": _used,
    f"{DAV}quota-available-bytes": _available,
}
"""Properties that follow from the thing itself; None: this thing has none."""

QUOTA = frozenset({f"{DAV}quota-used-bytes", f"{DAV}quota-available-bytes"})
"""Costs a look at the folder, so these come only where they are asked for by name."""


def dead_key(name: str) -> str:
    """Name of our property that holds the property *name* of WebDAV."""
    return DEAD + name


def dead_of(properties: Mapping[str, str]) -> dict[str, str]:
    """XML of the properties that WebDAV's clients have set, by name."""
    return {key[len(DEAD) :]: xml for key, xml in properties.items() if key.startswith(DEAD)}


def needs_dead(ask: Ask) -> bool:
    """Whether properties that people set must be read for *ask*."""
    asked = set(ask.names) - LIVE.keys()
    return ask.kind != "some" or bool(asked) or f"{DAV}getcontenttype" in ask.names


def href_of(prefix: str, path: str, *, folder: bool) -> str:
    """Where *path* is reached; a folder's ends with a slash."""
    found = prefix + quote(path, safe="/~")
    return found + "/" if folder and not found.endswith("/") else found


def propstat(status: int, props: Iterable[Element], condition: str = "") -> Element:
    """Properties that share a *status*, and the *condition* that did not hold."""
    line = element("status", text=f"HTTP/1.1 {status} {STATUS[status]}")
    found = element("propstat", element("prop", *props), line)
    if condition:
        found.append(element("error", element(condition)))
    return found


def response(href: str, ask: Ask, facts: Facts) -> Element:
    """What is told of one thing."""
    dead = dead_of(facts.dead)
    found: list[Element] = []
    missing: list[Element] = []
    for name in _names(ask, dead):
        prop = _property(name, dead, facts)
        if prop is None:
            if ask.kind == "some":
                missing.append(element(name))
        else:
            found.append(element(name) if ask.kind == "names" else prop)
    stats = [propstat(200, found)] if found or not missing else []
    if missing:
        stats.append(propstat(404, missing))
    return element("response", element("href", text=href), *stats)


def _names(ask: Ask, dead: Mapping[str, str]) -> Iterable[str]:
    if ask.kind == "some":
        return ask.names
    usual = [name for name in LIVE if name not in QUOTA]
    return dict.fromkeys([*usual, *dead, *ask.names])


def _property(name: str, dead: Mapping[str, str], facts: Facts) -> Element | None:
    make = LIVE.get(name)
    if make is not None:
        return make(facts)
    xml = dead.get(name)
    try:
        return None if xml is None else parse(xml.encode(), name)
    except InvalidInput:  # another dialect put it there
        return None


def lock_discovery(locks: Iterable[Held], now: int, prefix: str) -> Element:
    """The locks that there are; *now* in nanoseconds since the epoch."""
    return element("lockdiscovery", *(_active(held, now, prefix) for held in locks))


def _active(held: Held, now: int, prefix: str) -> Element:
    left = max(0, (held.expires_at - now) // 10**9)
    found = element(
        "activelock",
        element("locktype", element("write")),
        element("lockscope", element("shared" if held.shared else "exclusive")),
        element("depth", text="infinity" if held.deep else "0"),
    )
    if held.owner:
        found.append(parse(held.owner.encode(), f"{DAV}owner"))
    else:
        found.append(element("owner", text=held.ours.owner))
    found.append(element("timeout", text=f"Second-{left}"))
    found.append(element("locktoken", element("href", text=held.token)))
    root = href_of(prefix, held.path, folder=False)
    found.append(element("lockroot", element("href", text=root)))
    return found
