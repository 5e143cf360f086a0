"""``local://``: a full ASGI call in this process, through middleware, authority and all."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, cast
from urllib.parse import unquote, urlencode, urlsplit

import anyio
from starlette.types import ASGIApp

from downstage.kernel.logging import get_logger
from downstage.services import registry
from downstage.services.errors import ServiceUnavailableError
from downstage.services.transports.transport import MAX_ANSWER, Answer, Call

__all__ = ["LocalTransport"]

log = get_logger(__name__)


class LocalTransport:
    """Calls an ASGI application directly; nothing is kept between calls."""

    def __init__(self, uri: str, app: ASGIApp | None) -> None:
        parts = urlsplit(uri)
        self._app = app
        self._name = parts.netloc
        self._base = parts.path.rstrip("/")

    async def request(self, call: Call) -> Answer:
        """Run the application for *call*; a handler's exception is its 500 answer."""
        app, scope = self._target(), self._scope(call)
        exchange = _Exchange(call)
        with anyio.move_on_after(call.timeout_s) as deadline:
            try:
                await app(scope, exchange.receive, exchange.send)
            except Exception:  # the edge: over HTTP the server would do this
                # Starlette answers 500 and raises on, so that servers may log: it has been logged.
                if not exchange.is_complete:
                    log.exception("local_call.crashed", path=call.path)
        if deadline.cancelled_caught:
            raise self._failure(call, f"no answer within {call.timeout_s:g} s")
        if exchange.is_too_large:
            raise self._failure(call, f"the answer is larger than {MAX_ANSWER} bytes")
        if exchange.status == 0:
            return Answer(500, {"content-type": "text/plain"}, b"Internal Server Error")
        if not exchange.is_complete:
            raise self._failure(call, "the answer broke off")
        return exchange.answer()

    def _failure(self, call: Call, why: str) -> ServiceUnavailableError:
        return ServiceUnavailableError(
            f"{call.method} {call.path or '/'}: {why}",
            method=call.method,
            url=f"local://{self._name}{self._base}{call.path}",
        )

    def _target(self) -> ASGIApp:
        return self._app or registry.find_app(self._name)

    def _scope(self, call: Call) -> dict[str, Any]:
        raw = self._base + call.path or "/"
        host = (self._name or "local").encode()
        headers = [(b"host", host)]
        headers += [
            (k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in call.headers.items()
        ]
        if call.body:
            headers.append((b"content-length", str(len(call.body)).encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": call.method,
            "scheme": "http",
            "path": unquote(raw),
            "raw_path": raw.encode(),
            "query_string": urlencode(call.query).encode(),
            "root_path": "",
            "headers": headers,
            "client": ("local", 0),
            "server": (self._name or "local", None),
            "state": {},
        }


class _Exchange:
    """The two halves of one ASGI conversation."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._asked = False
        self.status = 0
        self.is_complete = False
        self.is_too_large = False
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._call.body, "more_body": False}
        await anyio.sleep_forever()  # a disconnect is the caller's cancellation
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = cast("int", message["status"])
            pairs = cast("list[tuple[bytes, bytes]]", message.get("headers", []))
            self._headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in pairs}
        elif message["type"] == "http.response.body":
            self._body += cast("bytes", message.get("body", b""))
            if len(self._body) > MAX_ANSWER:
                self._body.clear()
                self.is_too_large = True
                raise OSError("the caller takes no more")  # as a server whose client hung up
            self.is_complete = not message.get("more_body", False)

    def answer(self) -> Answer:
        return Answer(self.status, self._headers, bytes(self._body))


TRANSPORTS = {"local": LocalTransport}
