"""``GET`` and ``POST /data``: entries over HTTP. The sockets at these paths are elsewhere."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from downstage.streams import names
from downstage.streams.dialects.ptg.answering import converted, gather, header_of, last_ids
from downstage.streams.dialects.ptg.answers import Json
from downstage.streams.dialects.ptg.cursors import MAX_TEXT, read_cursors
from downstage.streams.dialects.ptg.dialect import Dialect, SignedIn
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.dialects.ptg.parts import boundary_of, cut, deal
from downstage.streams.dialects.ptg.sending import LargeAnswers, Pieces
from downstage.streams.service import Streams

__all__ = ["OVERHEAD", "data_routes"]

OVERHEAD = 2 << 20
"""Bytes of a form beside its entries: boundaries and headers of as many as there may be."""
Text = Annotated[str | None, Query(max_length=64)]
Places = Annotated[str, Query(max_length=MAX_TEXT)]
Count = Annotated[int, Query(ge=1)]
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "entries": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            }
        },
    }
}
BYTES = {
    200: {
        "description": "The entries, one after the other; `entry-offset` says where each begins.",
        "content": {"application/octet-stream": {"schema": {"type": "string"}}},
    }
}


def data_routes(door: Door, streams: Streams, *, max_message: int) -> Dialect:
    """The routes; their bodies may have *max_message* and `OVERHEAD` bytes."""
    dialect, large = Dialect(door, "data"), LargeAnswers()

    async def get_entries(  # noqa: PLR0917 - as they stand in the query
        stream_id: str,
        caller: SignedIn,
        last_entry_id: Places = "*",
        count: Count = 1,
        input: Text = None,  # noqa: A002 - its name in the query
        output: Text = None,
    ) -> Response:
        """Entries that are stored: the newest, or those after an id; never waits."""
        large.refuse_more(caller)
        if output is not None or input is not None:
            _check_forms(output, input)
        cursors = read_cursors(names.split(stream_id), last_entry_id)
        found = await gather(streams, caller, cursors, count)
        entries = await converted(streams, caller, found, output=output, source=input)
        offsets = header_of(entries)
        headers = {
            "entry-offset": offsets,
            "x-offsets": offsets,
            "x-last-entry-id": last_ids(cursors, entries),
            "x-content-type-options": "nosniff",
        }
        return Pieces([data for _, _, data in entries], headers, caller, large)

    async def add_entries(
        stream_id: str, request: Request, caller: SignedIn, parse_meta: bool = False
    ) -> Json:
        """Add entries, all or none: parts named `entries`, or after their stream."""
        boundary = boundary_of(request.headers.get("content-type", ""))
        parts = await cut(request.stream(), boundary, most=max_message)
        receipt = await streams.append(caller, deal(stream_id, parts, by_time=parse_meta))
        return Json([id_.decode("ascii") for id_ in receipt.ids])

    dialect.serve("GET", "/data/{stream_id}", get_entries, 404, 413, 415, 429, responses=BYTES)
    dialect.serve(
        "POST", "/data/{stream_id}", add_entries, 400, 409, 413, 504, 507, openapi_extra=FORM
    )
    return dialect


def _check_forms(output: str | None, source: str | None) -> None:
    from downstage.media.images import check

    check(output, source)
