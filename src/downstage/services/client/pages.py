"""Lists that come in pages, as one asynchronous iteration.

What follows a page is found in this order:

1. ``Link: <…>; rel="next"`` of the answer, on the same origin;
2. a field ``next``, ``next_cursor``, ``next_page_token`` or ``cursor`` of the body: an address of
   the same origin, or a cursor that goes into the query;
3. for a plain list, or a body with ``total``, where the call named a ``limit``: the next
   ``offset``, until a page is short.

The items are the body itself, or its field ``items``, ``results``, ``data``, ``entries`` or
``values``, or its only list.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from downstage.services.client.asked import Asked
from downstage.services.client.decoding import decode
from downstage.services.client.engine import GOOD, Engine
from downstage.services.client.outgoing import Outgoing
from downstage.services.client.redirects import resolve
from downstage.services.client.target import Target
from downstage.services.errors import BaseServiceError
from downstage.services.transports import Answer

__all__ = ["iterate_pages"]

ITEMS = ("items", "results", "data", "entries", "values")
CURSORS = {
    "next": ("after", "cursor", "page_token", "next", "starting_after", "marker"),
    "next_cursor": ("cursor", "after", "next_cursor", "page_token"),
    "next_page_token": ("page_token", "pageToken", "cursor"),
    "nextPageToken": ("pageToken", "page_token"),
    "cursor": ("cursor", "after"),
}
"""Fields that name what follows → the query parameters that may carry it, the usual one first."""
LINK = re.compile(r"<([^>]*)>([^<]*)")
NEXT = re.compile(
    r";\s*rel\s*=\s*\"?(?:[^\";]*\s)?next(?:\s[^\";]*)?\"?\s*(?:[;,]|$)", re.IGNORECASE
)
MOST_PAGES = 100_000

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Next:
    path: str | None
    """None for the same."""
    query: Query


async def iterate_pages(
    engine: Engine, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
) -> AsyncGenerator[Any]:
    """All items of a list, page by page; each page is asked for when it is needed.

    Raises:
        BaseServiceError: a page could not be had, is no list, or has come before.
    """
    asked = await engine.ask(target, arguments, keywords)
    turn: _Next | None = None
    seen = set[int]()  # hashes: a cursor may be as long as its service likes
    while True:
        out, answer = await _page(engine, asked, turn)
        items = _items(decode(answer))
        if items is None:
            raise _failure(engine, out, "the answer holds no list")
        for item in items:
            yield item
        turn = _following(engine, asked, out, answer, len(items))
        if turn is None:
            return
        if hash(turn) in seen or (turn.path in (None, out.path) and turn.query == out.query):
            raise _failure(engine, out, "the pages go in a circle")
        if len(seen) >= MOST_PAGES:
            raise _failure(engine, out, f"there are more than {MOST_PAGES} pages")
        seen.add(hash(turn))


async def _page(engine: Engine, asked: Asked, turn: _Next | None) -> tuple[Outgoing, Answer]:
    if turn is None:
        out, answer = await engine.answer(asked)
    else:
        out = engine.outgoing(asked)
        out.query = turn.query
        out.path = out.path if turn.path is None else turn.path
        answer = await engine.send(out)
    if answer.status >= GOOD:
        raise engine.failure(out, answer)
    return out, answer


def _items(body: object) -> list[Any] | None:
    if isinstance(body, list):
        return cast("list[Any]", body)
    if not isinstance(body, dict):
        return None
    fields = cast("dict[str, Any]", body)
    for name in ITEMS:
        if isinstance(fields.get(name), list):
            return fields[name]
    lists = [cast("list[Any]", value) for value in fields.values() if isinstance(value, list)]
    return lists[0] if len(lists) == 1 else None


def _following(
    engine: Engine, asked: Asked, out: Outgoing, answer: Answer, count: int
) -> _Next | None:
    body = decode(answer)
    link = _link(answer.headers.get("link", ""))
    if link is not None:
        return _address(engine, out, link)
    fields = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    for name, parameters in CURSORS.items():
        if name in fields:
            cursor = fields[name]
            if cursor is None or cursor in ("", False) or fields.get("has_more") is False:
                return None
            if isinstance(cursor, str) and cursor.startswith(("http://", "https://", "/", "?")):
                return _address(engine, out, cursor)
            parameter = asked.cursor or _parameter(engine, asked, parameters)
            return _Next(None, _with(out.query, parameter, str(cursor)))
    return _by_offset(out, fields, count)


def _address(engine: Engine, out: Outgoing, link: str) -> _Next:
    try:
        hop = resolve(engine.uri, out.path, link)
    except ValueError:
        hop = None
    if hop is None or hop.base is not None:
        raise _failure(engine, out, "the next page is said to be elsewhere")
    return _Next(hop.path, hop.query)


def _link(header: str) -> str | None:
    for address, parameters in LINK.findall(header):
        if NEXT.search(parameters):
            return address
    return None


def _parameter(engine: Engine, asked: Asked, names: tuple[str, ...]) -> str:
    """The query parameter for a cursor: one that the operation knows, else the usual one."""
    operation = engine.operation(asked)
    listed = operation.raw.get("parameters") if operation is not None else None
    entries = cast("list[Any]", listed) if isinstance(listed, list) else []
    known = {
        cast("Mapping[str, Any]", entry).get("name")
        for entry in entries
        if isinstance(entry, Mapping)
    }
    return next((name for name in names if name in known), names[0])


def _by_offset(out: Outgoing, fields: Mapping[str, Any], count: int) -> _Next | None:
    query = dict(out.query)
    limit, offset = query.get("limit", ""), query.get("offset", "0")
    if not (limit.isdigit() and offset.isdigit()) or count == 0:
        return None
    following = int(offset) + count
    total = fields.get("total", fields.get("total_count"))
    is_last = following >= total if isinstance(total, int) else count < int(limit)
    return None if is_last else _Next(None, _with(out.query, "offset", str(following)))


def _with(query: Query, name: str, value: str) -> Query:
    return (*((k, v) for k, v in query if k != name), (name, value))


def _failure(engine: Engine, out: Outgoing, why: str) -> BaseServiceError:
    return BaseServiceError(
        f"{out.method} {out.path or '/'}: {why}", method=out.method, url=engine.url(out)
    )
