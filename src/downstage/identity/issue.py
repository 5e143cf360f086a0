"""Tokens: for people who signed in, for their programs, for services, instances and seats."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.auth.patterns import may_bound, scopes_of
from downstage.auth.principal import Bound, Principal, StreamBound
from downstage.auth.scopes import SCOPES, SERVICES, acting_scopes, expand, may_grant
from downstage.auth.tokens import SKEW_S, Signed
from downstage.contracts.identity import (
    ApiTokenSecret,
    ApiTokenView,
    InstanceTokenRequest,
    SeatTokenRequest,
    StreamGrant,
)
from downstage.identity.keys import KeyRing
from downstage.identity.revocations import Revocations
from downstage.identity.tables import tokens
from downstage.identity.users import User, Users
from downstage.kernel.clock import Clock
from downstage.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidField,
    InvalidToken,
    NotFound,
)
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.services.facilities.database import Database

__all__ = ["OPERATOR", "Issuer", "grants_of"]

SERVICE_TTL = timedelta(minutes=10)
GUEST_SCOPES = frozenset(scope for scope in SCOPES if scope.startswith("streams:"))
GUEST_TTL = timedelta(days=30)
"""Life of a sign-in of a demo's guest: what clients of the data server are used to."""
LONGEST_TTL = timedelta(days=366)
"""Life of an API token whose maker names none: every token ends some day."""
OPERATOR = "operator:local"
"""Subject of whoever owns the data folder; no user's name has a colon."""
MOST_API_TOKENS = 100
log = get_logger(__name__)


