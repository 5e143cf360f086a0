"""Ids by which the parts of one request are found again, and headers that only proxies may set."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from downstage.kernel.ids import new_uuid
from downstage.services.client.propagation import TIMEOUT, begin_handling, deadline, end_handling
from downstage.services.forwarded import VETTED, is_forged

__all__ = ["REQUEST_ID", "REQUEST_ID_HEADER", "RequestId"]

REQUEST_ID = "x-request-id"
REQUEST_ID_HEADER = "downstage.request_id_header"
"""Key of the scope: the header's name, where it is another."""
GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
MILLISECONDS = re.compile(rb"[0-9]{1,9}")
Header = tuple[bytes, bytes]
TIMEOUT_HEADER = TIMEOUT.encode()
NO_DEADLINE: AbstractContextManager[None] = nullcontext()


class RequestId:
    """Every request has an id: the caller's where it is well formed, else a new one.

    Handlers find it in the request's header, callers in the answer's. A W3C ``traceparent`` is
    bound to the log as well, and calls that a handler makes end when its caller stops waiting
    (``x-request-timeout-ms``). Headers by which proxies say who asks (`forwarded`) are taken out
    here, unless a server has vetted them.
    """

    def __init__(self, app: ASGIApp, header: str = REQUEST_ID) -> None:
        self._app = app
        self._name = header.lower()
        self._header = self._name.encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bind the id to the log context and put it on the answer."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        facts, patience = self._read(scope)
        tag = (self._header, facts["request_id"].encode())

        async def tagged(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message["headers"] = [*cast("list[Header]", message.get("headers", [])), tag]
            await send(message)

        bound = structlog.contextvars.bind_contextvars(**facts)
        handled = begin_handling(facts)
        try:
            with patience:
                await self._app(scope, receive, tagged)
        finally:
            end_handling(handled)
            structlog.contextvars.reset_contextvars(**bound)

    def _read(self, scope: Scope) -> tuple[dict[str, str], AbstractContextManager[None]]:
        """What is bound to the log, and what the caller's patience leaves to calls on the way.

        The scope's headers are put right meanwhile.
        """
        given, trace, vetted, patience = b"", None, VETTED in scope, NO_DEADLINE
        kept = list[Header]()
        for header in cast("list[Header]", scope["headers"]):
            name = header[0]
            if name == self._header:
                given = given or header[1]
                continue
            if not vetted and is_forged(name):
                continue
            if name == b"traceparent":
                trace = TRACE.fullmatch(header[1])
            elif name == TIMEOUT_HEADER and MILLISECONDS.fullmatch(header[1]):
                patience = deadline(int(header[1]) / 1e3)
            kept.append(header)
        text = given.decode("latin-1")
        request_id = text if GOOD_ID.fullmatch(text) else new_uuid()
        kept.append((self._header, request_id.encode()))
        scope["headers"] = kept
        scope["request_id"] = request_id
        if self._name != REQUEST_ID:
            scope[REQUEST_ID_HEADER] = self._name
        facts = {"request_id": request_id}
        if trace is not None:
            facts |= {
                "trace_id": trace[1].decode(),
                "parent_span_id": trace[2].decode(),
                "trace_flags": trace[3].decode(),
            }
        return facts, patience
