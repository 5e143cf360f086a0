"""Sessions of this dialect: made, joined, listed, deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import anyio
from fastapi import Query, Request, Response

from downstage.auth.principal import Principal
from downstage.gateway.admission import Admission
from downstage.gateway.dialects.anbox.asking import NoAgent, even_screen, order_of, renamed
from downstage.gateway.dialects.anbox.auth import Reader, Somebody, Writer
from downstage.gateway.dialects.anbox.connecting import Connector
from downstage.gateway.dialects.anbox.envelope import Envelope, status_of
from downstage.gateway.dialects.anbox.listed import ListQuery, find, is_hidden
from downstage.gateway.dialects.anbox.models import (
    Deleted,
    DeleteFailure,
    JoinAnswer,
    JoinPost,
    JoinScreen,
    SessionAnswer,
    SessionPost,
    SessionPostAnswer,
    SessionsDelete,
)
from downstage.gateway.dialects.anbox.settings import Items
from downstage.gateway.dialects.anbox.statuses import (
    KEY,
    answer_of,
    is_joinable,
    message_of,
    screen_of,
)
from downstage.gateway.dialects.anbox.statuses import status_of as word_of
from downstage.gateway.dialects.v1 import KeyHeader, order_key
from downstage.gateway.listing import Listing
from downstage.gateway.models import Session
from downstage.gateway.sessions import Facts, Sessions
from downstage.gateway.states import EndAsked
from downstage.kernel.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    PlatformError,
    Unavailable,
)

__all__ = ["SessionRoutes"]

CREATED, ACCEPTED, PARTLY = 201, 202, 207
AT_ONCE = 8
"""Sessions of one request that are deleted at the same time."""
AFTER_END = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Gone:
    """What became of deleting one session."""

    session_id: str
    error: PlatformError | None = None


class SessionRoutes:
    """Handlers.

    Args:
        sessions, admission: of this gateway.
        connector: tells clients where to connect.
        listing: reads lists.
        items: what was set for this dialect.
        end_deadline: how long an end may take.
    """

    def __init__(
        self,
        sessions: Sessions,
        admission: Admission,
        connector: Connector,
        listing: Listing,
        items: Items,
        *,
        end_deadline: timedelta,
    ) -> None:
        self._sessions = sessions
        self._admission = admission
        self._connector = connector
        self._listing = listing
        self._items = items
        self._end_s = (end_deadline + AFTER_END).total_seconds()

    async def create(
        self,
        caller: Writer,
        body: SessionPost,
        request: Request,
        idempotency_key: KeyHeader = None,
    ) -> Envelope[SessionPostAnswer]:
        """Start a session; its address opens the socket of who asks, once."""
        key = order_key(caller, idempotency_key, await request.body())
        order = order_of(
            body,
            caller,
            idle_time_min=(await self._items.all()).idle_time_min,
            address=request.client.host if request.client else None,
            key=key,
        )
        try:
            session = await self._sessions.create(order)
        except PlatformError as error:
            raise self._refusal(error) from error
        place = await self._connector.person(caller, session, "master")
        made = SessionPostAnswer(
            id=session.id,
            region=session.region,
            region_reason=session.region_reason or "",
            status=word_of(session),
            joinable=is_joinable(session),
            url=place.url,
            stun_servers=place.stun_servers,
        )
        return Envelope(status_code=CREATED, metadata=made)

    async def page(
        self, caller: Reader, query: Annotated[ListQuery, Query()]
    ) -> Envelope[list[SessionAnswer] | list[str]]:
        """The caller's sessions, everybody's for who may see them: ids, or all that is known."""
        found, total = await find(self._listing, caller, query, self._sessions.now().wall)
        if query.recursion:
            return Envelope(metadata=[answer_of(item) for item in found], total_size=total)
        return Envelope(metadata=[item.id for item in found], total_size=total)

    async def get(self, session_id: str, caller: Somebody) -> Envelope[SessionAnswer]:
        """One session."""
        return Envelope(metadata=answer_of(await self._find(caller, session_id, "sessions:read")))

    async def join(
        self, session_id: str, caller: Somebody, body: JoinPost | None = None
    ) -> Envelope[JoinAnswer]:
        """Look at a session that runs; who looked at it by this API before is put out."""
        session = await self._find(caller, session_id, "sessions:write")
        _check_joinable(session)
        screen = body.screen if body is not None else None
        session = await self._resize(session, screen or JoinScreen())
        place = await self._connector.person(caller, session, "slave")
        return Envelope(metadata=JoinAnswer.model_validate(place.model_dump()))

    async def delete(
        self,
        session_id: str,
        caller: Somebody,
        *,
        force: bool = False,
        sync: bool = False,
    ) -> Envelope[dict[str, Any]]:
        """End a session, and forget it once it has."""
        await self._delete(caller, session_id, force=force, sync=sync)
        return Envelope(metadata={})

    async def delete_many(
        self,
        caller: Writer,
        body: SessionsDelete,
        response: Response,
        *,
        force: bool = False,
        sync: bool = False,
    ) -> Envelope[Deleted]:
        """End several sessions; what went wrong with some is told for each."""
        ids = list(dict.fromkeys(body.ids))
        done = dict[str, _Gone]()
        limiter = anyio.CapacityLimiter(AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for session_id in ids:
                delete = partial(self._try_delete, caller, session_id, force=force, sync=sync)
                tasks.start_soon(_noted, delete, limiter, done)
        failed = [item for item in map(done.__getitem__, ids) if item.error is not None]
        if len(failed) == len(ids) and failed[0].error is not None:
            raise failed[0].error
        status = PARTLY if failed else (200 if sync else ACCEPTED)
        response.status_code = status
        return Envelope(
            type="sync" if sync else "async",
            status="unknown" if failed else "success",
            status_code=status,
            metadata=Deleted(
                deleted_sessions=[item for item in ids if done[item].error is None],
                errors=[_failure(item) for item in failed],
            ),
        )

    async def _find(self, caller: Principal, session_id: str, scope: str) -> Session:
        """A session that *caller* may see and that is not forgotten."""
        session = await self._admission.session(caller, session_id, scope)
        if is_hidden(session, self._sessions.now().wall):
            raise NotFound(f"The session has ended and is forgotten: {message_of(session)}")
        return session

    async def _resize(self, session: Session, wanted: JoinScreen) -> Session:
        """Remember the picture that the next viewer wants."""
        before = screen_of(session)
        screen = even_screen(wanted.over(before))
        if screen == before:
            return session
        remembered = {**session.extra.get(KEY, {"joinable": True}), "screen": screen.model_dump()}
        changed = await self._sessions.apply(session.id, facts=Facts(extra={KEY: remembered}))
        return changed or session

    async def _delete(self, caller: Principal, session_id: str, *, force: bool, sync: bool) -> None:
        session = await self._find(caller, session_id, "sessions:write")
        extra = {"deleted": True, **({"forced": True} if force else {})}
        asked = EndAsked("stopped", "deleted")
        await self._sessions.apply(session.id, asked, facts=Facts(extra=extra))
        if not sync or force:
            return
        with anyio.move_on_after(self._end_s):
            async for seen in self._sessions.watch(session.id):
                if seen.life.state == "ended":
                    return
            return
        raise DeadlineExceeded(
            "The session is told to end and has not yet. Its instance may be cut off: delete it "
            "with force=true to forget it now; what is left of it is cleared away later."
        )

    async def _try_delete(
        self, caller: Principal, session_id: str, *, force: bool, sync: bool
    ) -> _Gone:
        try:
            await self._delete(caller, session_id, force=force, sync=sync)
        except PlatformError as error:
            return _Gone(session_id, error)
        return _Gone(session_id)

    def _refusal(self, error: PlatformError) -> PlatformError:
        if type(error) is Unavailable and self._sessions.regions.counts().unresponsive:
            return NoAgent(error.detail, retry_after_s=error.retry_after_s)
        return renamed(error)


async def _noted(delete: Any, limiter: anyio.CapacityLimiter, done: dict[str, _Gone]) -> None:
    async with limiter:
        gone: _Gone = await delete()
    done[gone.session_id] = gone


def _failure(gone: _Gone) -> DeleteFailure:
    error = gone.error or NotFound("There is no such session.")
    return DeleteFailure(
        session_id=gone.session_id, error_message=error.detail, status_code=status_of(error)
    )


def _check_joinable(session: Session) -> None:
    if session.life.state in ("ending", "ended"):
        raise InvalidInput(
            f"The session is {word_of(session)} and cannot be joined: {message_of(session)}",
            status=word_of(session),
        )
    if not is_joinable(session):
        raise InvalidInput(
            "The session was made without joinable and has one viewer. Make one with "
            "joinable=true, or share it."
        )
