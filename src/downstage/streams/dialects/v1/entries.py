"""Entries of one stream: pushed, read, removed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from downstage.contracts.streams import (
    MAX_PAGE,
    DurabilityWord,
    EntriesRemoved,
    EntriesStored,
    EntryPage,
)
from downstage.kernel.errors import InvalidField, NotFound
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams.callers import Guest
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.dialects.v1.encodings import IN_THREAD, as_bytes, as_json, as_parts
from downstage.streams.dialects.v1.judge import Judge
from downstage.streams.dialects.v1.pushed import (
    Form,
    content_type_of,
    entry_id,
    form_of,
    payloads,
)
from downstage.streams.dialects.v1.reader import Range, Reader
from downstage.streams.dialects.v1.streams import Name
from downstage.streams.dialects.v1.validation import check_entries
from downstage.streams.dialects.v1.views import first_id, last_id
from downstage.streams.model import Durability, EntryId, Right, StreamSpec
from downstage.streams.names import check
from downstage.streams.service import Streams

__all__ = ["entry_routes", "push_route"]

PATH = "/v1/streams/{name}/entries"
BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
Text = Annotated[str | None, Query(max_length=64)]
Id = Annotated[str | None, Query(max_length=42, description="ms or ms-seq")]
FOUND: dict[int | str, Any] = {
    200: {
        "model": EntryPage,
        "description": "A page; the bytes of one entry, or many parts, where Accept asks so.",
        "content": {"application/json": {}, "multipart/mixed": BYTES, "*/*": BYTES},
    },
    **refusals(404),
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One entry as it is, or, as `form` or the type says, many.",
        "content": {
            "application/octet-stream": BYTES,
            "application/x-ndjson": BYTES,
            "application/json": {"schema": {}},
            "*/*": BYTES,
        },
    }
}


def push_route(streams: Streams, ask: Asker, judge: Judge) -> APIRouter:
    """The route that takes entries: one of its own, as its bodies are large."""
    router = ServiceAPIRouter(tags=["streams"])
    guest: Any = Depends(ask)

    async def push_entries(  # noqa: PLR0917 - as they stand in the query
        name: Name,
        request: Request,
        response: Response,
        who: Guest = guest,
        form: Form | None = None,
        id: Annotated[str | None, Query(max_length=42)] = None,  # noqa: A002 - its name there
        validate: bool = False,
        want: DurabilityWord | None = None,
        idempotency_key: Annotated[str | None, Header(max_length=128)] = None,
    ) -> EntriesStored:
        """Store one entry (the body as it is), or many: JSON lines, or a JSON array.

        All of them are stored, or none. The same `Idempotency-Key` again, within two minutes,
        stores nothing and answers the same ids (200). A stream that is not there yet is made, and
        described by the body's type. With `validate` entries must be what the stream's type and
        schema say.
        """
        check(name)
        content_type = request.headers.get("content-type", "")
        how = form_of(form, content_type)
        body = await request.body()
        if len(body) < IN_THREAD:
            given = payloads(body, how)
        else:
            given = await anyio.to_thread.run_sync(payloads, body, how)
        if id is not None and len(given) > 1:
            raise InvalidField("id", "An id is for one entry: leave it away for many.")
        await _settle_type(streams, who, name, content_type_of(content_type, how))
        if validate:
            await check_entries(judge, await _spec(streams, who, name), given)
        receipt = await streams.append(
            who.caller,
            [(name, entry_id(id), payload) for payload in given],
            key=idempotency_key or None,
            want=None if want is None else Durability(want),
        )
        response.status_code = 200 if receipt.repeated else 201
        return EntriesStored(
            ids=[item.decode("ascii") for item in receipt.ids],
            durability=receipt.durability.value,
            repeated=receipt.repeated,
        )

    again: dict[int | str, Any] = {200: {"model": EntriesStored, "description": "As before."}}
    router.post(
        PATH,
        status_code=201,
        responses={**again, **refusals(404, 409, 507)},
        openapi_extra=BODY,
    )(push_entries)
    return router


def entry_routes(streams: Streams, ask: Asker) -> APIRouter:
    """The routes that read and remove entries.

    Args:
        streams: the service.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["streams"])
    guest: Any = Depends(ask)

    async def read_entries(  # noqa: PLR0917 - as they stand in the query
        name: Name,
        who: Guest = guest,
        after: Id = None,
        until: Id = None,
        since: Annotated[str | None, Query(alias="from", max_length=64)] = None,
        to: Text = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        order: Literal["oldest", "newest"] = "oldest",
        every: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        max_fps: Annotated[float | None, Query(gt=0, le=10_000)] = None,
        accept: Annotated[str, Header(max_length=256)] = "*/*",
    ) -> Response:
        """Entries `after` an id and `until` one, `from` a time and `to` one, at most `limit`.

        JSON as a rule. ``Accept: multipart/mixed`` gives them as they are, each with its head; the
        stream's own type, or application/octet-stream, the bytes of the first one alone. `every`
        takes one of so many, `max_fps` so many a second by their ids.
        """
        reader = Reader(streams, who, check(name))
        spec = await reader.spec()
        kind = spec.content_type
        bounds = (first_id(after, since), last_id(until, to))
        wanted = Range(*bounds, limit, order == "newest", every, max_fps)
        match _asked(accept, kind):
            case "parts":
                return as_parts(reader.pieces(wanted), kind)
            case "bytes":
                async for piece in reader.pieces(Range(*bounds, 1, order == "newest")):
                    return as_bytes(piece[0], kind)
                raise NotFound("There is no such entry.")
            case _:
                return await as_json(*_page(await reader.page(wanted), kind))

    async def read_entry(
        name: Name,
        entry_id: Annotated[str, Path(max_length=42, description="An id, newest, or oldest.")],
        who: Guest = guest,
    ) -> Response:
        """The bytes of one entry, as what its stream says that it is."""
        reader = Reader(streams, who, check(name))
        spec = await reader.spec()
        return as_bytes(await reader.one(entry_id), spec.content_type)

    async def remove_entries(
        name: Name,
        who: Guest = guest,
        before: Id = None,
        keep: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> EntriesRemoved:
        """Remove the oldest entries: all but `keep` of them, or those `before` an id."""
        if before is None and keep is None:
            raise InvalidField("keep", "Say how many to keep, or before which id they go.")
        gone = await streams.trim(
            who.caller,
            check(name),
            count=keep,
            before=None if before is None else EntryId.parse(before),
        )
        return EntriesRemoved(removed=gone)

    one: dict[int | str, Any] = {
        200: {"description": "The bytes of the entry.", "content": {"*/*": BYTES}},
        **refusals(404),
    }
    router.get(PATH, responses=FOUND)(read_entries)
    router.delete(PATH, responses=refusals(404))(remove_entries)
    router.get(f"{PATH}/{{entry_id}}", responses=one, response_class=Response)(read_entry)
    return router


def _page(found: tuple[list[Any], str | None], kind: str | None) -> tuple[Any, Any, Any]:
    return found[0], kind, found[1]


def _asked(accept: str, kind: str | None) -> Literal["json", "bytes", "parts"]:
    """What is asked for, by the first range of Accept that names something we have."""
    for item in accept.lower().split(","):
        wanted = item.partition(";")[0].strip()
        if wanted in ("multipart/mixed", "multipart/*"):
            return "parts"
        if wanted in ("application/json", "application/*", "*/*"):
            return "json"
        if wanted == "application/octet-stream" or (kind and _fits(wanted, kind)):
            return "bytes"
    return "json"


def _fits(wanted: str, kind: str) -> bool:
    plain = kind.partition(";")[0].strip().lower()
    return wanted == plain or (wanted.endswith("/*") and plain.startswith(wanted[:-1]))


async def _spec(streams: Streams, who: Guest, name: str) -> StreamSpec:
    try:
        return (await streams.info(who.caller, name)).spec
    except NotFound:
        return StreamSpec()


async def _settle_type(streams: Streams, who: Guest, name: str, kind: str | None) -> None:
    """Describe a stream that holds nothing yet by the type of its first entry.

    Who may push and not read cannot tell whether it does: the description is left alone.
    """
    if kind is None or Right.READ not in who.caller.rights(name):
        return
    try:
        info = await streams.info(who.caller, name)
        is_settled = info.added > 0 or info.spec.content_type is not None
    except NotFound:
        is_settled = False
    if not is_settled:
        await streams.describe(who.caller, name, {"content_type": kind})
