"""The house: one display, everybody who watches it, and what has to be encoded for them.

One encoder runs for each codec that somebody watches and feeds all of them; a joiner costs one key
frame. Nobody there, nothing is encoded.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from downstage.contracts.streamer import StreamerConfig
from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.media.codec import webcodecs_name
from downstage.media.encoder import EncoderInfo
from downstage.media.frame import AudioPacket, Codec, Cursor, EncodedFrame, Size
from downstage.media.input import Hands
from downstage.media.source import FrameSource
from downstage.streamer import control, demand
from downstage.streamer.viewer import Role, Viewer, ViewerEvents

__all__ = ["House", "Tally", "Tap"]

log = get_logger(__name__)

LINGER_S = 5.0
"""An encoder that nobody watches runs on for this long: a page that reloads finds it running."""


@dataclass(slots=True)
class Tally:
    """What is counted for the status."""

    frames: int = 0
    sent_bytes: int = 0
    last_input: float | None = None


@dataclass(slots=True)
class _Sound:
    on: bool = False
    reason: str | None = "not started"


@dataclass(slots=True)
class _Stream:
    """What is known of one codec's stream."""

    name: str | None = None
    picture: Size = field(default_factory=lambda: Size(0, 0))


@dataclass(slots=True)
class _Turns:
    """Looks at what is to be encoded: how many began and ended, and a sign when one does."""

    begun: int = 0
    ended: int = 0
    over: anyio.Event = field(default_factory=anyio.Event)


class Tap(Protocol):
    """Somebody who takes the same frames and sound as viewers do, and has no seat."""

    @property
    def need(self) -> demand.Need:
        """What has to be encoded for it."""
        ...

    def show(self, frame: EncodedFrame) -> None:
        """A picture came out of an encoder, of any codec."""
        ...

    def play(self, packet: AudioPacket) -> None:
        """Sound came in."""
        ...


