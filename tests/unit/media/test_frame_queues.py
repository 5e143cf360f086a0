"""What is left out of a queue is always repaired by the next key frame."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import anyio
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from downstage.contracts.streamer import AUDIO, KEY_FRAME, MEDIA_HEADER, VIDEO
from downstage.media.frame import AudioPacket, EncodedFrame, Size
from downstage.media.transport import websocket
from downstage.media.transport.gate import FrameGate
from downstage.media.transport.protocol import TransportEvents
from downstage.media.transport.websocket import WebSocketTransport

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def frame(number: int, *, key: bool = False, size: int = 10) -> EncodedFrame:
    return EncodedFrame(
        data=memoryview(bytes(size)),
        codec="h264",
        key=key,
        frame_id=number,
        reference_id=None if key else number - 1,
        tracked=True,
        capture_ns=1_000_000 * number,
        encode_start_ns=0,
        encode_end_ns=0,
        picture=Size(1280, 720),
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60))
def test_what_leaves_the_gate_decodes(steps: list[tuple[bool, int]]) -> None:
    """Whatever arrives and however slowly it is read: a delta follows the frame before it."""
    asked: list[None] = []
    gate = FrameGate(lambda: asked.append(None))
    out: list[EncodedFrame] = []
    for number, (key, reads) in enumerate(steps):
        gate.put(frame(number, key=key))
        out += _read(gate, reads)
    out += _read(gate, 10)
    for before, after in zip([None, *out], out, strict=False):
        assert after.key or (before is not None and before.frame_id == after.frame_id - 1)
    if gate.dropped and not any(key for key, _ in steps):
        assert asked


def _read(gate: FrameGate, count: int) -> list[EncodedFrame]:
    out: list[EncodedFrame] = []
    while len(gate) and len(out) < count:
        with pytest.raises(StopIteration) as done:  # nothing to wait for: it returns at once
            gate.get().send(None)
        out.append(done.value.value)
    return out


class SlowSocket:
    """Takes messages only when the test lets it."""

    def __init__(self) -> None:
        self.sent: list[bytes | str] = []
        self.gate = asyncio.Event()
        self.closed_with: bytes | None = None

    async def send_bytes(self, data: bytes) -> None:
        await self.gate.wait()
        self.sent.append(data)

    async def send_str(self, data: str) -> None:
        await self.gate.wait()
        self.sent.append(data)

    async def close(self, *, code: int, message: bytes) -> None:
        assert code == 1000
        self.closed_with = message


def viewer(socket: SlowSocket, wanted: list[str]) -> WebSocketTransport:
    return WebSocketTransport(
        cast("web.WebSocketResponse", socket),
        codec="h264",
        ceiling_kbps=8000,
        events=TransportEvents(
            on_message=_ignore,
            on_key_wanted=lambda: wanted.append("key"),
            on_lost=_ignore,
            on_rate=lambda kbps: wanted.append(f"rate {kbps}"),
            on_open=lambda: wanted.append("open"),
            on_closed=_ignore,
        ),
    )


def _ignore(_: Any) -> None:
    pass


async def test_a_viewer_that_reads_nothing_is_dropped_to_the_next_key_frame() -> None:
    socket, wanted = SlowSocket(), list[str]()
    transport = viewer(socket, wanted)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.run)
        transport.send_video(frame(1))  # before any key frame: useless
        transport.send_video(frame(2, key=True, size=5 * 2**20))
        transport.send_video(frame(3, size=5 * 2**20))
        await anyio.sleep(0)
        transport.send_video(frame(4, size=5 * 2**20))
        transport.send_video(frame(5, size=5 * 2**20))
        assert wanted.count("key") == 1
        transport.send_video(frame(6))
        socket.gate.set()
        await anyio.wait_all_tasks_blocked()
        transport.send_video(frame(7, key=True))
        transport.send_video(frame(8))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    flags = [MEDIA_HEADER.unpack_from(cast("bytes", data))[1] for data in socket.sent]
    assert flags[-2:] == [KEY_FRAME, 0]
    assert len(flags) == 3
    assert transport.stats().dropped >= 4


async def test_messages_carry_kind_key_sequence_and_wall_time() -> None:
    socket, wanted = SlowSocket(), list[str]()
    socket.gate.set()
    transport = viewer(socket, wanted)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.run)
        transport.send_control('["p",1]')
        transport.send_video(frame(1, key=True, size=3))
        transport.send_audio(AudioPacket(b"opus", 0, 0))
        await anyio.wait_all_tasks_blocked()
        await transport.close("over")
        tasks.cancel_scope.cancel()
    control, picture, sound = socket.sent
    assert control == '["p",1]'
    kind, flags, reserved, sequence, wall_ms = MEDIA_HEADER.unpack_from(cast("bytes", picture))
    assert (kind, flags, reserved, sequence) == (VIDEO, KEY_FRAME, 0, 1)
    assert wall_ms > 1e12
    assert cast("bytes", picture)[MEDIA_HEADER.size :] == bytes(3)
    assert MEDIA_HEADER.unpack_from(cast("bytes", sound))[0] == AUDIO
    assert socket.closed_with == b"over"
    assert not transport.is_open


async def test_a_picture_too_large_for_the_socket_is_left_out() -> None:
    socket, wanted = SlowSocket(), list[str]()
    transport = viewer(socket, wanted)
    transport.send_video(frame(1, key=True, size=9 * 2**20))
    assert wanted == ["key"]
    assert transport.stats().dropped == 1


async def test_a_picture_that_stands_still_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "BEAT_S", 0.02)
    socket, wanted = SlowSocket(), list[str]()
    socket.gate.set()
    transport = viewer(socket, wanted)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.run)
        with anyio.fail_after(10):
            while socket.sent.count('["p",0]') < 3:
                await anyio.sleep(0.01)
        transport.send_video(frame(1, key=True))
        with anyio.fail_after(10):
            while not any(isinstance(item, bytes) for item in socket.sent):
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
