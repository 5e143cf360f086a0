"""One replica of a service, as a process: answers with its own id, or never."""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio

from downstage.services.nats_service import serve_nats


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/never":
        await anyio.sleep_forever()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/endless":
        while True:
            await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
            await anyio.sleep(0.05)
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


async def main() -> None:
    async with serve_nats(app, sys.argv[1]):
        print("ready", flush=True)
        await anyio.sleep_forever()


anyio.run(main)
