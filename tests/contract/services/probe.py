"""A plain ASGI application that shows what reaches a handler, and answers in every odd way."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import anyio

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

ODD_FIELDS = [(b"X-Twice", b"one"), (b"x-twice", b"two"), (b"x-latin", b"\xe4")]
TEXT = (b"content-type", b"text/plain")


class Probe:
    """One application with what its handlers have noticed."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.gone = anyio.Event()
        """The handler has seen that the caller went away."""
        self.release = anyio.Event()
        self.finished = anyio.Event()
        self.calls = 0
        self.sent = 0
        self.starts = 0
        self.stops = 0
        self.closes: list[tuple[int, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        self.calls += 1
        name = scope["path"].split("/")[1] or "root"
        handler = getattr(self, f"{scope['type']}_{name}", None)
        if handler is None:
            await answer(send, 404, b"nothing there")
            return
        await handler(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        self.starts += 1
        scope["state"]["lives"] = self.starts
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        self.stops += 1
        await send({"type": "lifespan.shutdown.complete"})

    # Whole bodies.

    async def http_root(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, b"root")

    async def http_echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, b"".join([piece async for piece in pieces(receive)]))

    async def http_digest(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, digest = 0, hashlib.blake2b()
        async for piece in pieces(receive):
            size += len(piece)
            digest.update(piece)
        await answer(send, 200, f"{size} {digest.hexdigest()}".encode())

    async def http_scope(self, scope: Scope, receive: Receive, send: Send) -> None:
        shown = {
            "method": scope["method"],
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(),
            "root_path": scope["root_path"],
            "version": scope["http_version"],
            "headers": [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]],
            "state": scope.get("state", {}),
        }
        await answer(send, 200, json.dumps(shown).encode())

    async def http_status(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = int(scope["path"].rpartition("/")[2])
        body = b"" if status in (204, 304) else b"body"
        await answer(send, status, body, [(b"location", b"/echo"), (b"retry-after", b"7")])

    async def http_fields(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, b"", ODD_FIELDS)

    async def http_packed(self, scope: Scope, receive: Receive, send: Send) -> None:
        bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoding, body = {
            b"twice=": (b"gzip", gzip.compress(b"one") + gzip.compress(b"two")),
            b"bare=": (b"deflate", bare.compress(b"onetwo") + bare.flush()),
            b"whole=": (b"deflate", zlib.compress(b"onetwo")),
        }[scope["query_string"]]
        await answer(send, 200, body, [(b"content-encoding", encoding)])

    async def http_gzip(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = gzip.compress(b"x" * 1_000_000)
        await answer(send, 200, body, [(b"content-encoding", b"gzip")])

    async def http_early(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 413, b"too much")

    async def http_late(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        await answer(send, 200, scope["query_string"])

    # Pieces.

    async def http_duplex(self, scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        async for piece in pieces(receive):
            await more(send, piece)
        await done(send)

    async def http_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``?size=``: bytes in all, in pieces of 64 KiB."""
        left = int(parse_qs(scope["query_string"].decode())["size"][0])
        piece = b"s" * 65536
        await begin(send)
        while left:
            now = piece[:left]
            await more(send, now)
            left -= len(now)
            self.sent += len(now)
        await done(send)

    async def http_events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One event at once, the next when told, then until the caller goes."""
        await begin(send, [(b"content-type", b"text/event-stream")])
        await more(send, b"data: 1\n\n")
        self.started.set()
        await self.release.wait()
        await more(send, b"data: 2\n\n")
        await self._until_gone(receive)

    async def http_endless(self, scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        self.started.set()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._pour, send)
                await self._until_gone(receive)
                tasks.cancel_scope.cancel()
        except (OSError, ExceptionGroup):
            self.gone.set()

    async def _pour(self, send: Send) -> None:
        while True:
            await more(send, b"e" * 65536)
            self.sent += 65536
            await asyncio.sleep(0)  # a server hears of a lost connection when the loop turns

    async def http_wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started.set()
        await self._until_gone(receive)

    async def http_silent(self, scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        await more(send, b"one")
        self.started.set()
        await self._until_gone(receive)

    async def _until_gone(self, receive: Receive) -> None:
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:  # or it was cancelled, which tells the same
            self.gone.set()

    # Faults.

    async def http_broken(self, scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        await more(send, b"one")
        raise RuntimeError("the disk is gone")

    async def http_short(self, scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send, [(b"content-length", b"10")])
        await send({"type": "http.response.body", "body": b"three"})

    async def http_crash(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a defect")

    async def http_nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        return

    async def http_afterwards(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, b"answered")
        await self.release.wait()
        self.finished.set()

    # WebSockets.

    async def websocket_echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        offered = scope["subprotocols"]
        await accept(receive, send, offered[-1] if offered else None)
        self.started.set()
        while (event := await receive())["type"] == "websocket.receive":
            kept = {k: v for k, v in event.items() if k in ("text", "bytes") and v is not None}
            await send({"type": "websocket.send", **kept})
        self.closes.append((event["code"], event.get("reason") or ""))
        self.gone.set()

    async def websocket_scope(self, scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        headers = dict(scope["headers"])
        shown = [scope["path"], scope["query_string"].decode(), headers[b"x-mark"].decode()]
        await send({"type": "websocket.send", "text": json.dumps(shown)})
        await receive()

    async def websocket_count(self, scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        for number in range(int(scope["query_string"].rstrip(b"="))):
            await send({"type": "websocket.send", "text": str(number)})
        await send({"type": "websocket.close", "code": 4001, "reason": "that is äll"})

    async def websocket_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await send(
            {"type": "websocket.send", "bytes": b"x" * int(scope["query_string"].rstrip(b"="))}
        )
        event = await receive()
        self.closes.append((event.get("code", 0), ""))
        self.gone.set()

    async def websocket_denied(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        body = b'{"title": "No", "code": "forbidden"}'
        fields = [(b"content-type", b"application/problem+json"), (b"x-request-id", b"r-1")]
        await send({"type": "websocket.http.response.start", "status": 403, "headers": fields})
        await send({"type": "websocket.http.response.body", "body": body})

    async def websocket_closed(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close"})

    async def websocket_crash(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a defect")

    async def websocket_mute(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started.set()
        try:
            while (await receive())["type"] != "websocket.disconnect":
                pass
        finally:
            self.gone.set()


async def pieces(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise OSError("the caller has gone")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def answer(
    send: Send, status: int, body: bytes, fields: list[tuple[bytes, bytes]] | None = None
) -> None:
    length = [] if status in (204, 304) else [(b"content-length", str(len(body)).encode())]
    headers = [TEXT, *length, *(fields or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def begin(send: Send, fields: list[tuple[bytes, bytes]] | None = None) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": fields or []})


async def more(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


async def done(send: Send) -> None:
    await send({"type": "http.response.body", "body": b""})


async def accept(receive: Receive, send: Send, subprotocol: str | None = None) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": subprotocol})
