"""What leaves by a socket: each message within its time, and whatever it holds."""

from __future__ import annotations

import json
from typing import Any, cast

import anyio
import pytest
from starlette.websockets import WebSocket

from downstage.gateway import wire as module
from downstage.gateway.wire import Bucket, Wire
from downstage.kernel.clock import ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Socket:
    """Takes messages; one that is *stuck* takes none."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.sent = list[str]()
        self.deadlines = list[float]()
        self.closed: tuple[int, str] | None = None
        self._stuck = stuck

    async def send_text(self, text: str) -> None:
        self.deadlines.append(anyio.current_effective_deadline())
        if self._stuck:
            await anyio.sleep_forever()
        await anyio.sleep(0.001)
        self.sent.append(text)

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def wire(self) -> Wire:
        return Wire(cast("WebSocket", self), Bucket(ManualClock(), 1, 1))


async def test_all_that_was_sent_leaves_in_order_before_the_close() -> None:
    socket = Socket()
    wire = socket.wire()
    for number in range(20):
        wire.send({"type": "x", "number": number, "none": None, "text": "grün"})
    wire.close(1000, "bye")
    wire.send({"type": "late"})
    await wire.pump()
    told: list[dict[str, Any]] = [json.loads(text) for text in socket.sent]
    assert [item["number"] for item in told] == list(range(20))
    assert told[0] == {"type": "x", "number": 0, "none": None, "text": "grün"}
    assert socket.closed == (1000, "bye")


async def test_every_message_has_its_time_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "GRAIN_S", 0.0)
    socket = Socket()
    wire = socket.wire()
    for number in range(5):
        wire.send({"number": number})
    wire.close()
    await wire.pump()
    assert len(socket.sent) == 5
    assert socket.deadlines == sorted(set(socket.deadlines)), "each later than the one before"


async def test_one_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEND_S", 0.05)
    socket = Socket(stuck=True)
    wire = socket.wire()
    wire.send({"type": "x"})
    with anyio.fail_after(30):
        await wire.pump()
    assert (socket.sent, socket.closed) == ([], None)
    wire.send({"type": "y"})
    assert not wire._queue, "nothing is kept for it"  # pyright: ignore[reportPrivateUsage]


async def test_half_a_character_is_sent_as_an_escape() -> None:
    socket = Socket()
    wire = socket.wire()
    wire.send({"detail": "a\ud800b"})
    wire.close()
    await wire.pump()
    assert socket.sent == ['{"detail":"a\\ud800b"}']
