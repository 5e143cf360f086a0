"""The other end of the calls: a server with one constant answer, in a process of its own.

    python bench/measuring/constant.py [nats://127.0.0.1:4222]

Prints its HTTP address as soon as it answers, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import Any

import anyio
import msgspec
import uvloop

__all__ = ["ANSWER", "BARE", "DOCUMENT", "NAME", "PATH", "constant"]

ANSWER = {"id": "seven", "name": "A thing of some name", "limit": 10, "tags": ["a", "b", "c"]}
PATH = "/v1/items/seven"
BARE = "bench.bare"
NAME = "bench"
BODY = msgspec.json.encode(ANSWER)
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Constant", "version": "1"},
    "paths": {
        "/v1/items/{item_id}": {
            "get": {
                "operationId": "get_item",
                "tags": ["items"],
                "parameters": [
                    {
                        "name": "item_id",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "string"},
                    },
                    {"name": "limit", "in": "query", "schema": {"type": "integer"}},
                ],
                "responses": {
                    "200": {
                        "description": "One item",
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Item"}}
                        },
                    }
                },
            }
        }
    },
    "components": {
        "schemas": {
            "Item": {
                "type": "object",
                "title": "Item",
                "required": ["id", "name", "limit", "tags"],
                "properties": {
                    "id": {"type": "string"},
                    "name": {"type": "string"},
                    "limit": {"type": "integer"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            }
        }
    },
}


async def constant(scope: Any, receive: Any, send: Any) -> None:
    """The least ASGI application: always the same answer, but for its description."""
    if scope["type"] != "http":
        return
    is_document = scope["path"] == "/openapi.json"
    body = msgspec.json.encode(DOCUMENT) if is_document else BODY
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _serve(nats_url: str) -> None:
    from downstage.services.server import Server, open_port

    async with AsyncExitStack() as stack:
        if nats_url:
            import nats

            from downstage.services.nats_service import serve_nats

            await stack.enter_async_context(serve_nats(constant, f"{nats_url}/{NAME}"))
            bare = await nats.connect(nats_url)
            stack.push_async_callback(bare.close)

            async def answer(message: Any) -> None:
                await message.respond(BODY)

            await bare.subscribe(BARE, cb=answer)
            await bare.flush()
        sock = open_port("127.0.0.1", 0)
        server = Server(constant, [sock])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            await server.wait_started()
            print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
            await asyncio.to_thread(sys.stdin.read)
            server.stop()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1] if len(sys.argv) > 1 else ""))
