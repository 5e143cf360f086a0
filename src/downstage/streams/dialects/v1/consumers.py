"""Consumers: places in streams that outlive their readers."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Depends, Path, Response

from downstage.contracts.streams import (
    AckAnswer,
    AckRequest,
    ConsumerBody,
    ConsumerList,
    ConsumerView,
    FetchedEntries,
    FetchRequest,
)
from downstage.kernel.errors import InvalidField, NotFound
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams.callers import Guest
from downstage.streams.consumers import Taken
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.dialects.v1.encodings import EntryRow, row_of
from downstage.streams.dialects.v1.views import consumer_view
from downstage.streams.model import EntryId
from downstage.streams.names import check, check_pattern
from downstage.streams.reading import read_cursor
from downstage.streams.service import Streams

__all__ = ["consumer_routes"]

PATH = "/v1/streams-consumers"
Name = Annotated[str, Path(min_length=1, max_length=128, description="Of the consumer.")]


class TakenRow(EntryRow):
    """What `contracts.streams.TakenView` says, made for encoding."""

    deliveries: int = 1


def consumer_routes(streams: Streams, ask: Asker) -> APIRouter:
    """The routes of consumers.

    Args:
        streams: the service.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["streams"])
    guest: Any = Depends(ask)

    async def consumers(who: Guest = guest) -> ConsumerList:
        """Consumers of streams that the caller may read."""
        found = await streams.consumers.list(who.caller)
        return ConsumerList(items=[consumer_view(item) for item in found])

    async def put_consumer(
        name: Name, body: ConsumerBody, response: Response, who: Guest = guest
    ) -> ConsumerView:
        """Make a consumer; making the same again is fine."""
        check(name, "name")
        check_pattern(body.streams, "streams")
        start = _cursor(body.start)
        is_new = await _is_new(streams, who, name)
        made = await streams.consumers.create(
            who.caller,
            name,
            body.streams,
            start=start,
            ack_wait=timedelta(seconds=body.ack_wait),
        )
        response.status_code = 201 if is_new else 200
        return consumer_view(made)

    async def consumer(name: Name, who: Guest = guest) -> ConsumerView:
        """One consumer, where it stands, and how far behind."""
        return consumer_view(await streams.consumers.info(who.caller, check(name, "name")))

    async def delete_consumer(name: Name, who: Guest = guest) -> None:
        """Forget a consumer and its places."""
        await streams.consumers.delete(who.caller, check(name, "name"))

    async def fetch(name: Name, body: FetchRequest, who: Guest = guest) -> Response:
        """Entries that nobody was given yet, or that are due again; those of one name share them.

        Acknowledge each: what is not, is given again.
        """
        taken = await streams.consumers.take(
            who.caller, check(name, "name"), count=body.count, wait_s=body.wait
        )
        kinds = {item.entry.stream: "" for item in taken}
        for stream in kinds:
            kinds[stream] = await _kind(streams, who, stream)

        def work() -> bytes:
            return msgspec.json.encode({"items": [_row(item, kinds) for item in taken]})

        body_ = await anyio.to_thread.run_sync(work)
        return Response(body_, media_type="application/json", headers={"cache-control": "no-store"})

    async def ack(name: Name, body: AckRequest, who: Guest = guest) -> AckAnswer:
        """Acknowledge entries of one stream; with `through` all up to them."""
        ids = [EntryId.parse(item) for item in body.ids]
        acked = await streams.consumers.ack(
            who.caller, check(name, "name"), check(body.stream), ids, through=body.through
        )
        return AckAnswer(acked=acked)

    one = f"{PATH}/{{name}}"
    made: dict[int | str, Any] = {201: {"model": ConsumerView, "description": "A new consumer."}}
    given: dict[int | str, Any] = {200: {"model": FetchedEntries, "description": "Some entries."}}
    router.get(PATH)(consumers)
    router.put(one, responses={**made, **refusals(404, 409)})(put_consumer)
    router.get(one, responses=refusals(404))(consumer)
    router.delete(one, status_code=204, responses=refusals(404))(delete_consumer)
    router.post(f"{one}/fetch", responses={**given, **refusals(404)})(fetch)
    router.post(f"{one}/ack", responses=refusals(404))(ack)
    return router


def _cursor(text: str) -> Any:
    try:
        return read_cursor(text)
    except InvalidField as error:
        raise InvalidField("start", error.detail) from error


def _row(taken: Taken, kinds: dict[str, str]) -> TakenRow:
    row = row_of(taken.entry, kinds[taken.entry.stream] or None)
    return TakenRow(
        row.stream, row.id, row.time, row.size, row.value, row.data, deliveries=taken.deliveries
    )


async def _is_new(streams: Streams, who: Guest, name: str) -> bool:
    try:
        await streams.consumers.info(who.caller, name)
    except NotFound:
        return True
    return False


async def _kind(streams: Streams, who: Guest, name: str) -> str:
    try:
        return (await streams.info(who.caller, name)).spec.content_type or ""
    except NotFound:
        return ""
