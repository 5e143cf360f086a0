"""A session's picture and sound as streams: pushed while somebody asked for them, and no longer.

The encoder's own frames go out as they are. Who asks, asks for some seconds and asks again; once
nobody does, the pushing ends and with it the encoder that ran for it alone. A segment needs a key
frame and a playlist goes on over a still screen, so key frames are asked for while this is open.
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import anyio

from downstage.contracts import video
from downstage.contracts.streamer import StreamerConfig
from downstage.contracts.video import Unit
from downstage.kernel.logging import get_logger
from downstage.media.frame import AudioPacket, EncodedFrame
from downstage.streamer.demand import Need
from downstage.streamer.gateways import Place
from downstage.streamer.message import Message

__all__ = ["Outlet"]

log = get_logger(__name__)

LONGEST_S = 3600
MOST_WAITING = 8 << 20
"""Bytes that wait to be sent; above that pictures are left out until the next key frame."""
FIRST_KEY_S, KEY_S = 1.0, 2.0
"""Between key frames: closer at first, so that a player may begin soon."""
FIRST_S = 2.5
STILL_S = 0.4
"""A screen that stands still for so long gives a key frame: time goes on."""
LOOK_S = 0.1
SEND_S = 10.0
DIAL_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 2.0
KEPT = {"age": 60.0, "bytes": 64 << 20}


@dataclass(slots=True)
class _Track:
    """One of the two streams."""

    name: str
    sequence: int = 0
    begins: bool = True
    """The next unit begins a clock."""

    def unit(self, data: bytes, at_ns: int, *, key: bool = True) -> bytes:
        entry = Unit(data, at_ns // 1000, self.sequence, key, self.begins).pack()
        self.begins = False
        self.sequence += 1
        return entry


class Outlet:
    """Pushes ``session.<id>.video`` and ``session.<id>.audio``.

    Args:
        config: whose they are, the token to show, where to dial unless told otherwise; of an
            instance that has a session.
        request_key: asks the encoder for a key frame.
        changed: called when the need for an encoder changed.
    """

    def __init__(
        self,
        config: StreamerConfig,
        *,
        request_key: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._config, self._request_key, self._changed = config, request_key, changed
        source = video.session_stream(config.session_id or "")
        self._video = _Track(video.video_stream(source))
        self._audio = _Track(video.audio_stream(source))
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._more = anyio.Event()
        self._asked = anyio.Event()
        self._until = 0.0
        self._url = config.link_url or ""
        self._lost = True
        self._key_at = self._frame_at = self._opened_at = 0.0
        self.pushing = False
        """Whether a socket is open."""

    @property
    def need(self) -> Need:
        """What has to be encoded for this."""
        return Need("h264", self._is_on, self._config.bitrate_kbps)

    @property
    def _is_on(self) -> bool:
        return time.monotonic() < self._until

    def ask(self, message: Message) -> None:
        """``streams.push``: for `seconds` from now on, 0 to stop."""
        seconds, url = message.get("seconds"), message.get("url")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_S:
            return
        self._url = url if isinstance(url, str) and url else self._config.link_url or ""
        self._until = time.monotonic() + seconds
        self._asked.set()
        self._changed()

    def show(self, frame: EncodedFrame) -> None:
        """A picture came out of the encoder."""
        if frame.codec != "h264" or not self.pushing:
            return
        now = time.monotonic()
        self._frame_at = now
        if frame.key:
            self._key_at, self._lost = now, False
        # What is left out is missed by its number, so that readers wait for a key frame, too.
        if self._lost or self._bytes > MOST_WAITING:
            self._lost = True
            self._video.sequence += 1
            return
        entry = self._video.unit(bytes(frame.data), frame.capture_ns, key=frame.key)
        self._put(self._video.name, entry)

    def play(self, packet: AudioPacket) -> None:
        """A packet of sound came."""
        if self.pushing and self._bytes <= MOST_WAITING:
            self._put(self._audio.name, self._audio.unit(packet.data, packet.captured_ns))

    async def run(self) -> None:
        """Push whenever it is asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked = anyio.Event()
            wait = FIRST_WAIT_S
            while self._is_on:
                try:
                    await self._dial()
                    wait = FIRST_WAIT_S
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    log.info("outlet.failed", error=type(error).__name__)
                self.pushing = False
                self._clear()
                if self._is_on:
                    await anyio.sleep(wait * random.uniform(0.8, 1.0))  # noqa: S311  no secret
                    wait = min(LONGEST_WAIT_S, wait * 2)
            self._changed()

    async def _dial(self) -> None:
        place = Place(self._url, self._config.link_ca)
        headers = {"Authorization": f"Bearer {self._config.bearer}"}
        connector = place.connector()
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            with anyio.fail_after(DIAL_S):
                await self._describe(session, place)
                names = f"{self._video.name}+{self._audio.name}"
                socket = await session.ws_connect(
                    f"{place.base}/data/{names}/push", compress=0, ssl=place.trust
                )
            async with socket:
                log.info("outlet.opened", session_id=self._config.session_id)
                await self._push(socket)
        log.info("outlet.closed", session_id=self._config.session_id)

    async def _describe(self, session: aiohttp.ClientSession, place: Place) -> None:
        for track, kind in ((self._video, video.H264), (self._audio, video.OPUS)):
            body = {"content_type": kind, "retention": KEPT}
            async with session.put(
                f"{place.base}/v1/streams/{track.name}",
                json=body,
                ssl=place.trust,
            ) as answer:
                answer.raise_for_status()

    async def _push(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._video.begins = self._audio.begins = self._lost = True
        self._key_at = self._frame_at = self._opened_at = time.monotonic()
        self.pushing = True
        self._request_key()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._hear, socket)
            tasks.start_soon(self._keep_keys)
            while self._is_on and not socket.closed:
                try:
                    await self._send(socket)
                except (aiohttp.ClientError, OSError, TimeoutError):
                    break  # it is dialled again
            tasks.cancel_scope.cancel()

    async def _send(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """All that waits as one batch: a header that says where each entry ends, then bytes."""
        if not self._waiting:
            self._more = anyio.Event()
            with anyio.move_on_after(LOOK_S):
                await self._more.wait()
            return
        batch = list(self._waiting)
        self._clear()
        ends, at = list[tuple[str, int]](), 0
        for name, entry in batch:
            at += len(entry)
            ends.append((name, at))
        with anyio.fail_after(SEND_S):
            await socket.send_str(json.dumps(ends, separators=(",", ":")))
            await socket.send_bytes(b"".join(entry for _, entry in batch))

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Nothing is said to us; reading sees the close and answers pings."""
        async for _ in socket:
            pass
        if socket.close_code not in (None, 1000):
            log.warning("outlet.refused", close_code=socket.close_code)

    async def _keep_keys(self) -> None:
        while True:
            await anyio.sleep(LOOK_S)
            now = time.monotonic()
            due = FIRST_KEY_S if now - self._opened_at < FIRST_S else KEY_S
            if now - self._key_at >= due or now - self._frame_at >= STILL_S:
                self._request_key()

    def _put(self, name: str, entry: bytes) -> None:
        self._waiting.append((name, entry))
        self._bytes += len(entry)
        self._more.set()

    def _clear(self) -> None:
        self._waiting.clear()
        self._bytes = 0
