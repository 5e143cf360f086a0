"""People: added, changed and removed by those who hold at least as much themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.auth.scopes import ADMINS, may_grant, role_scopes
from downstage.contracts.identity import DirectoryPage, Person, UserPage, UserView
from downstage.identity.passwords import Passwords
from downstage.identity.revocations import Revocations, Revoked
from downstage.identity.tables import former_users, tokens, users
from downstage.identity.tickets import TicketOffice
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Conflict, Forbidden, InvalidField, NotFound
from downstage.kernel.logging import get_logger
from downstage.services.facilities.database import Database

__all__ = ["User", "Users"]

TENANT = "main"
MAX_GROUP = 64
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class User:
    """A person as stored."""

    subject: str
    name: str
    tenant: str
    groups: tuple[str, ...]
    disabled: bool
    created_at: datetime
    password_hash: str

    @property
    def scopes(self) -> frozenset[str]:
        """What the groups allow; nothing while disabled."""
        return frozenset() if self.disabled else role_scopes(self.groups)

    def view(self) -> UserView:
        """The person without any secret."""
        return UserView(
            name=self.name,
            tenant=self.tenant,
            groups=list(self.groups),
            disabled=self.disabled,
            created_at=self.created_at,
        )


class Users:
    """The register of people.

    `held` in its methods are the scopes of whoever asks: nobody may make, change or remove a
    person who holds more than that.
    """

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        revocations: Revocations,
        tickets: TicketOffice,
        clock: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._revocations = revocations
        self._tickets = tickets
        self._clock = clock

    async def has_admin(self, connection: AsyncConnection, *, but: str | None = None) -> bool:
        """Whether an administrator can sign in, beside the one whose subject is *but*."""
        rows = await connection.execute(select(users).where(users.c.disabled.is_(False)))
        return any(ADMINS in row.groups and row.owner != but for row in rows)

    async def find(self, name: str) -> User | None:
        """The person called *name*, in any case of letters."""
        async with self._database.read() as connection:
            return await self._find(connection, _is(name))

    async def find_subject(self, subject: str) -> User | None:
        """The person whose subject is *subject*."""
        async with self._database.read() as connection:
            return await self._find(connection, users.c.owner == subject)

    async def page(self, limit: int, after: str | None) -> UserPage:
        """People by name, *limit* of them, from behind *after* on."""
        query = select(users).where(users.c.tenant == TENANT).order_by(users.c.folded)
        if after is not None:
            query = query.where(users.c.folded > after.lower())
        async with self._database.read() as connection:
            rows = (await connection.execute(query.limit(limit + 1))).all()
        found = [_user(row) for row in rows[:limit]]
        more = found[-1].name if len(rows) > limit else None
        return UserPage(items=[user.view() for user in found], next=more)

    async def directory(self, limit: int, after: str | None) -> DirectoryPage:
        """As `page`, with what rights know people by."""
        query = select(users).where(users.c.tenant == TENANT).order_by(users.c.folded)
        if after is not None:
            query = query.where(users.c.folded > after.lower())
        async with self._database.read() as connection:
            rows = (await connection.execute(query.limit(limit + 1))).all()
        found = [_user(row) for row in rows[:limit]]
        items = [
            Person(
                subject=user.subject,
                name=user.name,
                tenant=user.tenant,
                groups=list(user.groups),
                disabled=user.disabled,
            )
            for user in found
        ]
        return DirectoryPage(items=items, next=found[-1].name if len(rows) > limit else None)

    async def add(
        self, name: str, password: str, groups: Iterable[str], *, held: frozenset[str]
    ) -> User:
        """Add a person.

        Raises:
            Conflict: the name is taken.
            Forbidden: the groups would hold more than *held*.
        """
        wanted = _checked(groups)
        _may(held, role_scopes(wanted))
        encoded = await self._passwords.hash(password)
        async with self._database.write() as connection:
            added = await self.add_in(connection, name, encoded, wanted)
        self._revocations.tell_people_changed()
        return added

    async def add_in(
        self, connection: AsyncConnection, name: str, password_hash: str, groups: tuple[str, ...]
    ) -> User:
        """As `add`, inside a write transaction and with the hash made."""
        folded, now = name.lower(), self._clock.now().timestamp()
        namesakes = await connection.scalar(
            select(func.count())
            .select_from(former_users)
            .where((former_users.c.tenant == TENANT) & (former_users.c.folded == folded))
        )
        subject = f"{name}~{namesakes}" if namesakes else name
        try:
            await connection.execute(
                insert(users).values(
                    tenant=TENANT,
                    folded=folded,
                    owner=subject,
                    name=name,
                    password_hash=password_hash,
                    groups=list(groups),
                    disabled=False,
                    created_at=now,
                    changed_at=now,
                )
            )
        except IntegrityError as error:
            raise Conflict(f"There is a user named {name} already.") from error
        log.info("user.added", groups=list(groups), **{"pii.name": name})
        created_at = datetime.fromtimestamp(now, UTC)
        return User(subject, name, TENANT, groups, False, created_at, password_hash)

    async def change(
        self,
        name: str,
        *,
        held: frozenset[str],
        password: str | None = None,
        groups: Iterable[str] | None = None,
        disabled: bool | None = None,
    ) -> User:
        """Change a person; sign-ins that rest on what changed end at once.

        Raises:
            NotFound: no such person.
            Forbidden: the person holds, or would hold, more than *held*.
            Conflict: it would leave no administrator.
        """
        wanted = None if groups is None else _checked(groups)
        encoded = None if password is None else await self._passwords.hash(password)
        async with self._database.write() as connection:
            user = await self._own(connection, name, held)
            after = user.groups if wanted is None else wanted
            _may(held, role_scopes(after))
            off = user.disabled if disabled is None else disabled
            if off or ADMINS not in after:
                await self._keep_an_admin(connection, user)
            values: dict[str, Any] = {
                "groups": list(after),
                "disabled": off,
                "password_hash": encoded or user.password_hash,
                "changed_at": self._clock.now().timestamp(),
            }
            await connection.execute(
                update(users).where(users.c.owner == user.subject).values(**values)
            )
            changed = await self._find(connection, _is(name)) or user
            revoked = await self._revoke_after(connection, user, changed)
        self._revocations.tell(revoked)
        self._revocations.tell_people_changed()
        log.info("user.changed", disabled=off, **{"pii.name": user.name})
        return changed

    async def remove(self, name: str, *, held: frozenset[str]) -> None:
        """Remove a person: all their tokens and tickets stop to count.

        Raises:
            NotFound, Forbidden, Conflict: as `change`.
        """
        async with self._database.write() as connection:
            user = await self._own(connection, name, held)
            await self._keep_an_admin(connection, user)
            await connection.execute(
                insert(former_users).values(
                    owner=user.subject,
                    tenant=user.tenant,
                    folded=user.name.lower(),
                    removed_at=self._clock.now().timestamp(),
                )
            )
            await connection.execute(delete(users).where(users.c.owner == user.subject))
            await self._tickets.void(connection, user.tenant, user.subject)
            revoked = await self._revocations.revoke(connection, _tokens_of(user))
        self._revocations.tell(revoked)
        self._revocations.tell_people_changed()
        log.info("user.removed", **{"pii.name": user.name})

    async def rehash(self, user: User, password: str) -> None:
        """Store *password*, just proven right, under today's parameters."""
        encoded = await self._passwords.hash(password)
        same = (users.c.owner == user.subject) & (users.c.password_hash == user.password_hash)
        async with self._database.write() as connection:
            await connection.execute(update(users).where(same).values(password_hash=encoded))

    async def _own(self, connection: AsyncConnection, name: str, held: frozenset[str]) -> User:
        user = await self._find(connection, _is(name))
        if user is None:
            raise NotFound("There is no such user.")
        _may(held, role_scopes(user.groups))
        return user

    async def _find(self, connection: AsyncConnection, which: ColumnElement[bool]) -> User | None:
        row = (await connection.execute(select(users).where(which))).first()
        return None if row is None else _user(row)

    async def _keep_an_admin(self, connection: AsyncConnection, leaving: User) -> None:
        """Refuse when *leaving* is the last administrator who can sign in."""
        if ADMINS not in leaving.groups or leaving.disabled:
            return
        if not await self.has_admin(connection, but=leaving.subject):
            raise Conflict("That would leave no administrator. Make another one first.")

    async def _revoke_after(
        self, connection: AsyncConnection, before: User, after: User
    ) -> Revoked:
        """Revoke what rests on an old password, or on scopes that are gone."""
        which = _tokens_of(after)
        if after.disabled:
            await self._tickets.void(connection, after.tenant, after.subject)
        elif before.scopes != after.scopes:
            which &= tokens.c.kind != "seat"
        elif before.password_hash != after.password_hash:
            which &= tokens.c.kind != "token"
        else:
            which &= tokens.c.id.is_(None)
        return await self._revocations.revoke(connection, which)


def _is(name: str) -> ColumnElement[bool]:
    return (users.c.tenant == TENANT) & (users.c.folded == name.lower())


def _tokens_of(user: User) -> ColumnElement[bool]:
    return (tokens.c.tenant == user.tenant) & (tokens.c.owner == user.subject)


def _checked(groups: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(groups))
    for group in found:
        if not group.isprintable() or not 1 <= len(group) <= MAX_GROUP:
            raise InvalidField("groups", "A group's name has 1 to 64 printable characters.")
    return found


def _may(held: frozenset[str], wanted: frozenset[str]) -> None:
    if not may_grant(held, wanted):
        raise Forbidden("That user holds, or would hold, more than you do yourself.")


def _user(row: Any) -> User:
    return User(
        subject=row.owner,
        name=row.name,
        tenant=row.tenant,
        groups=tuple(row.groups),
        disabled=row.disabled,
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        password_hash=row.password_hash,
    )
