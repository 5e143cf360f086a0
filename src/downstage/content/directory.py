"""Who callers are as the rules of content see them: person, groups, rights at most, bounds.

Groups come from identity, are kept for `FRESH_S` at most, and are read again at once when identity
says that people changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio

from downstage.auth.principal import Principal
from downstage.auth.scopes import ADMINS
from downstage.bus import Bus
from downstage.content.model import Access, Caller, Reach
from downstage.contracts.identity import PEOPLE_CHANGED, DirectoryPage, Person
from downstage.kernel.clock import Clock, SystemClock
from downstage.kernel.errors import Forbidden, InvalidToken, Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError

__all__ = ["Callers", "Directory", "IdentityDirectory", "People", "StaticDirectory", "is_person"]

FRESH_S = 10.0
"""Groups are read again after this long, in case that a hint was lost."""
RETRY_S = 1.0
"""Somebody unknown makes us ask again, at most this often."""
PAGE = 1000
MOST_PEOPLE = 200_000
KEPT = 8192
"""Callers remembered by their tokens."""
ALL = Access.READ | Access.WRITE | Access.ADMIN
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class People:
    """Everybody at one moment; `revision` grows with every reading."""

    by_subject: Mapping[str, Person]
    revision: int

    def of(self, tenant: str) -> list[Person]:
        """Those of a tenant: who may know of each other."""
        return [person for person in self.by_subject.values() if person.tenant == tenant]

    def groups_of(self, tenant: str) -> list[str]:
        """Every group that somebody of a tenant is in."""
        found = {group for person in self.of(tenant) for group in person.groups}
        return sorted(found | {ADMINS})


class Directory(Protocol):
    """Where people and their groups are found."""

    @property
    def people(self) -> People | None:
        """As last read; None: never yet."""
        ...

    async def read(self, *, missing: str = "") -> People:
        """Everybody; read again where *missing* is not among those who are known.

        Raises:
            Unavailable: identity does not answer, and never did.
        """
        ...


class StaticDirectory:
    """A fixed set of people; for tests and tools."""

    def __init__(self, groups: Mapping[str, Sequence[str]] | None = None) -> None:
        self.people = People({}, 0)
        self.set_groups(groups or {})

    def set_groups(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Replace everybody: subject → groups."""
        found = {
            subject: Person(
                subject=subject, name=subject, tenant="main", groups=list(of), disabled=False
            )
            for subject, of in groups.items()
        }
        self.people = People(found, self.people.revision + 1)

    async def read(self, *, missing: str = "") -> People:
        """Everybody."""
        del missing
        return self.people


class IdentityDirectory:
    """Reads identity's directory, keeps it, and listens for changes.

    Args:
        identity: a client with the content service's token.
        bus, clock: of the platform.
    """

    def __init__(self, identity: AsyncClient, bus: Bus, clock: Clock | None = None) -> None:
        self._identity = identity
        self._bus = bus
        self._clock = clock or SystemClock()
        self._people: People | None = None
        self._read_at = 0.0
        self._stale = anyio.Event()
        self._lock = anyio.Lock()

    @property
    def people(self) -> People | None:
        """As last read; None: never yet."""
        return self._people

    async def read(self, *, missing: str = "") -> People:
        """Everybody; read again where *missing* is not among those who are known."""
        known = self._people
        if known is not None and (not missing or missing in known.by_subject):
            return known
        asked_at = self._clock.monotonic()
        async with self._lock:
            if self._people is None or self._read_at <= asked_at:
                await self._load_in_turn(asked_at)
        assert self._people is not None  # noqa: S101 - just read, or it raised
        return self._people

    async def _load_in_turn(self, asked_at: float) -> None:
        """Read it, but not more often than it may be; all who wait meanwhile are served by that."""
        if self._people is not None:
            await anyio.sleep(max(0.0, self._read_at + RETRY_S - asked_at))
        await self._load()

    async def run(self) -> None:
        """Keep it fresh until cancelled; what nobody asked for yet is not read."""
        async with self._bus.subscribe(PEOPLE_CHANGED) as hints, anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_fresh)
            async for _ in hints:
                self._stale.set()

    async def _keep_fresh(self) -> None:
        while True:
            with anyio.move_on_after(FRESH_S):
                await self._stale.wait()
            self._stale = anyio.Event()
            if self._people is None:
                continue
            try:
                async with self._lock:
                    await self._load()
            except Unavailable as error:
                log.warning("directory.not_read", why=error.detail)

    async def _load(self) -> None:
        found = dict[str, Person]()
        after: str | None = None
        began_at = self._clock.monotonic()
        while True:
            try:
                answer = await self._identity.v1.directory.get(limit=PAGE, after=after)
            except BaseServiceError as error:
                raise Unavailable("Identity does not answer just now.", retry_after_s=1) from error
            page = DirectoryPage.model_validate(answer)
            found |= {person.subject: person for person in page.items}
            after = page.next
            if after is None or len(found) > MOST_PEOPLE:
                break
        before = self._people
        self._read_at = began_at
        if before is None or before.by_subject != found:
            self._people = People(found, 1 if before is None else before.revision + 1)


