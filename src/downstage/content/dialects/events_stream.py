"""Events of the tree for browsers and curl: server-sent, resumable by their ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from downstage.content.dialects.forms import event_json
from downstage.content.dialects.routes import Reader
from downstage.content.directory import Callers
from downstage.content.model import Caller, Scope
from downstage.content.service import Content
from downstage.contracts.files import CAPABILITY, MAX_PATH
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["EventRoutes"]

HEARTBEAT_S = 15
MAX_SEQ = 2**53


class EventStream(EventSourceResponse):
    """The same, with its type said where the description is made."""

    media_type = "text/event-stream"


class EventRoutes:
    """Server-sent events.

    Args:
        content: the service.
        callers: makes callers of principals.
    """

    def __init__(self, content: Content, callers: Callers) -> None:
        self._content = content
        self._callers = callers

    def router(self) -> APIRouter:
        """The route."""
        router = ServiceAPIRouter(tags=["files"])
        told: dict[str, Any] = {"responses": refusals(400, 404), "response_class": EventStream}
        router.get("/v1/files-events", **told)(self.events)
        return router

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
        await self._content.stat(caller, path)
        return EventStream(
            self._events(caller, path, scope, since),
            ping=HEARTBEAT_S,
            headers={"cache-control": "no-store", CAPABILITY: "1"},
        )

    async def _events(
        self, caller: Caller, path: str, scope: Scope, since: int | None
    ) -> AsyncIterator[ServerSentEvent]:
        async with self._content.subscribe(caller, path, scope, since=since) as events:
            seq = await self._content.seq() if since is None else since
            yield ServerSentEvent("{}", event="ready", id=str(seq))
            async for event in events:
                text = event_json(event).decode()
                yield ServerSentEvent(text, event=event.kind, id=str(event.seq))
