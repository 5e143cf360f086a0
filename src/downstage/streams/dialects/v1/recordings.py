"""Recordings by our own API: started, found, read, exported, imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from downstage.contracts.recordings import (
    FileNames,
    LinkBody,
    LinkView,
    RecordingList,
    RecordingPatch,
    RecordingRequest,
    RecordingView,
    TicksView,
)
from downstage.kernel.errors import InvalidField
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams import names
from downstage.streams.callers import Guest
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.model import ZERO, Entry, EntryId
from downstage.streams.recordings.files import Files
from downstage.streams.recordings.importer import Importer
from downstage.streams.recordings.links import Links
from downstage.streams.recordings.lookup import MOST_RANGE
from downstage.streams.recordings.sending import PiecesAnswer, file_answer
from downstage.streams.recordings.service import Recordings
from downstage.streams.recordings.views import recording_view

__all__ = ["import_route", "reading_routes", "recording_routes"]

Name = Annotated[str, Path(min_length=1, max_length=128, description="Of the recording.")]
Joined = Annotated[str, Query(max_length=64 * 129, description="Names, joined by +.")]
MOST_AT_ONCE = 32
MOST_TOLD = 7000
"""Bytes of the header that says which entries are in an answer: common clients take 8 KiB."""
BYTES: dict[int | str, Any] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}},
    206: {"description": "A part of it."},
}
FILES: dict[int | str, Any] = {**refusals(404, 409, 415, 416, 500, 503), **BYTES}
MOST_BUCKETS = 2000
ONE = "/v1/recordings/{name}"


def recording_routes(recordings: Recordings, ask: Asker) -> APIRouter:
    """Starting, stopping and keeping.

    Args:
        recordings: the service.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["recordings"])
    guest: Any = Depends(ask)

    async def list_recordings(
        who: Guest = guest,
        hidden: bool = False,
        pattern: Annotated[str, Query(max_length=128)] = "*",
    ) -> RecordingList:
        """Recordings that the caller may see, the oldest first."""
        matches = names.matcher(pattern)
        found = await recordings.list(who.caller, hidden=hidden)
        chosen = [one for one in found if matches.match(one.name)]
        return RecordingList(items=[recording_view(one, who.caller) for one in chosen])

    async def start(body: RecordingRequest, who: Guest = guest) -> RecordingView:
        """Record streams from now on, until it is stopped."""
        made = await recordings.start(who.caller, body.name, body.streams)
        return recording_view(made, who.caller)

    async def recording(name: Name, who: Guest = guest) -> RecordingView:
        """One recording as it stands."""
        return recording_view(await recordings.get(who.caller, name), who.caller)

    async def stop(name: Name, who: Guest = guest) -> RecordingView:
        """End a recording; the answer comes when its file is closed."""
        return recording_view(await recordings.stop(who.caller, name), who.caller)

    async def change(name: Name, body: RecordingPatch, who: Guest = guest) -> RecordingView:
        """Rename a recording, hide it, show it again."""
        if body.hidden is not None:
            await recordings.hide(who.caller, name, hidden=body.hidden)
        if body.name is not None and body.name != name:
            await recordings.rename(who.caller, name, body.name)
            name = body.name
        return recording_view(await recordings.get(who.caller, name), who.caller)

    async def delete(name: Name, who: Guest = guest) -> None:
        """Remove a recording for good; one that runs is stopped first."""
        await recordings.delete(who.caller, name)

    router.get("/v1/recordings")(list_recordings)
    router.post("/v1/recordings", status_code=201, responses=refusals(404, 409, 429, 507))(start)
    router.get(ONE, responses=refusals(404))(recording)
    router.post(f"{ONE}/stop", responses=refusals(404, 504))(stop)
    router.patch(ONE, responses=refusals(404, 409))(change)
    router.delete(ONE, status_code=204, responses=refusals(404, 504))(delete)
    return router


