"""Pictures and sound over a WebSocket, for viewers that UDP does not reach.

Each picture is one binary message: `MEDIA_HEADER`, then the frame as the encoder gave it, which
WebCodecs decodes. What is queued for a viewer is bounded by bytes and by age; beyond either bound
everything queued is dropped and the next key frame is the next picture.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import anyio
from aiohttp import ClientWebSocketResponse, web

from downstage.contracts.streamer import (
    AUDIO,
    KEY_FRAME,
    MAX_TO_BROWSER,
    MEDIA_BEAT_MS,
    MEDIA_HEADER,
    VIDEO,
)
from downstage.kernel.logging import get_logger
from downstage.media.frame import AudioPacket, Codec, EncodedFrame
from downstage.media.transport.acks import AckWindow
from downstage.media.transport.bitrate import BitrateControl, PathReport
from downstage.media.transport.protocol import TransportEvents, TransportStats

__all__ = ["MediaSocket", "WebSocketTransport"]

log = get_logger(__name__)

MediaSocket = web.WebSocketResponse | ClientWebSocketResponse
"""A viewer's socket: accepted here, or dialled to a gateway that passes it on."""

MAX_QUEUED_MS = 250.0
MAX_QUEUED_AUDIO = 50
MAX_QUEUED_CONTROL = 256
SEND_DEADLINE_S = 10.0
CLOSE_DEADLINE_S = 1.0
BEAT_S = MEDIA_BEAT_MS / 1000
BEAT = '["p",0]'


@dataclass(frozen=True, slots=True)
class _Queued:
    kind: int
    payload: bytes | str
    at: float
    sequence: int = 0