class Issuer:
    """Makes every token there is, and knows those that people hold."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        users: Users,
        revocations: Revocations,
        clock: Clock,
        *,
        sign_in_ttl: timedelta,
        boot_secret: str,
    ) -> None:
        self._database = database
        self._keys = keys
        self._users = users
        self._revocations = revocations
        self._clock = clock
        self._sign_in_ttl = sign_in_ttl
        self._boot_secret = boot_secret.encode()

    async def for_user(
        self, user: User, lifetime: timedelta | None = None, *, name: str | None = None
    ) -> Signed:
        """A sign-in of *user*, who has proven who they are.

        Args:
            user: who.
            lifetime: of the token; as the settings say where there is none, and at most that.
            name: shown instead of the user's own, for guests of a demo; they hold no more than
                the data server's API needs, for others of this machine may be among them.
        """
        principal = Principal(
            subject=user.subject,
            name=name or user.name,
            kind="user",
            tenant=user.tenant,
            scopes=user.scopes if name is None else user.scopes & GUEST_SCOPES,
        )
        longest = self._sign_in_ttl if name is None else GUEST_TTL
        return await self._issue(principal, min(lifetime or longest, longest), "sign-in")

    async def for_service(self, service: str, boot_secret: str, act: str | None) -> Signed:
        """The own token of a built-in *service*; with *act* it holds what both may.

        Raises:
            InvalidToken: unknown service, or not the host's secret.
            Forbidden: nobody to act for.
        """
        is_host = hmac.compare_digest(boot_secret.encode("utf-8", "replace"), self._boot_secret)
        if not is_host or not self._boot_secret or service not in SERVICES:
            raise InvalidToken
        scopes = SERVICES[service]
        if act is not None:
            scopes = acting_scopes(scopes, await self._held_by(act))
        principal = Principal(
            subject=f"service:{service}", name=service, kind="service", scopes=scopes, act=act
        )
        return await self._keys.sign(principal, SERVICE_TTL)

    async def for_operator(self) -> Signed:
        """Whoever may read the data folder, as the command line shows it; ends the one before."""
        which = (tokens.c.owner == OPERATOR) & (tokens.c.kind == "operator")
        async with self._database.write() as connection:
            revoked = await self._revocations.revoke(connection, which)
        self._revocations.tell(revoked)
        principal = Principal(
            subject=OPERATOR, name="operator", kind="token", scopes=frozenset(SCOPES)
        )
        return await self._issue(principal, LONGEST_TTL, "operator", kind="operator")

    async def for_instance(self, request: InstanceTokenRequest) -> Signed:
        """What an instance's streamer shows at the gateway, or its application at files.

        Raises:
            InvalidField: files without an owner.
            Forbidden: the owner is nobody any more.
        """
        if request.reach is not None:
            return await self._for_files(request)
        principal = Principal(
            subject=f"instance:{request.instance_id}",
            name=request.instance_id,
            kind="instance",
            tenant=request.tenant,
            instance_id=request.instance_id,
            session_id=request.session_id,
        )
        return await self._keys.sign(principal, timedelta(seconds=request.ttl_s))

    async def _for_files(self, request: InstanceTokenRequest) -> Signed:
        if request.owner is None or request.reach is None:
            raise InvalidField("owner", "A token for files is somebody's.")
        held = expand(await self._held_by(request.owner))
        wanted = {"files:read", "files:write"} if _writes(request) else {"files:read"}
        principal = Principal(
            subject=f"instance:{request.instance_id}",
            name=request.instance_id,
            kind="instance",
            tenant=request.tenant,
            scopes=frozenset(wanted & held),
            act=request.owner,
            session_id=request.session_id,
            instance_id=request.instance_id,
            reach=tuple(Bound(item.path, item.writes) for item in request.reach),
        )
        lifetime = timedelta(seconds=request.ttl_s)
        return await self._issue(principal, lifetime, request.instance_id, owner=request.owner)

    async def revoke_instance(self, instance_id: str) -> None:
        """End what an instance's application touches files with; absent is fine."""
        which = (tokens.c.kind == "instance") & (tokens.c.name == instance_id)
        async with self._database.write() as connection:
            revoked = await self._revocations.revoke(connection, which)
        self._revocations.tell(revoked)

    async def for_seat(self, request: SeatTokenRequest) -> Signed:
        """What a viewer's cookie holds."""
        principal = Principal(
            subject=request.subject,
            name=request.subject,
            kind="seat",
            tenant=request.tenant,
            session_id=request.session_id,
            seat=request.seat,
            role=request.role,
        )
        return await self._issue(principal, timedelta(seconds=request.ttl_s), "seat")

    async def for_program(
        self,
        owner: Principal,
        name: str,
        scopes: Iterable[str] | None,
        lifetime: timedelta | None,
        *,
        streams: tuple[StreamBound, ...] | None = None,
    ) -> ApiTokenSecret:
        """An API token of *owner*.

        Args:
            owner: whose it is.
            name: what they call it.
            scopes: what it may do; without any it holds what the owner holds now, or, where
                *streams* are named, what of streams these need.
            lifetime: from now on.
            streams: the streams that it may touch; None: those that the owner's token may.

        Raises:
            InvalidField: a scope that does not exist, or streams without the scopes they need.
            Forbidden: more than the owner holds.
        """
        wanted = _wanted(owner, scopes, streams)
        principal = Principal(
            subject=owner.subject,
            name=owner.name,
            kind="token",
            tenant=owner.tenant,
            scopes=expand(wanted),
            streams=owner.streams if streams is None else streams,
        )
        signed = await self._issue(
            principal, min(lifetime or LONGEST_TTL, LONGEST_TTL), name, most=MOST_API_TOKENS
        )
        log.info("api_token.made", token_id=signed.id, scopes=sorted(wanted))
        return ApiTokenSecret(
            id=signed.id,
            name=name,
            scopes=sorted(principal.scopes),
            streams=grants_of(principal.streams),
            created_at=self._clock.now(),
            expires_at=signed.expires_at,
            token=signed.token,
        )

    async def list_programs(self, owner: Principal) -> list[ApiTokenView]:
        """API tokens of *owner* that still count, newest first."""
        now = self._clock.now().timestamp()
        query = (
            select(tokens)
            .where(*self._programs(owner), tokens.c.expires_at > now)
            .order_by(tokens.c.created_at.desc(), tokens.c.id)
        )
        async with self._database.read() as connection:
            return [_view(row) for row in await connection.execute(query)]

    async def revoke_program(self, owner: Principal, token_id: str) -> None:
        """Revoke one API token of *owner*.

        Raises:
            NotFound: absent, or not theirs.
        """
        which = tokens.c.id == token_id
        for condition in self._programs(owner):
            which &= condition
        async with self._database.write() as connection:
            revoked = await self._revocations.revoke(connection, which)
        if not revoked.ids:
            raise NotFound("There is no such token.")
        self._revocations.tell(revoked)

    def _programs(self, owner: Principal) -> tuple[Any, ...]:
        return (
            tokens.c.tenant == owner.tenant,
            tokens.c.owner == owner.subject,
            tokens.c.kind == "token",
        )

    async def _held_by(self, subject: str) -> frozenset[str]:
        if subject == OPERATOR:
            return frozenset(SCOPES)
        person = await self._users.find_subject(subject)
        if person is None or person.disabled:
            raise Forbidden("There is nobody to act for.")
        return person.scopes

    async def _issue(
        self,
        principal: Principal,
        lifetime: timedelta,
        name: str,
        *,
        kind: str | None = None,
        owner: str | None = None,
        most: int | None = None,
    ) -> Signed:
        """Sign, and note the id: it must be revocable before anybody holds it."""
        token_id = new_id("t")
        now = self._clock.now().timestamp()
        async with self._database.write() as connection:
            await connection.execute(delete(tokens).where(tokens.c.expires_at + SKEW_S < now))
            if most is not None:
                await self._refuse_more(connection, principal, most)
            await connection.execute(
                insert(tokens).values(
                    id=token_id,
                    tenant=principal.tenant,
                    owner=owner or principal.subject,
                    kind=kind or principal.kind,
                    name=name,
                    scopes=sorted(principal.scopes),
                    streams=_rows(principal.streams),
                    created_at=now,
                    expires_at=now + lifetime.total_seconds(),
                )
            )
        return await self._keys.sign(principal, lifetime, token_id=token_id)

    async def _refuse_more(self, connection: AsyncConnection, owner: Principal, most: int) -> None:
        found = await connection.execute(select(tokens.c.id).where(*self._programs(owner)))
        if len(found.all()) >= most:
            raise Conflict(f"You have {most} API tokens. Remove some first.")


