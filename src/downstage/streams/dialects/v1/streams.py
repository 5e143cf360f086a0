"""Streams themselves: listed, described, deleted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Response

from downstage.contracts.streams import (
    MAX_PAGE,
    StreamNames,
    StreamPage,
    StreamPatch,
    StreamSpecBody,
    StreamView,
)
from downstage.kernel.errors import NotFound
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams.callers import Guest
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.dialects.v1.judge import Judge
from downstage.streams.dialects.v1.validation import check_schema
from downstage.streams.dialects.v1.views import changes_of, stream_view
from downstage.streams.names import check, check_pattern
from downstage.streams.service import Streams

__all__ = ["Name", "stream_routes"]

Name = Annotated[str, Path(min_length=1, max_length=128, description="Of the stream.")]
T = TypeVar("T")
CHANGING: dict[str, Any] = {"responses": refusals(404, 409, 413, 507)}
MADE: dict[int | str, Any] = {201: {"model": StreamView, "description": "A new stream."}}


def stream_routes(streams: Streams, ask: Asker, judge: Judge) -> APIRouter:
    """The routes of streams.

    Args:
        streams: the service.
        ask: who calls.
        judge: of schemas.
    """
    router = ServiceAPIRouter(tags=["streams"])
    guest: Any = Depends(ask)

    async def list_streams(  # noqa: PLR0917 - as they stand in the query
        who: Guest = guest,
        pattern: Annotated[str, Query(max_length=128)] = "*",
        details: bool = False,
        everything: bool = False,
        after: Annotated[str | None, Query(max_length=128)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    ) -> StreamPage | StreamNames:
        """Streams that the caller may read and that hold entries, by name.

        With `everything` also those that were only described.
        """
        check_pattern(pattern)
        if not details:
            names = await streams.list(who.caller, pattern=pattern, everything=everything)
            page, more = _page(names, names, after, limit)
            return StreamNames(items=page, next=more)
        found = await streams.list(who.caller, pattern=pattern, details=True, everything=everything)
        infos, more = _page(found, [info.name for info in found], after, limit)
        return StreamPage(items=[stream_view(info) for info in infos], next=more)

    async def stream(name: Name, who: Guest = guest) -> StreamView:
        """One stream as it stands."""
        return stream_view(await streams.info(who.caller, check(name)))

    async def put_stream(
        name: Name, body: StreamSpecBody, response: Response, who: Guest = guest
    ) -> StreamView:
        """Describe a stream; what is absent goes back to its default. Entries are left alone."""
        await check_schema(judge, body.schema_)
        is_new = not await _exists(streams, who, check(name))
        info = await streams.describe(who.caller, name, changes_of(body), replace=True)
        response.status_code = 201 if is_new else 200
        return stream_view(info)

    async def patch_stream(name: Name, body: StreamPatch, who: Guest = guest) -> StreamView:
        """Change what a stream is described as; what is absent stays."""
        await check_schema(judge, body.schema_)
        return stream_view(await streams.describe(who.caller, check(name), changes_of(body)))

    async def delete_stream(name: Name, who: Guest = guest) -> None:
        """Delete a stream, its entries and its description."""
        gone = await streams.delete(who.caller, check(name))
        if not (gone.existed or gone.described):
            raise NotFound(f"There is no stream {name}.")

    router.get("/v1/streams")(list_streams)
    one = "/v1/streams/{name}"
    router.get(one, responses=refusals(404))(stream)
    router.put(one, responses={**CHANGING["responses"], **MADE})(put_stream)
    router.patch(one, **CHANGING)(patch_stream)
    router.delete(one, status_code=204, responses=refusals(404))(delete_stream)
    return router


async def _exists(streams: Streams, who: Guest, name: str) -> bool:
    try:
        await streams.info(who.caller, name)
    except NotFound:
        return False
    return True


def _page(
    items: Sequence[T], names: list[str], after: str | None, limit: int
) -> tuple[list[T], str | None]:
    """Those whose *names* follow *after*, and what the next page follows."""
    start = 0 if after is None else bisect_right(names, after)
    stop = start + limit
    return list(items[start:stop]), names[stop - 1] if stop < len(names) else None