class WebSocketTransport:
    """One viewer on one WebSocket; `run` sends until the socket ends.

    Args:
        socket: accepted or dialled, without compression.
        codec: what the page's decoder takes.
        ceiling_kbps: the highest rate.
        events: what to call.
    """

    kind = "websocket"

    def __init__(
        self,
        socket: MediaSocket,
        *,
        codec: Codec,
        ceiling_kbps: int,
        events: TransportEvents,
    ) -> None:
        self._socket, self._events = socket, events
        self.codec: Codec = codec
        self._queue: deque[_Queued] = deque()
        self._video_bytes = 0
        self._audio = self._control = 0
        self._more = anyio.Event()
        self._acks = AckWindow()
        self._control_rate = BitrateControl(ceiling_kbps)
        self._waits_for_key = True
        self._fell_behind = False
        self._sequence = 0
        self._audio_sequence = 0
        self._frames = self._bytes = self._dropped = 0
        self._reported_at = time.monotonic()
        self._reported_bytes = 0
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Media may flow."""
        return not self._closed

    def send_video(self, frame: EncodedFrame) -> None:
        """Queue a picture, or drop it where the viewer lags."""
        now = time.monotonic()
        if frame.key:
            self._waits_for_key = False
        elif self._waits_for_key:
            self._dropped += 1
            return
        if frame.size > MAX_TO_BROWSER - MEDIA_HEADER.size:
            log.warning("media.frame_too_large", size=frame.size)
            self._fall_behind()
            return
        if self._lags(now) and not (frame.key and not self._video_bytes):
            self._fall_behind()
            return
        message = b"".join((self._header(frame), frame.data))
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._video_bytes += len(message)
        self._put(_Queued(VIDEO, message, now, self._sequence))

    def send_audio(self, packet: AudioPacket) -> None:
        """Queue a packet of sound; the queue holds a second at most."""
        if self._audio >= MAX_QUEUED_AUDIO:
            return
        self._audio += 1
        self._audio_sequence = (self._audio_sequence + 1) & 0xFFFFFFFF
        header = MEDIA_HEADER.pack(AUDIO, 0, 0, self._audio_sequence, _wall_ms(packet.captured_ns))
        self._put(_Queued(AUDIO, header + packet.data, time.monotonic()))

    def send_control(self, message: str) -> None:
        """Queue a control message."""
        if self._control < MAX_QUEUED_CONTROL:
            self._control += 1
            self._put(_Queued(0, message, time.monotonic()))

    def acknowledge(self, sequence: int) -> None:
        """Take the viewer's acknowledgement and, once a second, steer the rate by it."""
        now = time.monotonic()
        self._acks.acknowledged(sequence, now)
        elapsed = now - self._reported_at
        if elapsed >= 1.0:
            sent = self._bytes - self._reported_bytes
            # What was dropped since had waited that long.
            least_ms = MAX_QUEUED_MS if self._fell_behind else 0.0
            report = PathReport(
                loss=0.0,
                queue_ms=max(least_ms, self._acks.queued_ms(now)),
                sent_kbps=sent * 8 / elapsed / 1000,
                delivered_kbps=self._acks.take_delivered() * 8 / elapsed / 1000,
                rtt_ms=self._acks.take_rtt(),
            )
            self._reported_at, self._reported_bytes = now, self._bytes
            self._fell_behind = False
            self._events.on_rate(self._control_rate.update(report, now))

    def stats(self) -> TransportStats:
        """The counters as they stand."""
        return TransportStats(self._frames, self._bytes, self._dropped, self._acks.rtt_ms)

    async def run(self) -> None:
        """Send what is queued, until the socket ends or `close`."""
        self._events.on_open()
        while not self._closed:
            if not self._queue:
                await self._wait()
                continue
            item = self._queue.popleft()
            try:
                with anyio.fail_after(SEND_DEADLINE_S):
                    await self._send(item)
            except (ConnectionError, TimeoutError):
                return

    async def _wait(self) -> None:
        """Until there is something to send; a picture that stands still is no silence."""
        self._more = anyio.Event()
        with anyio.move_on_after(BEAT_S):
            await self._more.wait()
        if not self._more.is_set():
            self.send_control(BEAT)

    async def close(self, reason: str) -> None:
        """Close the socket with *reason*."""
        if self._closed:
            return
        self._closed = True
        self._more.set()
        with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
            await self._socket.close(code=1000, message=reason.encode()[:120])

    async def _send(self, item: _Queued) -> None:
        if isinstance(item.payload, str):
            self._control -= 1
            await self._socket.send_str(item.payload)
            return
        if item.kind == AUDIO:
            self._audio -= 1
        else:
            self._video_bytes -= len(item.payload)
            self._frames += 1
            self._acks.sent(item.sequence, len(item.payload), time.monotonic())
        self._bytes += len(item.payload)
        await self._socket.send_bytes(item.payload)

    def _header(self, frame: EncodedFrame) -> bytes:
        flags = KEY_FRAME if frame.key else 0
        sequence = (self._sequence + 1) & 0xFFFFFFFF
        return MEDIA_HEADER.pack(VIDEO, flags, 0, sequence, _wall_ms(frame.capture_ns))

    def _put(self, item: _Queued) -> None:
        if self._closed:
            return
        self._queue.append(item)
        self._more.set()

    def _lags(self, now: float) -> bool:
        oldest = next((item.at for item in self._queue if item.kind == VIDEO), None)
        waiting = (now - oldest) * 1000 if oldest is not None else 0.0
        return (
            max(waiting, self._acks.queued_ms(now)) > MAX_QUEUED_MS
            or self._video_bytes > MAX_TO_BROWSER
        )

    def _fall_behind(self) -> None:
        kept = [item for item in self._queue if item.kind != VIDEO]
        self._dropped += len(self._queue) - len(kept) + 1
        self._queue = deque(kept)
        self._video_bytes = 0
        self._waits_for_key = True
        self._acks.give_up()
        self._fell_behind = True
        self._events.on_key_wanted()


def _wall_ms(monotonic_ns: int) -> float:
    return (monotonic_ns + time.time_ns() - time.monotonic_ns()) / 1e6