class House:
    """Distributes frames and sound, gathers input, keeps the right encoders running.

    Args:
        config: the instance's configuration.
        tasks: where work of its own runs; ends with the streamer.
    """

    def __init__(self, config: StreamerConfig, tasks: TaskGroup) -> None:
        self._config, self._tasks = config, tasks
        self._source: FrameSource | None = None
        self._viewers: dict[str, Viewer] = {}
        self._taps: list[Tap] = []
        self._streams: dict[Codec, _Stream] = {"h264": _Stream(), "vp8": _Stream()}
        self._running: set[Codec] = set()
        self._changed = anyio.Event()
        self._turns = _Turns()
        self._framed = anyio.Event()
        self._resize_to: Size | None = None
        self._wish: Size | None = None
        self._always: Codec | None = "h264"
        self._unwatched_since: dict[Codec, float] = {}
        self._cursor: Cursor | None = None
        self._sound = _Sound()
        self._kbps: dict[Codec, int] = {}
        self.encoder: EncoderInfo | None = None
        self.tally = Tally()

    @property
    def source(self) -> FrameSource:
        """The display."""
        if self._source is None:
            msg = "the display is not open"
            raise RuntimeError(msg)
        return self._source

    @property
    def viewers(self) -> list[Viewer]:
        """Everybody who has a path, or is about to."""
        return list(self._viewers.values())

    def use(self, source: FrameSource) -> None:
        """Show *source* from now on."""
        self._source = source

    def tap(self, tap: Tap) -> None:
        """Let *tap* have frames and sound, for good."""
        self._taps.append(tap)

    def admit(self, peer: str, role: Role, on_misbehaved: Callable[[Viewer, str], None]) -> Viewer:
        """A new viewer; one of the same peer that is still there leaves first."""
        self.dismiss(self._viewers.get(peer))
        viewer = Viewer(
            peer,
            role,
            Hands(self.source.injector, controls=role == "controller"),
            kbps=self._config.bitrate_kbps,
            events=ViewerEvents(
                on_resize=self.wish,
                on_key_wanted=self.key_wanted,
                on_need_changed=self.reconsider,
                on_input=self._input,
                on_misbehaved=on_misbehaved,
            ),
        )
        viewer.size = self.source.size
        self._viewers[peer] = viewer
        return viewer

    def dismiss(self, viewer: Viewer | None) -> None:
        """The viewer is gone: what it holds is let go; safe to repeat."""
        if viewer is None or self._viewers.get(viewer.peer) is not viewer:
            return
        del self._viewers[viewer.peer]
        viewer.let_go()
        wish, self._wish = self._wish, None
        if wish is not None:
            self.wish(wish)
        self.reconsider()

    def release(self, peer: str) -> None:
        """The viewer's page is silent: let go of what it holds; the picture goes on."""
        viewer = self._viewers.get(peer)
        if viewer is not None:
            viewer.let_go()

    def opened(self, viewer: Viewer) -> None:
        """The viewer's path is open: greet it and give it a key frame."""
        viewer.tell(control.stream(self.facts(viewer.need.codec)))
        if self._cursor is not None:
            viewer.tell(control.cursor(self._cursor))
        self.reconsider()
        self.key_wanted(viewer)

    def lost(self, viewer: Viewer, frame_id: int) -> None:
        """The viewer lost a frame for good: predict past it."""
        self.source.invalidate(viewer.need.codec, frame_id)

    def resize(self, size: Size) -> None:
        """The picture is to follow *size*; the latest wish counts."""
        self._resize_to = size
        self._changed.set()

    def wish(self, size: Size) -> None:
        """A viewer wants the picture in *size*; it waits where another needs it as it is."""
        if any(viewer.holds_size for viewer in self._viewers.values()):
            self._wish = size
        else:
            self.resize(size)

    def reconsider(self) -> None:
        """Something about the viewers changed."""
        self._changed.set()

    async def capture_one(self) -> EncoderInfo | None:
        """Wait for a picture captured from now on; returns the encoder that coded it."""
        self._framed = anyio.Event()
        self.source.request_key("h264")
        await self._framed.wait()
        self.encoder = await self.source.info()
        self._tell_facts()
        return self.encoder

    async def wake(self, size: Size) -> None:
        """Encode again before anybody watches, and return once a picture of *size* came out."""
        self._always = "h264"
        if size != self.source.size:
            self.resize(size)
        self.reconsider()
        await self.turned()
        await self.capture_one()

    async def turned(self) -> None:
        """Wait until what was asked for so far has been done."""
        turn = self._turns.begun + 1  # one that has begun may have looked before we asked
        while self._turns.ended < turn:
            await self._turns.over.wait()

    def settle(self) -> None:
        """The first picture is known; from now on only what is watched is encoded."""
        self._always = None
        self.reconsider()

    def set_sound(self, reason: str | None) -> None:
        """There is sound, or there is none for *reason*."""
        self._sound = _Sound(reason is None, reason)
        self._tell_facts()

    @property
    def sound(self) -> tuple[bool, str | None]:
        """Whether there is sound, and why not."""
        return self._sound.on, self._sound.reason

    def facts(self, codec: Codec) -> control.StreamFacts:
        """What a viewer of *codec* is told."""
        size = self.source.size
        return control.StreamFacts(
            width=size.width,
            height=size.height,
            fps=self._config.display.fps,
            codec=self._streams[codec].name,
            encoder=self.encoder.name if self.encoder else None,
            encoder_reason=self.encoder.reason if self.encoder else None,
            audio=self._sound.on,
            audio_reason=self._sound.reason,
            kbps=self._kbps.get(codec, self._config.bitrate_kbps),
        )

    def frame(self, frame: EncodedFrame) -> None:
        """A picture came out of an encoder."""
        self.tally.frames += 1
        self._framed.set()
        if frame.key:
            self._note_stream(frame)
        for viewer in self._viewers.values():
            if viewer.need.codec == frame.codec:
                viewer.show(frame)
        for tap in self._taps:
            tap.show(frame)

    def packet(self, packet: AudioPacket) -> None:
        """Sound came in."""
        for viewer in self._viewers.values():
            viewer.play(packet)
        for tap in self._taps:
            tap.play(packet)

    def cursor(self, shape: Cursor) -> None:
        """The pointer looks different."""
        self._cursor = shape
        self._tell_all(control.cursor(shape))

    def spawn(self, work: Callable[[], Awaitable[object]], name: str) -> None:
        """Run *work* beside everything else; its failure is logged and harms nobody."""
        self._tasks.start_soon(_supervise, work, name)

    async def run(self) -> None:
        """Keep the right encoders running, at the right rate and size, until cancelled."""
        await self._take_turn()
        while True:
            with anyio.move_on_after(self._patience()):
                await self._changed.wait()
            self._changed = anyio.Event()
            await self._take_turn()

    async def _take_turn(self) -> None:
        turns = self._turns
        turns.begun += 1
        await self._reconcile()
        turns.ended = turns.begun
        turns.over.set()
        turns.over = anyio.Event()

    async def _reconcile(self) -> None:
        size, self._resize_to = self._resize_to, None
        if size is not None:
            await self._resize(size)
        needs = [taker.need for taker in (*self._viewers.values(), *self._taps)]
        codecs = demand.wanted(needs, always=self._always)
        for codec in sorted(codecs):
            self._unwatched_since.pop(codec, None)
            if codec not in self._running:
                self._running.add(codec)
                await self.source.watch(codec)
                log.info("encoder.started", codec=codec)
        await self._retire(codecs)
        self._follow_rates(needs)

    async def _retire(self, codecs: frozenset[Codec]) -> None:
        now = time.monotonic()
        for codec in sorted(self._running - codecs):
            since = self._unwatched_since.setdefault(codec, now)
            if now - since >= LINGER_S:
                del self._unwatched_since[codec]
                self._running.discard(codec)
                await self.source.unwatch(codec)
                log.info("encoder.stopped", codec=codec)

    def _patience(self) -> float | None:
        if not self._unwatched_since:
            return None
        oldest = min(self._unwatched_since.values())
        return max(0.0, oldest + LINGER_S - time.monotonic())

    async def _resize(self, size: Size) -> None:
        if self._config.largest is not None:
            width, height = self._config.largest
            size = Size(min(size.width, width), min(size.height, height))
        became = await self.source.resize(size)
        log.info("display.resized", asked=str(size), became=str(became))
        for viewer in self._viewers.values():
            viewer.size = became
        self._tell_facts()

    def _follow_rates(self, needs: list[demand.Need]) -> None:
        for codec, kbps in demand.rates(needs).items():
            if kbps != self._kbps.get(codec, self._config.bitrate_kbps):
                self._kbps[codec] = kbps
                self.source.set_bitrate(codec, kbps)

    def _note_stream(self, frame: EncodedFrame) -> None:
        stream = self._streams[frame.codec]
        name = webcodecs_name(frame.data, frame.codec)
        if (name, frame.picture) != (stream.name, stream.picture):
            stream.name, stream.picture = name, frame.picture
            self._tell_facts()

    def _tell_facts(self) -> None:
        if self._source is None:
            return
        for viewer in self._viewers.values():
            viewer.tell(control.stream(self.facts(viewer.need.codec)))

    def _tell_all(self, message: str) -> None:
        for viewer in self._viewers.values():
            viewer.tell(message)

    def key_wanted(self, viewer: Viewer) -> None:
        """The viewer needs a key frame to go on."""
        self.source.request_key(viewer.need.codec)

    def _input(self) -> None:
        self.tally.last_input = time.monotonic()


async def _supervise(work: Callable[[], Awaitable[object]], name: str) -> None:
    try:
        await work()
    except PlatformError as error:
        log.warning("task.refused", task=name, error_code=error.code, detail=error.detail)
    except Exception:
        log.exception("task.failed", task=name)
