"""A relay that does nothing but relay: two sockets of one name get each other's messages.

Prints its address. It knows no sessions, checks nothing, and reads no message. With the word
``asgi`` it stands on the server that the gateway stands on, else on aiohttp, which is faster.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import sys

import uvicorn
import uvloop
from aiohttp import WSMsgType, web
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

__all__ = ["main"]


async def relay(request: web.Request) -> web.WebSocketResponse:
    """One socket; what it says goes to whoever else has its name."""
    socket = web.WebSocketResponse(compress=False, max_msg_size=1 << 20)
    await socket.prepare(request)
    name = request.match_info["name"]
    pair: list[web.WebSocketResponse] = request.app[PAIRS].setdefault(name, [])
    pair.append(socket)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            other = pair[0] if pair[1] is socket else pair[1]
            await other.send_str(message.data)
    return socket


PAIRS: web.AppKey[dict[str, list[web.WebSocketResponse]]] = web.AppKey("pairs", dict)


async def asgi_relay(socket: WebSocket) -> None:
    """The same on an ASGI server."""
    await socket.accept()
    pair: list[WebSocket] = socket.app.state.pairs.setdefault(socket.path_params["name"], [])
    pair.append(socket)
    async for text in socket.iter_text():
        other = pair[0] if pair[1] is socket else pair[1]
        await other.send_text(text)


async def serve_asgi() -> None:
    """Until killed."""
    application = Starlette(routes=[WebSocketRoute("/{name}", asgi_relay)])
    application.state.pairs = {}
    listening = sockets.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        application, ws="websockets-sansio", log_level="error", ws_per_message_deflate=False
    )
    await uvicorn.Server(config).serve([listening])


async def serve() -> None:
    """Until killed."""
    application = web.Application()
    application[PAIRS] = {}
    application.router.add_get("/{name}", relay)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve on a port of its own."""
    uvloop.run(serve_asgi() if sys.argv[1:] == ["asgi"] else serve())


if __name__ == "__main__":
    main()
