"""Documents for administrators: listed, read, written and removed by their versions."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Body, Depends, Header, Path, Query, Response

from downstage.contracts.documents import (
    CollectionList,
    CollectionName,
    CollectionView,
    DocumentPage,
    DocumentRow,
)
from downstage.kernel.errors import InvalidField, NotFound
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams.callers import Guest
from downstage.streams.dialects.ptg.desk import COLLECTIONS, Collection, Desk
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.documents import MAX_ID
from downstage.streams.revising import ANY, Listed, Revision, Seen

__all__ = ["document_routes"]

PATH = "/v1/documents"
MAX_TAGS = 1024
MAX_PAGE = 200
MOST = 2**53
INDENT = 2
TAG = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e]*)"\s*')
Id = Annotated[str, Path(min_length=1, max_length=MAX_ID, description="Of the document.")]
Match = Annotated[str | None, Header(max_length=MAX_TAGS, description="ETag of what was seen.")]
NoneMatch = Annotated[str | None, Header(max_length=MAX_TAGS, description="`*`: it is new.")]
ETAG = {"ETag": {"description": "Of this version.", "schema": {"type": "string"}}}


def document_routes(desk: Desk, ask: Asker) -> APIRouter:
    """The routes of documents.

    Args:
        desk: where they are administered.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["streams"])
    guest: Any = Depends(ask)
    _add_lists(router, desk, guest)
    _add_documents(router, desk, guest)
    return router


def _add_lists(router: APIRouter, desk: Desk, guest: Any) -> None:
    async def collections(who: Guest = guest) -> CollectionList:
        """The kinds of documents there are."""
        found = await desk.collections(who.caller)
        return CollectionList(items=[_collection_view(*item) for item in found])

    async def documents(
        collection: CollectionName,
        who: Guest = guest,
        text: Annotated[str, Query(max_length=256)] = "",
        after: Annotated[int, Query(ge=0, le=MOST)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    ) -> DocumentPage:
        """Documents that contain `text`, in their ids too, in the order they were put in."""
        page = await desk.page(who.caller, collection, text=text, after=after, limit=limit)
        of = COLLECTIONS[collection]
        rows = [_row(of, item) for item in page.items]
        return DocumentPage(items=rows, next=page.next, total=page.total)

    router.get(PATH)(collections)
    router.get(f"{PATH}/{{collection}}")(documents)


def _add_documents(router: APIRouter, desk: Desk, guest: Any) -> None:
    async def document(collection: CollectionName, document_id: Id, who: Guest = guest) -> Response:
        """One document, without its id; the ETag tells its version."""
        found = await desk.get(who.caller, collection, document_id)
        if found is None:
            raise NotFound(f"There is no document {document_id}.")
        return await _answer(found)

    async def put_document(  # noqa: PLR0917 - as FastAPI takes them
        collection: CollectionName,
        document_id: Id,
        body: Annotated[dict[str, Any], Body()],
        who: Guest = guest,
        if_match: Match = None,
        if_none_match: NoneMatch = None,
    ) -> Response:
        """Write a document, which must be as it was seen. Clients hear of it."""
        seen = _seen(if_match, if_none_match)
        made, is_new = await desk.put(who.caller, collection, document_id, body, seen=seen)
        return await _answer(made, 201 if is_new else 200)

    async def delete_document(
        collection: CollectionName, document_id: Id, who: Guest = guest, if_match: Match = None
    ) -> None:
        """Remove a document, which must be as it was seen. Clients hear of it."""
        seen = _seen(if_match, None)
        await desk.remove(who.caller, collection, document_id, seen=seen)

    # An id may have slashes in it: the data server's clients choose them.
    one = f"{PATH}/{{collection}}/{{document_id:path}}"
    changing = refusals(404, 412, 507)
    router.get(one, responses={**_given(200), **refusals(404)}, response_class=Response)(document)
    router.put(one, responses={**_given(200, 201), **changing}, response_class=Response)(
        put_document
    )
    router.delete(one, status_code=204, responses=changing)(delete_document)


def _given(*statuses: int) -> dict[int | str, dict[str, Any]]:
    words = {200: "The document.", 201: "A new document."}
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        status: {"description": words[status], "content": content, "headers": ETAG}
        for status in statuses
    }


def _collection_view(collection: Collection, count: int, size: int) -> CollectionView:
    return CollectionView.model_validate(
        {
            "name": collection.name,
            "title": collection.title,
            "count": count,
            "bytes": size,
            "only_id": collection.only_id,
        }
    )


def _row(collection: Collection, item: Listed) -> DocumentRow:
    return DocumentRow(
        id=item.id,
        name=_plain(collection.name_of(item.body)),
        preview=_plain(item.preview),
        bytes=item.size,
    )


def _plain(text: str) -> str:
    """*text* without halves of characters, which JSON can say and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


async def _answer(revision: Revision, status: int = 200) -> Response:
    body = await anyio.to_thread.run_sync(_pretty, revision.body)
    headers = {"etag": f'"{revision.tag}"', "cache-control": "no-store"}
    return Response(body, status, headers, media_type="application/json")


def _pretty(body: dict[str, Any]) -> bytes:
    """For people, with as few escapes as can be."""
    try:
        text = json.dumps(body, ensure_ascii=False).encode("utf-8")
        return msgspec.json.format(text, indent=INDENT)
    except (UnicodeEncodeError, RecursionError):  # half a character; very deep
        return json.dumps(body).encode("ascii")


def _seen(match: str | None, none_match: str | None) -> Seen:
    """Which versions the caller counts on.

    Raises:
        InvalidField: they do not say, or in no way that is known.
    """
    if none_match is not None:
        if match is not None or none_match.strip() != ANY:
            raise InvalidField("if-none-match", "Only * is known here, and no If-Match beside it.")
        return None
    if match is None:
        raise InvalidField(
            "if-match", "Say which version you saw: its ETag; or If-None-Match: * for a new one."
        )
    if match.strip() == ANY:
        return frozenset({ANY})
    tags = [TAG.fullmatch(part) for part in match.split(",")]
    if not all(tags):
        raise InvalidField("if-match", "These are no ETags.")
    return frozenset(tag[1] for tag in tags if tag)
