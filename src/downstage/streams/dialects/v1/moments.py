"""Several streams at one time: what each held then."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Depends, Query, Response

from downstage.contracts.streams import MomentView
from downstage.kernel.errors import NotFound
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams.callers import Guest
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.dialects.v1.encodings import row_of
from downstage.streams.dialects.v1.named import names_of
from downstage.streams.dialects.v1.views import moment, time_of
from downstage.streams.model import Entry
from downstage.streams.reading import How
from downstage.streams.service import Streams

__all__ = ["moment_routes"]

MOST = 64
"""Streams of one question."""


def moment_routes(streams: Streams, ask: Asker) -> APIRouter:
    """The route that aligns streams in time.

    Args:
        streams: the service.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["streams"])
    guest: Any = Depends(ask)

    async def streams_at(
        named: Annotated[str, Query(alias="streams", max_length=MOST * 129)],
        time: Annotated[str, Query(max_length=64)],
        who: Guest = guest,
        how: How = "nearest",
        tolerance_ms: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> Response:
        """What each of some streams (a comma between them) held at a time.

        `time` is milliseconds since 1970, an entry's id, or an ISO date. ``interpolate`` computes
        numbers of JSON and arrays between the entries on both sides. Nothing within the tolerance
        is null.
        """
        names = names_of(named, MOST)
        asked = moment(time, "time")
        found = await streams.at(who.caller, names, asked, how=how, tolerance_ms=tolerance_ms)
        kinds = {name: await _kind(streams, who, name) for name in found}

        def work() -> bytes:
            items = {name: _row(entry, kinds[name]) for name, entry in found.items()}
            return msgspec.json.encode({"time": time_of(asked), "items": items})

        body = await anyio.to_thread.run_sync(work)
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    known: dict[int | str, Any] = {200: {"model": MomentView, "description": "What they held."}}
    router.get("/v1/streams-at", responses={**known, **refusals(404)})(streams_at)
    return router


def _row(entry: Entry | None, kind: str | None) -> Any:
    return None if entry is None else row_of(entry, kind)


async def _kind(streams: Streams, who: Guest, name: str) -> str | None:
    try:
        return (await streams.info(who.caller, name)).spec.content_type
    except NotFound:
        return None