class Callers:
    """Makes callers of principals.

    Args:
        directory: where groups come from.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._kept: dict[tuple[str, str], Caller] = {}
        self._revision = -1

    def known(self, principal: Principal, client_id: str = "") -> Caller | None:
        """Who *principal* is, at once; None: the directory must be asked (`of`)."""
        people = self.directory.people
        if people is None:
            return None
        if people.revision != self._revision or len(self._kept) > KEPT:
            self._kept.clear()
            self._revision = people.revision
        key = (principal.token_id, client_id)
        caller = self._kept.get(key)
        if caller is None and (
            _subject(principal) in people.by_subject or not is_person(_subject(principal))
        ):
            caller = _caller(principal, people, client_id)
            if principal.token_id:
                self._kept[key] = caller
        return caller

    async def of(self, principal: Principal, client_id: str = "") -> Caller:
        """Who *principal* is.

        Raises:
            Forbidden: the token has nothing to do with files.
            InvalidToken: its person is gone.
            Unavailable: identity does not answer.
        """
        caller = self.known(principal, client_id)
        if caller is None:
            people = await self.directory.read(missing=_subject(principal))
            subject = _subject(principal)
            if is_person(subject) and subject not in people.by_subject:
                raise InvalidToken  # without groups, what is denied to them would be allowed
            caller = _caller(principal, people, client_id)
        return caller


def is_person(subject: str) -> bool:
    """Whether there must be a user behind a subject: the operator and services are none."""
    return ":" not in subject


def _subject(principal: Principal) -> str:
    return principal.act or principal.subject


def _caller(principal: Principal, people: People, client_id: str) -> Caller:
    if principal.kind == "seat" or (principal.kind == "instance" and principal.reach is None):
        raise Forbidden("This kind of caller may not touch files.", kind=principal.kind)
    subject = _subject(principal)
    person = people.by_subject.get(subject)
    if person is not None and person.disabled:
        raise InvalidToken
    return Caller(
        subject=subject,
        name=person.name if person is not None else principal.name,
        tenant=principal.tenant,
        groups=frozenset(person.groups) if person is not None else frozenset[str](),
        may=_most(principal),
        reach=_reach(principal),
        client_id=client_id,
    )


def _most(principal: Principal) -> Access:
    """What the scopes allow at most.

    Raises:
        Forbidden: nothing.
    """
    # An instance with bounds is never an administrator, whoever its owner is.
    if principal.may("files:admin") and principal.reach is None:
        return ALL
    if principal.may("files:write"):
        return Access.READ | Access.WRITE
    if principal.may("files:read"):
        return Access.READ
    raise Forbidden("This needs the scope files:read.", scope="files:read")


def _reach(principal: Principal) -> tuple[Reach, ...] | None:
    if principal.reach is None:
        return None
    both = Access.READ | Access.WRITE
    return tuple(Reach(item.path, both if item.writes else Access.READ) for item in principal.reach)
