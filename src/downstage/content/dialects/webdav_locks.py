"""Locks as WebDAV has them, on ours: depth, shared locks, tokens that requests submit.

An exclusive WebDAV lock is one of our locks; its token is ours. Ours are exclusive, so shared
locks share one: the first of them takes it, the others are known here alone and end with it, or
with this process; then their holders ask anew, as after any lock that was lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from downstage.content.model import Access, Caller, Lock
from downstage.kernel.errors import Forbidden, Locked, NotFound, NotSupported, WrongType
from downstage.kernel.ids import new_secret, new_uuid

if TYPE_CHECKING:
    from downstage.content.service import Content

__all__ = ["CLIENT", "DavLocks", "Held", "acting", "bare"]

SCHEME = "lock:"
TOKEN = 24
"""Characters of ours that WebDAV's token has, 144 bits: clients keep If headers in 200 bytes."""
CLIENT = "dav:"
"""How ids of the clients begin that hold WebDAV's locks: each lock is a client of its own."""
LEAST_S = 5
LONGEST_S = 3600
"""A lock that nobody renews for an hour is nobody's."""
MAX_SHARES = 64


@dataclass(frozen=True, slots=True)
class Held:
    """One lock, as WebDAV tells it."""

    token: str
    """As a URI."""
    path: str
    shared: bool
    deep: bool
    owner: str
    """XML of ``owner``; empty: there is none."""
    expires_at: int
    subject: str
    ours: Lock

    def covers(self, path: str) -> bool:
        """Whether *path* is what it locks, or lies below."""
        return path == self.path or (self.deep and _is_below(path, self.path))


@dataclass(frozen=True, slots=True)
class _Share:
    owner: str
    subject: str
    expires_at: int


