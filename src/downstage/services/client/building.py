"""From what was asked to the request that goes out: by the description, else by plain rules."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote

from downstage.kernel.logging import get_logger
from downstage.services.client.asked import Asked, Encoded
from downstage.services.client.encoding import (
    FORM,
    JSON,
    add_header,
    encode_form,
    encode_json,
    encode_path,
    encode_query,
    text,
)
from downstage.services.client.multipart import MULTIPART, is_repeatable, multipart
from downstage.services.client.outgoing import Outgoing
from downstage.services.client.retry import IDEMPOTENT
from downstage.services.client.target import Plan
from downstage.services.description import Description, Operation, Step

__all__ = ["IDEMPOTENCY_KEY", "build", "find_operation", "new_key"]

IDEMPOTENCY_KEY = "idempotency-key"
IN_QUERY = frozenset({"GET", "HEAD"})
NONE = frozenset[str]()
log = get_logger(__name__)


def build(
    asked: Asked, description: Description | None, headers: dict[str, str], *, keyed: bool
) -> Outgoing:
    """The request for *asked*, beginning with *headers*; *keyed* gives a POST a key.

    Raises:
        AmbiguousPath: two paths of *description* fit.
        ValueError, TypeError: a value that cannot be sent.
    """
    plan, taken = _understand(asked, description)
    out = Outgoing(plan.method, plan.path, (), headers)
    if asked.begun is not None:
        # Of what is sent for it later, such as further pages, each has its own time.
        out.begun, asked.begun = asked.begun, None
    if plan.operation is not None:
        out.route = plan.operation.path
    if asked.raw is not None:
        out.query = asked.raw.query
        _put_body(out, asked.raw.content)
    elif asked.keywords or asked.body is not None:
        _place(out, asked, plan, taken)
    if asked.headers:
        for name, value in asked.headers.items():
            add_header(out.headers, name, value)
    _settle_repeats(out, asked, keyed=keyed)
    return out


def find_operation(asked: Asked, description: Description | None) -> Operation | None:
    """The operation that *asked* means, where *description* knows it."""
    return _understand(asked, description)[0].operation


def _understand(asked: Asked, description: Description | None) -> tuple[Plan, frozenset[str]]:
    """The plan for this form of call, and the keywords that became segments of its path."""
    target = asked.target
    if target.known_to is not description:
        target.plans.clear()
        target.known_to = description
    key = None
    if not asked.segments:
        # A call without `__method__` is found by its keywords alone, see `Engine`.
        names = tuple(asked.keywords)
        key = names if asked.method is None else (None, asked.method, *names)
    elif len(asked.segments) == 1 and asked.method is None and asked.raw is None:
        # The same id again: who watches something asks for it more than once.
        key = (asked.segments[0], Ellipsis, *asked.keywords)
    plan = target.plans.get(key) if key is not None else None
    if plan is not None:
        return plan, NONE
    plan, taken = _find(asked, description)
    if not taken and key is not None:
        plan = replace(
            plan,
            simply=_simple_place(plan, asked.keywords),
            is_keyed=plan.method not in IDEMPOTENT,
        )
    if key is not None and not taken:
        target.remember(key, plan)
    return plan, taken


def _find(asked: Asked, description: Description | None) -> tuple[Plan, frozenset[str]]:
    target = asked.target
    verb = asked.method.lower() if asked.method else target.verb
    match = None
    if description is not None:
        steps = (*target.steps, *(Step(segment, literal=True) for segment in asked.segments))
        match = description.find(steps, verb, asked.keywords)
    if match is not None:
        method = asked.method or (verb or match.method).upper()
        path = encode_path(match.segments)
        plan = Plan(method, path, match.operation, _form(match.operation))
        taken = match.path_keywords
    else:
        path = target.path + encode_path(asked.segments)
        plan, taken = Plan((verb or "post").upper(), path, None), NONE
    if verb is None:
        log.debug("call.verb_chosen", method=plan.method, path=plan.path)
    return plan, taken


def _simple_place(plan: Plan, keywords: dict[str, Any]) -> str:
    if not keywords:
        return "nowhere"
    query, body = (keywords, {}) if plan.method in IN_QUERY else ({}, keywords)
    if plan.operation is not None:
        placed = plan.operation.place(keywords)
        query, body = placed.query, placed.body
    if list(query) == list(keywords):
        return "query"
    return "json" if list(body) == list(keywords) and not plan.form else ""


def _form(operation: Operation | None) -> str:
    """The media type of a form that *operation* wants; "" where it takes JSON."""
    body = operation.raw.get("requestBody") if operation else None
    kinds = cast("Any", body).get("content") if isinstance(body, Mapping) else None
    if not isinstance(kinds, Mapping) or JSON in kinds:
        return ""
    return next((kind for kind in (FORM, MULTIPART) if kind in kinds), "")


def _place(out: Outgoing, asked: Asked, plan: Plan, taken: frozenset[str]) -> None:
    """Put keywords where the operation wants them."""
    keywords = asked.keywords
    if taken:
        keywords = {k: v for k, v in keywords.items() if k not in taken}
    query, body = keywords, dict[str, Any]()
    if plan.operation is not None:
        placed = plan.operation.place(keywords)
        query, body = placed.query, placed.body
        for name, value in placed.headers.items():
            if value is not None:
                add_header(out.headers, name, text(value))
        _put_cookies(out, placed.cookies)
    elif plan.method not in IN_QUERY:
        query, body = dict[str, Any](), keywords
    if asked.body is not None:
        # The body was given whole: what else was said can only be a query.
        query = {**query, **body}
        _put_body(out, asked.body)
    elif body:
        _put_body(out, _encode(body, plan.form))
    if query:
        out.query = encode_query(query)


def _encode(body: dict[str, Any], form: str) -> Encoded:
    if form == FORM:
        encoded = encode_form(body)
        return Encoded(encoded, FORM, len(encoded))
    if form == MULTIPART:
        parts = multipart(body)
        return Encoded(parts, parts.kind, parts.size)
    encoded = encode_json(body)
    return Encoded(encoded, JSON, len(encoded))


def _put_body(out: Outgoing, content: Encoded) -> None:
    out.body = content.body
    if content.kind:
        out.headers["content-type"] = content.kind
    if content.size is not None and not isinstance(content.body, bytes):
        out.headers["content-length"] = str(content.size)


def _put_cookies(out: Outgoing, cookies: Mapping[str, Any]) -> None:
    given = {name: text(value) for name, value in cookies.items() if value is not None}
    if given:
        line = "; ".join(f"{quote(name)}={quote(value)}" for name, value in given.items())
        add_header(out.headers, "cookie", line)


def _settle_repeats(out: Outgoing, asked: Asked, *, keyed: bool) -> None:
    out.is_replayable = isinstance(out.body, bytes) or is_repeatable(out.body)
    if out.method in IDEMPOTENT:
        out.is_repeatable = out.is_replayable
    elif asked.idempotency_key is not None:
        add_header(out.headers, IDEMPOTENCY_KEY, asked.idempotency_key)
        out.is_repeatable = out.is_replayable
    elif keyed and not (asked.headers and IDEMPOTENCY_KEY in map(str.lower, asked.headers)):
        # Of ours the service may know nothing: it makes a repeat harmless, never permitted.
        out.headers[IDEMPOTENCY_KEY] = asked.made_key or new_key()


def new_key() -> str:
    """An idempotency key that nobody else has."""
    return secrets.token_hex(16)
