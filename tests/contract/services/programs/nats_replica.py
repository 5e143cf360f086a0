"""One replica of a service, as a process: answers with its own id, or never.

``/taken`` says how many calls it holds that it will never answer.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio

from downstage.services.nats_service import serve_nats

taken = 0


async def app(scope: Any, receive: Any, send: Any) -> None:
    global taken  # noqa: PLW0603 - a program of one test
    await receive()
    if scope["path"] == "/never":
        taken += 1
        await anyio.sleep_forever()
    said = f"{os.getpid()} {taken}" if scope["path"] == "/taken" else str(os.getpid())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/endless":
        while True:
            await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
            await anyio.sleep(0.05)
    await send({"type": "http.response.body", "body": said.encode()})


async def main() -> None:
    async with serve_nats(app, sys.argv[1]):
        print("ready", flush=True)
        await anyio.sleep_forever()


anyio.run(main)
