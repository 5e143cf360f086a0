"""Shares of this dialect: links for somebody else, with a role, until they expire.

The address of a share is asked by whoever has it, and answers where to connect; it can be asked
again. The debugging tunnel of Android applications is spelled and refused: nothing here has one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Protocol
from urllib.parse import urlencode

from fastapi import Query, Response

from downstage.auth.principal import Principal
from downstage.gateway.admission import Admission
from downstage.gateway.dialects.anbox.auth import Reader, Somebody, Writer
from downstage.gateway.dialects.anbox.connecting import Connector
from downstage.gateway.dialects.anbox.envelope import Envelope
from downstage.gateway.dialects.anbox.models import (
    Connection,
    ShareAnswer,
    SharedAnswer,
    SharePatch,
    SharePost,
)
from downstage.gateway.dialects.anbox.settings import Configuration, Items
from downstage.gateway.dialects.anbox.statuses import message_of
from downstage.gateway.models import Session
from downstage.gateway.sessions import Sessions
from downstage.gateway.shares import Share, Shares, new_share
from downstage.kernel.errors import InvalidField, InvalidInput, NotFound, NotSupported

__all__ = ["ADB", "Revoke", "ShareRoutes"]

LONGEST = timedelta(days=30)
ACCEPTED = 202
MOST = 1000
ADB = (
    "The application is not Android and has no debug bridge. Share the session as controller or "
    "spectator; a shell in the instance is at the AMS dialect's exec."
)


class Revoke(Protocol):
    """Cuts what was connected by a share."""

    async def __call__(self, share: Share) -> None:
        """It opens nothing any more, at no gateway."""
        ...


class ShareRoutes:
    """Handlers.

    Args:
        sessions, admission: of this gateway.
        connector: tells clients where to connect.
        shares: where they are kept.
        items: what was set for this dialect.
        revoke: cuts connections.
        public: address by which browsers reach us.
    """

    def __init__(
        self,
        sessions: Sessions,
        admission: Admission,
        connector: Connector,
        shares: Shares,
        items: Items,
        *,
        revoke: Revoke,
        public: str,
    ) -> None:
        self._sessions = sessions
        self._admission = admission
        self._connector = connector
        self._shares = shares
        self._items = items
        self._revoke = revoke
        self._public = public.rstrip("/")

    @property
    def _now(self) -> datetime:
        return self._sessions.now().wall

    async def create(
        self, session_id: str, caller: Somebody, body: SharePost
    ) -> Envelope[SharedAnswer]:
        """Share a session."""
        session = await self._admission.session(caller, session_id, "sessions:write")
        _check_running(session)
        if body.type == "adb":
            raise NotSupported(ADB, type="adb")
        items = await self._items.all()
        now = self._now
        wanted = new_share(
            session,
            caller.person or caller.subject,
            body.type,
            body.description or "",
            now=now,
            end=_end(body, items, now),
        )
        share = await self._shares.add(wanted, most=items.share_limit)
        left = share.expires_at - now
        made = SharedAnswer(
            id=share.id,
            type=share.kind,
            url=self._url(share),
            expiry_at=int(share.expires_at.timestamp()),
            expiry_min=int(left / timedelta(minutes=1)),
        )
        return Envelope(metadata=made)

    async def page(
        self,
        caller: Reader,
        *,
        recursion: bool = False,
        limit: Annotated[int, Query(ge=0)] = 0,
        offset: Annotated[int, Query(ge=0, le=1 << 31)] = 0,
        session_id: str | None = None,
    ) -> Envelope[list[ShareAnswer] | list[str]]:
        """The caller's shares, everybody's for who may see them: ids, or all that is known."""
        found, total = await self._shares.page(
            caller.tenant,
            None if caller.may("sessions:admin") else caller.person or caller.subject,
            self._now,
            session_id=session_id,
            limit=min(limit or MOST, MOST),
            offset=offset,
        )
        if recursion:
            return Envelope(metadata=[_answer(item) for item in found], total_size=total)
        return Envelope(metadata=[item.id for item in found], total_size=total)

    async def get(self, share_id: str, caller: Reader) -> Envelope[ShareAnswer]:
        """One share, with its address."""
        share = await self._find(caller, share_id)
        return Envelope(metadata=_answer(share, url=self._url(share)))

    async def change(
        self, share_id: str, caller: Writer, body: SharePatch
    ) -> Envelope[ShareAnswer]:
        """Describe it anew, or let it end at another time."""
        share = await self._find(caller, share_id)
        if body.description is not None:
            share = replace(share, description=body.description)
        if body.expiry_at is not None:
            share = replace(share, expires_at=_moment(body.expiry_at, self._now))
        await self._shares.change(share)
        return Envelope(metadata=_answer(share, url=self._url(share)))

    async def delete(
        self, share_id: str, caller: Writer, response: Response, *, sync: bool = False
    ) -> Envelope[dict[str, Any]]:
        """Revoke it: who is connected by it is cut off."""
        share = await self._find(caller, share_id)
        await self._revoke(share)
        response.status_code = 200 if sync else ACCEPTED
        kind = "sync" if sync else "async"
        return Envelope(type=kind, status_code=response.status_code, metadata={})

    async def connect(
        self,
        session_id: str,
        token: Annotated[str, Query(max_length=256)],
        type: Annotated[str, Query(max_length=32)] = "",  # noqa: A002 - the API's word
    ) -> Envelope[Connection]:
        """Where who has a share connects; its token is the only proof that is asked for."""
        if type == "adb":
            raise NotSupported(ADB, type="adb")
        share, seat = await self._shares.use(session_id, token, self._now)
        session = await self._sessions.store.get(session_id)
        if session is None:
            raise NotFound("There is no such session.")
        _check_running(session)
        place = await self._connector.seat(session, seat, share.kind, share.owner, "slave")
        return Envelope(metadata=place)

    async def _find(self, caller: Principal, share_id: str) -> Share:
        share = await self._shares.get(share_id, self._now)
        is_own = share.owner == (caller.person or caller.subject)
        if caller.tenant != share.tenant or not (is_own or caller.may("sessions:admin")):
            raise NotFound("There is no such share, or it has expired.")
        return share

    def _url(self, share: Share) -> str:
        """Empty where only the gateway that made it can tell its token."""
        if not share.token:
            return ""
        query = urlencode({"type": share.kind, "token": share.token})
        return f"{self._public}/1.0/sessions/{share.session_id}/connect?{query}"


def _answer(share: Share, *, url: str | None = None) -> ShareAnswer:
    return ShareAnswer(
        id=share.id,
        session_id=share.session_id,
        type=share.kind,
        description=share.description,
        created_at=int(share.created_at.timestamp()),
        expiry_at=int(share.expires_at.timestamp()),
        url=url,
    )


def _end(body: SharePost, items: Configuration, now: datetime) -> datetime:
    if body.expiry_at is not None:
        return _moment(body.expiry_at, now)
    lasts = timedelta(minutes=body.expiry_min or items.expiry_min)
    if lasts > LONGEST:
        raise InvalidField("expiry_min", "expiry_min: a share lasts 30 days at most.")
    return now + lasts


def _moment(unix: int, now: datetime) -> datetime:
    least, most = now.timestamp(), (now + LONGEST).timestamp()
    if not least < unix <= most:
        raise InvalidField(
            "expiry_at", "expiry_at: a Unix time (UTC) from now, and at most 30 days ahead."
        )
    return datetime.fromtimestamp(unix, UTC)


def _check_running(session: Session) -> None:
    if session.life.state in ("ending", "ended"):
        raise InvalidInput(f"The session has ended: {message_of(session)}")