def _writes(request: InstanceTokenRequest) -> bool:
    return any(item.writes for item in request.reach or ())


def _wanted(
    owner: Principal, scopes: Iterable[str] | None, streams: tuple[StreamBound, ...] | None
) -> frozenset[str]:
    """The scopes of a new token, where *owner* may hand them on, and *streams* with them."""
    needed = frozenset[str]() if streams is None else scopes_of(streams)
    wanted = frozenset(scopes) if scopes is not None else needed or owner.scopes
    if unknown := sorted(wanted - SCOPES.keys()):
        raise InvalidField("scopes", f"There is no scope {unknown[0][:64]}.")
    if lacking := sorted(needed - expand(wanted)):
        raise InvalidField("streams", f"Rights on streams need the scope {lacking[0]}.")
    if not may_grant(owner.scopes, wanted) or not may_bound(owner.streams, streams or ()):
        raise Forbidden("An API token cannot hold more than its owner.")
    return wanted


def grants_of(bounds: tuple[StreamBound, ...] | None) -> list[StreamGrant] | None:
    """Bounds on streams as they are told."""
    return None if bounds is None else [_grant(b.pattern, sorted(b.rights)) for b in bounds]


def _grant(pattern: str, rights: list[str]) -> StreamGrant:
    return StreamGrant.model_validate({"pattern": pattern, "rights": rights})


def _rows(bounds: tuple[StreamBound, ...] | None) -> list[list[Any]] | None:
    return None if bounds is None else [[bound.pattern, sorted(bound.rights)] for bound in bounds]


def _view(row: Any) -> ApiTokenView:
    return ApiTokenView(
        id=row.id,
        name=row.name,
        scopes=row.scopes,
        streams=None if row.streams is None else [_grant(*pair) for pair in row.streams],
        created_at=datetime.fromtimestamp(row.created_at, UTC),
        expires_at=datetime.fromtimestamp(row.expires_at, UTC),
    )