class DavLocks:
    """Takes, finds, renews and releases locks.

    Args:
        content: what holds them.
        now: nanoseconds since the epoch.
    """

    def __init__(self, content: Content, now: Callable[[], int]) -> None:
        self._content = content
        self._now = now
        self._shares: dict[str, dict[str, _Share]] = {}
        """Token of ours → tokens of WebDAV that share it."""

    async def covering(self, caller: Caller, path: str) -> list[Held]:
        """Locks on *path* and deep ones above it; of what is not there, those above."""
        ours: list[Lock] = []
        for place in _up(path):
            try:
                ours = await self._content.locks(caller, place)
            except (NotFound, NotSupported, WrongType):
                continue
            break
        return [held for lock in ours for held in self._told(lock) if held.covers(path)]

    async def below(self, caller: Caller, path: str) -> list[Held]:
        """Locks on *path* and on all below it."""
        try:
            ours = await self._content.locks(caller, path, below=True)
        except NotSupported:  # inside of a mount there are none
            return []
        return [
            held
            for lock in ours
            if lock.path == path or _is_below(lock.path, path)
            for held in self._told(lock)
        ]

    async def take(
        self, caller: Caller, path: str, *, shared: bool, deep: bool, owner: str, lease_s: int
    ) -> Held:
        """A new lock.

        Raises:
            Locked: another lock does not go together with it.
            Forbidden: the caller may not write there.
        """
        there = await self.covering(caller, path)
        if deep:
            there += [held for held in await self.below(caller, path) if held.path != path]
        if there:
            # Who may only read stops nobody: a lock that is shared lasts as its last holder likes.
            if not (await self._content.stat(caller, path)).access & Access.WRITE:
                raise Forbidden("You may not do that here.", path=path)
            return self._share(caller, path, there, shared=shared, owner=owner, lease_s=lease_s)
        note = json.dumps({"shared": shared, "deep": deep, "owner": owner})
        holder = replace(caller, client_id=CLIENT + new_uuid())
        lock = await self._content.lock(holder, path, lease_s=lease_s, shared_note=note)
        self._prune()
        if shared:
            share = _Share(owner, caller.subject, lock.expires_at)
            self._shares[lock.token] = {_uri(lock.token): share}
        return self._told(lock)[0]

    def _share(
        self,
        caller: Caller,
        path: str,
        there: list[Held],
        *,
        shared: bool,
        owner: str,
        lease_s: int,
    ) -> Held:
        first = there[0]
        if not shared or any(not held.shared or held.path != path for held in there):
            raise Locked("Another lock is there already.", path=first.path)
        shares = self._shares.setdefault(first.ours.token, {})
        if len(shares) >= MAX_SHARES:
            raise Locked(f"{MAX_SHARES} share this lock already.", path=path)
        expires_at = min(self._now() + lease_s * 10**9, first.ours.expires_at)
        token = _uri(new_secret())
        shares[token] = _Share(owner, caller.subject, expires_at)
        return replace(
            first, token=token, owner=owner, expires_at=expires_at, subject=caller.subject
        )

    async def renew(self, caller: Caller, held: Held, lease_s: int) -> Held:
        """Let *held* last for *lease_s* from now."""
        holder = replace(caller, client_id=held.ours.client_id)
        lock = await self._content.renew_lock(holder, held.ours.path, held.ours.token, lease_s)
        shares = self._shares.get(lock.token, {})
        if held.token in shares:
            shares[held.token] = replace(shares[held.token], expires_at=lock.expires_at)
        return replace(held, ours=lock, expires_at=lock.expires_at)

    async def release(self, caller: Caller, held: Held) -> None:
        """End *held*; ours ends with the last that shares it."""
        shares = self._shares.get(held.ours.token, {})
        shares.pop(held.token, None)
        if not self._alive(held.ours.token):
            self._shares.pop(held.ours.token, None)
            holder = replace(caller, client_id=held.ours.client_id)
            await self._content.unlock(holder, held.ours.path, token=held.ours.token)

    def _prune(self) -> None:
        for token in [token for token in self._shares if not self._alive(token)]:
            del self._shares[token]

    def _told(self, lock: Lock) -> list[Held]:
        """What WebDAV sees of one lock of ours."""
        note = _note(lock)
        deep = bool(note.get("deep", True))
        shared = bool(note.get("shared", False))
        whole = Held(
            token=_uri(lock.token),
            path=lock.path,
            shared=shared,
            deep=deep,
            owner=str(note.get("owner", "")),
            expires_at=lock.expires_at,
            subject=lock.subject,
            ours=lock,
        )
        alive = self._alive(lock.token)
        if not alive:
            return [whole]
        return [
            replace(
                whole,
                token=token,
                owner=share.owner,
                expires_at=share.expires_at,
                subject=share.subject,
            )
            for token, share in alive.items()
        ]

    def _alive(self, token: str) -> dict[str, _Share]:
        now = self._now()
        return {t: s for t, s in self._shares.get(token, {}).items() if s.expires_at > now}


def acting(caller: Caller, submitted: Iterable[str], held: Iterable[Held]) -> Caller:
    """*caller*, holding of *held* what *submitted* tokens prove to be theirs."""
    shown = set(submitted)
    mine = [h for h in held if h.token in shown and h.subject == caller.subject]
    return replace(
        caller,
        client_id=CLIENT + "none",
        lock_tokens=frozenset(h.ours.token for h in mine),
    )


def _uri(token: str) -> str:
    return SCHEME + token[:TOKEN]


def bare(token: str) -> str:
    """A lock token out of its angle brackets."""
    return token.strip().removeprefix("<").removesuffix(">")


def _note(lock: Lock) -> dict[str, Any]:
    if not lock.client_id.startswith(CLIENT):
        return {}
    try:
        found: object = json.loads(lock.note)
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _up(path: str) -> list[str]:
    found = [path]
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        found.append(path)
    return found


def _is_below(path: str, folder: str) -> bool:
    return path.startswith("/" if folder == "/" else folder + "/")