def reading_routes(recordings: Recordings, files: Files, links: Links, ask: Asker) -> APIRouter:
    """Reading what is in recordings.

    Args:
        recordings: the service.
        files: their files.
        links: makes links.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["recordings"])
    _add_entries(router, recordings, Depends(ask))
    _add_files(router, recordings, files, Depends(ask))
    _add_copies(router, recordings, files, links, Depends(ask))
    return router


def _add_entries(router: APIRouter, recordings: Recordings, guest: Any) -> None:
    async def entries(  # noqa: PLR0917 - as they stand in the query
        name: Name,
        streams: Joined,
        who: Guest = guest,
        at: Annotated[str | None, Query(max_length=41)] = None,
        how: Literal["nearest", "previous"] = "nearest",
        tolerance_ms: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        start: Annotated[str | None, Query(max_length=41)] = None,
        stop: Annotated[str | None, Query(max_length=41)] = None,
        count: Annotated[int, Query(ge=1, le=MOST_RANGE)] = 100,
        reverse: bool = False,
        every: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    ) -> Response:
        """Entries as bytes: one of each stream `at` a time, or those from `start` to `stop`.

        The header `x-offsets` says which they are and where each begins. There may be fewer than
        `count`, where they are large or that header would be: go on after the last one.
        """
        wanted = _split(streams)
        if at is not None:
            moment = EntryId.parse(at)
            held = await recordings.at(
                who.caller, name, wanted, moment, how=how, tolerance_ms=tolerance_ms
            )
            return _framed([entry for entry in held.values() if entry is not None])
        first = ZERO if start is None else EntryId.parse(start)
        last = None if stop is None else EntryId.parse(stop, seq=2**64 - 1)
        return _framed(
            await recordings.range(
                who.caller, name, wanted, first, last, count=count, reverse=reverse, every=every
            )
        )

    async def ticks(
        name: Name,
        streams: Joined,
        who: Guest = guest,
        buckets: Annotated[int, Query(ge=1, le=MOST_BUCKETS)] = 500,
    ) -> TicksView:
        """How many entries lie where, for a bar to scrub on."""
        start, stop, counts = await recordings.ticks(who.caller, name, _split(streams), buckets)
        return TicksView(start_ms=start, stop_ms=stop, counts=counts)

    responses = {**refusals(404, 500), **BYTES}
    router.get(f"{ONE}/entries", responses=responses, response_class=Response)(entries)
    router.get(f"{ONE}/ticks", responses=refusals(404, 500))(ticks)


def _add_files(router: APIRouter, recordings: Recordings, files: Files, guest: Any) -> None:
    async def whole_file(name: Name, request: Request, who: Guest = guest) -> Response:
        """The recording as it lies on the disk: an MCAP file."""
        recording, path = await recordings.file(who.caller, name)
        return await file_answer(request, path, f"{recording.name}.mcap")

    async def list_files(name: Name, who: Guest = guest) -> FileNames:
        """Files of a recording that can be had."""
        return FileNames(items=await files.names(await recordings.get(who.caller, name)))

    async def one_file(name: Name, file: str, request: Request, who: Guest = guest) -> Response:
        """One of them, made now where it has to be."""
        recording = await recordings.get(who.caller, name)
        return await file_answer(request, await files.find(who.caller, recording, file), file)

    raw: dict[str, Any] = {"response_class": Response, "responses": FILES}
    router.get(f"{ONE}/file", **raw)(whole_file)
    router.get(f"{ONE}/files", responses=refusals(404))(list_files)
    router.get(f"{ONE}/files/{{file:path}}", **raw)(one_file)


def _add_copies(
    router: APIRouter, recordings: Recordings, files: Files, links: Links, guest: Any
) -> None:
    async def export(
        name: Name,
        who: Guest = guest,
        streams: Annotated[str | None, Query(max_length=64 * 129)] = None,
    ) -> Response:
        """The recording, or some streams of it, as a zip of the data server's layout."""
        chosen = None if streams is None else _split(streams)
        pieces = await recordings.export(who.caller, name, chosen)
        return PiecesAnswer(pieces, f"{name}.zip")

    async def link(name: Name, body: LinkBody, who: Guest = guest) -> LinkView:
        """A link that opens one file for whoever has it, for a while."""
        recording = await recordings.get(who.caller, name)
        await files.find(who.caller, recording, body.file)
        url, expires = links.make(recording, body.file, body.lifetime_s)
        return LinkView(url=url, expires_at=expires)

    router.get(f"{ONE}/export", responses=FILES, response_class=Response)(export)
    router.post(f"{ONE}/links", status_code=201, responses=refusals(404, 409, 415, 503))(link)


def import_route(importer: Importer, ask: Asker) -> APIRouter:
    """Taking in recordings from outside; its bodies are large.

    Args:
        importer: takes them in.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["recordings"])
    guest: Any = Depends(ask)

    async def take(
        request: Request,
        who: Guest = guest,
        name: Annotated[str | None, Query(max_length=128)] = None,
    ) -> RecordingView:
        """Take a zip of the data server's layout, or an MCAP file, as a recording.

        Its name is the one that is given, or the one that the zip says.
        """
        made = await importer.take(who.caller, request.receive, name)
        return recording_view(made, who.caller)

    body = {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
    router.post(
        "/v1/recordings-imports",
        status_code=201,
        responses=refusals(400, 409, 413, 507),
        openapi_extra={"requestBody": {**body, "required": True}},
    )(take)
    return router


def _split(joined: str) -> tuple[str, ...]:
    found = names.split(joined, "streams")
    if len(found) > MOST_AT_ONCE:
        raise InvalidField("streams", f"Name at most {MOST_AT_ONCE} streams.")
    return found


def _framed(entries: Sequence[Entry]) -> Response:
    """Payloads one after the other, and where each begins: as many as a header can tell."""
    rows: list[str] = []
    payloads: list[bytes] = []
    at = told = 0
    for entry in entries:
        row = f'["{entry.stream}","{entry.id}",{at}]'  # names and ids need no escapes
        told += len(row) + 1
        if told > MOST_TOLD:
            break
        rows.append(row)
        payloads.append(entry.data)
        at += len(entry.data)
    return Response(
        b"".join(payloads),
        media_type="application/octet-stream",
        headers={"x-offsets": f"[{','.join(rows)}]", "cache-control": "private, no-cache"},
    )
