"""Sockets of streamers that come when nobody waits for them any more."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from starlette.websockets import WebSocket

from downstage.gateway import tunnel
from downstage.gateway.tunnel import Tunnels

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.mark.parametrize("is_second", [False, True])
async def test_M07_a_socket_that_nobody_takes_is_closed(
    monkeypatch: pytest.MonkeyPatch, is_second: bool
) -> None:
    """Else a streamer that dials too late, or twice at once, leaves sockets open for ever."""
    tunnels, sent = Tunnels(), list[dict[str, Any]]()
    wanted = tunnel._Wanted("i-1")  # pyright: ignore[reportPrivateUsage]
    if is_second:
        tunnels._wanted["relay"] = wanted  # pyright: ignore[reportPrivateUsage]

    async def admit(websocket: WebSocket) -> Any:
        await websocket.receive()
        if is_second:  # while this one was looked at, another was taken
            wanted.socket = tunnel.Dialled(websocket)
        return wanted

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    monkeypatch.setattr(tunnels, "_admit", admit)
    with anyio.fail_after(5):
        await tunnels({"type": "websocket", "path": tunnel.PATH, "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
