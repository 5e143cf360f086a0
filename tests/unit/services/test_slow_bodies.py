"""Bodies that stop coming: who waits for them is told."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from downstage.services import bodies
from downstage.services.bodies import BodyLimit

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads all, then listens for the end of the connection, as an answer in pieces does."""
    del scope
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    with anyio.move_on_after(0.2):
        await receive()
    await send({"type": "http.response.body", "body": b""})


async def status_of(*pieces: Message) -> int:
    waiting, sent = list(pieces), list[Any]()

    async def receive() -> Message:
        if not waiting:
            await anyio.sleep_forever()
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "headers": []}
    with anyio.fail_after(10):
        await BodyLimit(reader)(scope, receive, send)
    return int(sent[0]["status"])


def piece(*, more: bool) -> Message:
    return {"type": "http.request", "body": b"x", "more_body": more}


async def test_T03_a_body_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IDLE_S", 0.05)
    assert await status_of() == 504
    assert await status_of(piece(more=True)) == 504
    assert await status_of(piece(more=True), piece(more=False)) == 200
