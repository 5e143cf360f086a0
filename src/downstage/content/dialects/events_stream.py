"""Events of the tree for browsers and curl: server-sent, resumable by their ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from downstage.auth.principal import Principal
from downstage.content.dialects.forms import event_json
from downstage.content.dialects.routes import Reader
from downstage.content.dialects.standing import CHECK_S, Proving, Standing
from downstage.content.directory import Callers
from downstage.content.events import Subscription
from downstage.content.model import Caller, Scope
from downstage.content.service import Content
from downstage.contracts.files import CAPABILITY, MAX_PATH
from downstage.kernel.errors import TooMany
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["EventRoutes"]

HEARTBEAT_S = 15
SEND_S = 30.0
"""How long a reader may take nothing at all."""
MAX_SEQ = 2**53
MOST = 2000
"""Streams at once."""
MOST_OF_ONE = 100
"""Streams of one person at once."""


class EventStream(EventSourceResponse):
    """The same, with its type said where the description is made."""

    media_type = "text/event-stream"


class EventRoutes:
    """Server-sent events.

    Args:
        content: the service.
        callers: makes callers of principals.
        proving: of the platform.
    """

    def __init__(self, content: Content, callers: Callers, proving: Proving) -> None:
        self._content = content
        self._callers = callers
        self._standing = Standing(proving, callers)
        self._open: dict[Subscription, tuple[Principal, Caller]] = {}

    def router(self) -> APIRouter:
        """The route."""
        router = ServiceAPIRouter(tags=["files"])
        told: dict[str, Any] = {"responses": refusals(400, 404, 429), "response_class": EventStream}
        router.get("/v1/files-events", **told)(self.events)
        return router

    async def run(self) -> None:
        """`check` now and then, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            self.check()

    def check(self) -> None:
        """End streams of those who would not be let in now, or not with the same rights."""
        for events, (principal, caller) in list(self._open.items()):
            if self._standing.now(principal, caller) != caller:
                events.close()

    async def events(
        self,
        who: Reader,
        path: Annotated[str, Query(max_length=MAX_PATH)],
        scope: Scope = "tree",
        since: Annotated[int | None, Query(ge=0, le=MAX_SEQ)] = None,
        last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    ) -> Response:
        """What happens at a path, as it happens; ids are the seq to go on from.

        An event ``relist`` says that some were lost: list again, and go on from its seq.
        """
        caller = await self._callers.of(who)
        if last_event_id is not None and last_event_id.isdecimal():
            since = min(int(last_event_id[:16]), MAX_SEQ)
        self._refuse_more(caller)
        await self._content.stat(caller, path)
        return EventStream(
            self._events(who, caller, path, scope, since),
            ping=HEARTBEAT_S,
            send_timeout=SEND_S,
            headers={"cache-control": "no-store", CAPABILITY: "1"},
        )

    def _refuse_more(self, caller: Caller) -> None:
        who = (caller.tenant, caller.subject)
        of_one = sum((one.tenant, one.subject) == who for _, one in self._open.values())
        if len(self._open) >= MOST or of_one >= MOST_OF_ONE:
            raise TooMany("Too many streams of events are open.", retry_after_s=5)

    async def _events(
        self, who: Principal, caller: Caller, path: str, scope: Scope, since: int | None
    ) -> AsyncIterator[ServerSentEvent]:
        async with self._content.subscribe(caller, path, scope, since=since) as events:
            self._open[events] = (who, caller)
            try:
                seq = await self._content.seq() if since is None else since
                yield ServerSentEvent("{}", event="ready", id=str(seq))
                async for event in events:
                    text = event_json(event).decode()
                    yield ServerSentEvent(text, event=event.kind, id=str(event.seq))
            finally:
                del self._open[events]
