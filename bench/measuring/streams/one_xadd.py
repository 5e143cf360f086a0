"""A plain server of streams, as one writes it in an afternoon: what ours is measured against.

One XADD for each message, awaited; one XREAD for each subscriber. uvicorn with websockets' own
protocol and without deflate, redis-py with hiredis. It speaks the data server's protocol as far as
the measurements need: nobody signs in, nothing is bounded, nothing is remembered.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any
from urllib.parse import parse_qs

import redis.asyncio as redis
import uvicorn

KEEP = 1000


class App:
    """The ASGI application.

    Args:
        access: of the engine: its unix socket and password.
        keep: entries of a stream, about.
    """

    def __init__(self, access: dict[str, Any], keep: int) -> None:
        self._redis: Any = redis.Redis(
            unix_socket_path=access["path"], username="downstage", password=access["password"],
            max_connections=8000, socket_timeout=None,
        )  # fmt: skip
        self._keep = keep

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one socket."""
        await receive()
        await send({"type": "websocket.accept"})
        _, _, name, what = scope["path"].rstrip("/").split("/")
        query = {key: value[0] for key, value in parse_qs(scope["query_string"].decode()).items()}
        if what == "push":
            await self._push(name, query, receive, send)
        else:
            await self._pull(name, query, send)

    async def _push(self, name: str, query: dict[str, str], receive: Any, send: Any) -> None:
        rows: list[list[Any]] = [[name, 0]]
        while (message := await receive())["type"] != "websocket.disconnect":
            if message.get("text") is not None:
                rows = json.loads(message["text"])
                continue
            data, ids, at = message["bytes"], list[str](), 0
            ends = [row[-1] for row in rows] if "batch" in query else [len(data)]
            for end in ends:
                fields = {"d": data[at:end]}
                id_ = await self._redis.xadd(
                    f"plain:{name}", fields, maxlen=self._keep, approximate=True
                )
                ids.append(id_.decode())
                at = end
            if "ack" in query:
                await send({"type": "websocket.send", "text": ",".join(ids)})

    async def _pull(self, name: str, query: dict[str, str], send: Any) -> None:
        last, count = query.get("last_entry_id", "$"), int(query.get("count", 1))
        while True:
            reply = await self._redis.xread({f"plain:{name}": last}, count=count, block=5000)
            for _, entries in reply:
                rows, at = list[Any](), 0
                for id_, fields in entries:
                    rows.append([name, id_.decode(), at])
                    at += len(fields[b"d"])
                last = rows[-1][1]
                await send({"type": "websocket.send", "text": json.dumps(rows)})
                body = b"".join([fields[b"d"] for _, fields in entries])
                await send({"type": "websocket.send", "bytes": body})


def main() -> None:
    """Serve on a free port, which is printed, until the process is ended."""
    asked = json.loads(sys.argv[1])
    sock = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        App(asked["access"], asked["keep"]), ws="websockets-sansio", loop="uvloop", lifespan="off",
        log_level="error", ws_max_size=64 << 20, ws_per_message_deflate=asked["deflate"],
        proxy_headers=False, access_log=False,
    )  # fmt: skip
    print(sock.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()
