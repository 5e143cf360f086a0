"""One request of WebDAV: what it names, under which conditions, with which locks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from downstage.content.dialects.exchange import Exchange, parts_of
from downstage.content.dialects.webdav_if import State, holds, read_if, tokens_of
from downstage.content.dialects.webdav_locks import DavLocks, Held, acting
from downstage.content.dialects.webdav_props import href_of
from downstage.content.model import Caller, Condition, Entry
from downstage.content.names import join, parse
from downstage.kernel.errors import (
    BadUrl,
    InvalidInput,
    NotFound,
    PlatformError,
    VersionMismatch,
    WrongType,
)

if TYPE_CHECKING:
    from downstage.content.service import Content

__all__ = ["Refused", "Visit", "etags_of", "path_in"]

MAX_ETAGS = 64


class Refused(Exception):
    """An answer of WebDAV's own: a status, and the condition of the standard that did not hold."""

    def __init__(self, status: int, condition: str = "", path: str = "") -> None:
        super().__init__(f"{status} {condition}")
        self.status = status
        self.condition = condition
        self.path = path


def path_in(prefix: str, raw: bytes) -> tuple[str, bool]:
    """The path in the tree that *raw* names below *prefix*, and whether it ends with a slash.

    Raises:
        BadUrl: it is none, or lies elsewhere.
    """
    start = prefix.encode()
    if raw != start and not raw.startswith(start + b"/"):
        raise BadUrl(f"Files are below {prefix}/.")
    parts = parts_of(raw[len(start) :])
    ends = bool(parts) and parts[-1] == ""
    if ends:
        parts.pop()
    if not parts:
        return "/", True
    return join(parse("/" + "/".join(parts))), ends


def etags_of(header: str) -> tuple[str, ...]:
    """The strong etags of a list; weak ones never match for a change."""
    found = [item.strip() for item in header.split(",")]
    if len(found) > MAX_ETAGS:
        raise InvalidInput(f"At most {MAX_ETAGS} etags.")
    return tuple(item.strip('"') for item in found if item.startswith('"'))


@dataclass(slots=True)
class Visit:
    """Everything that a method works with."""

    exchange: Exchange
    content: Content
    locks: DavLocks
    caller: Caller
    prefix: str
    now: Callable[[], int]
    path: str
    is_folder: bool
    """The address ended with a slash."""

    def href(self, path: str, *, folder: bool = False) -> str:
        """The address of *path*."""
        return href_of(self.prefix, path, folder=folder)

    def depth(self, default: str = "infinity") -> str:
        """``0``, ``1`` or ``infinity``.

        Raises:
            InvalidInput: none of them.
        """
        found = self.exchange.header("depth", default).lower()
        if found not in ("0", "1", "infinity"):
            raise InvalidInput("Depth is 0, 1 or infinity.")
        return found

    def condition(self) -> Condition:
        """What If-Match, If-None-Match and the etags of If ask of the path itself.

        The tree holds a change against it in the same step in which it makes it.
        """
        match, none = self.exchange.header("if-match"), self.exchange.header("if-none-match")
        named = etags_of(match) if match and match.strip() != "*" else None
        return Condition(
            if_match=named if match else self._etags_of_if(),
            if_match_any=match.strip() == "*",
            if_none_match=etags_of(none) if none and none.strip() != "*" else None,
            if_none_match_any=none.strip() == "*",
        )

    def _etags_of_if(self) -> tuple[str, ...] | None:
        """Etags of which one must be present, where each list of the If header names one."""
        alternatives = read_if(self.exchange.header("if"))
        found: list[str] = []
        for alternative in alternatives:
            here = not alternative.resource or self._named(alternative.resource) == self.path
            etags = [w.value for w in alternative.wanted if w.is_etag and not w.negated]
            if not here or not etags:
                return None
            found += etags_of(etags[0])
        return tuple(found) if alternatives else None

    def destination(self) -> str:
        """Where COPY and MOVE lead.

        Raises:
            InvalidInput: not told, or no address.
            Refused: on another server.
        """
        text = self.exchange.header("destination")
        try:
            found = urlsplit(text)
            raw = found.path.encode("ascii")
        except ValueError as error:
            raise BadUrl("Destination is no address.") from error
        if not text or found.query or found.fragment or not raw.startswith(b"/"):
            raise BadUrl("Destination is the address of a file here.")
        elsewhere = bool(found.netloc) and found.netloc.lower() != self.exchange.host
        if elsewhere or (found.scheme and found.scheme.lower() not in ("http", "https")):
            raise Refused(502)
        if found.scheme and not found.netloc:
            raise BadUrl("Destination has a scheme, but no host.")
        if raw != self.prefix.encode() and not raw.startswith(self.prefix.encode() + b"/"):
            raise Refused(502)
        return path_in(self.prefix, raw)[0]

    def overwrite(self) -> bool:
        """Whether COPY and MOVE may replace what is there.

        Raises:
            InvalidInput: neither T nor F.
        """
        found = self.exchange.header("overwrite", "T").strip().upper()
        if found not in ("T", "F"):
            raise InvalidInput("Overwrite is T or F.")
        return found == "T"

    async def find(self, path: str) -> Entry | None:
        """What is at *path*; None: nothing that the caller may see."""
        try:
            return await self.content.stat(self.caller, path)
        except (NotFound, WrongType):
            return None

    async def actor(self, *paths: str) -> Caller:
        """The caller with the locks whose tokens the request submits, if the If header holds.

        Args:
            paths: what the request changes, beside its own path, or in its place.

        Raises:
            VersionMismatch: it does not hold.
            InvalidInput: it is out of form.
        """
        alternatives = read_if(self.exchange.header("if"))
        if not alternatives:
            return acting(self.caller, (), ())
        if not await holds(alternatives, self._state):
            raise VersionMismatch("The If header does not hold.")
        submitted = tokens_of(alternatives)
        held: list[Held] = []
        for path in paths or (self.path,):
            held += await self._around(path)
        for alternative in alternatives:
            if alternative.resource:
                held += await self._around(self._named(alternative.resource) or "/")
        return acting(self.caller, submitted, held)

    async def _around(self, path: str) -> list[Held]:
        found = await self.locks.covering(self.caller, path)
        try:
            return found + await self.locks.below(self.caller, path)
        except (NotFound, WrongType):
            return found

    async def _state(self, resource: str) -> State:
        path = self._named(resource) if resource else self.path
        if path is None:
            return State("", frozenset())
        entry = await self.find(path)
        held = await self.locks.covering(self.caller, path)
        tokens = frozenset(item.token for item in held)
        return State(entry.etag if entry is not None else "", tokens)

    def _named(self, resource: str) -> str | None:
        """The path of a resource in the If header; None: it is none of ours."""
        try:
            found = urlsplit(resource)
            if found.netloc and found.netloc.lower() != self.exchange.host:
                return None
            return path_in(self.prefix, found.path.encode("ascii"))[0]
        except (ValueError, PlatformError):
            return None


def no_parent(error: PlatformError) -> NoReturn:
    """Of what a method would create, a folder above is missing."""
    raise Refused(409) from error
