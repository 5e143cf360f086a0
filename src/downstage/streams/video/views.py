"""Streams watched by WebRTC: an offer of ours, an answer of the browser's, then pictures.

The connection is the one that sessions use. Coded pictures go out as they came, images are coded
for each viewer alone; sound goes out where it is Opus.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from downstage.contracts import video
from downstage.contracts.video import Unit
from downstage.kernel.errors import Conflict, NotFound, PlatformError, TooMany, UnsupportedMedia
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.kernel.settings import Media
from downstage.media.frame import AudioPacket, EncodedFrame, Size
from downstage.media.hls.h264 import annex_b
from downstage.media.hls.images import ImageCoder
from downstage.media.hls.samples import Picture
from downstage.streams.model import Caller, Entry
from downstage.streams.reading import LAST, NEWEST
from downstage.streams.service import Streams, Wish
from downstage.streams.video.sources import (
    CodedStreams,
    ImageStream,
    Source,
    find_source,
    insider,
)
from downstage.streams.video.timing import WallClock, first_of

if TYPE_CHECKING:
    from downstage.media.transport.webrtc import WebRtcTransport

__all__ = ["Views"]

log = get_logger(__name__)

MOST = 32
CODERS = 2
REPEAT_S = 0.5
KBPS = 8000
LONGEST_US = 3600 * 1_000_000
"""After so long, or a jump as long, the clocks are laid side by side anew."""


@dataclass(slots=True)
class _View:
    id: str
    caller: Caller
    name: str
    source: Source
    transport: WebRtcTransport
    opened: anyio.Event
    coder: ImageCoder | None = None
    frames: int = 0
    zero: tuple[int, int] | None = None
    """The same moment by the source's clock (µs) and by ours (ns)."""

    def here_ns(self, at_us: int) -> int:
        """An instant of the source's clock by ours, which the transport counts from."""
        if self.zero is None or abs(at_us - self.zero[0]) > LONGEST_US:
            self.zero = (at_us, time.monotonic_ns())
        return self.zero[1] + (at_us - self.zero[0]) * 1000


class Views:
    """All that is watched so.

    Args:
        streams: where it is read.
        media: addresses, ports, STUN and TURN servers.
        start: ``start(function, *arguments, name=…)``: a task of the service.
    """

    def __init__(self, streams: Streams, media: Media, start: Callable[..., Any]) -> None:
        self._streams, self._media, self._start = streams, media, start
        self._views: dict[str, _View] = {}
        self._limiter = anyio.CapacityLimiter(CODERS)

    @property
    def ice_servers(self) -> Sequence[dict[str, str]]:
        """For browsers."""
        return self._media.ice_servers

    async def open(self, caller: Caller, name: str) -> tuple[str, str]:
        """Offer to show *name*; returns the view's id and the offer.

        Raises:
            NotFound, UnsupportedMedia: nothing that *caller* may watch.
            Conflict: a session, which has connections of its own.
            TooMany: too many watch so.
        """
        if video.session_of(name) is not None:
            raise Conflict("A session is watched by its own link.")
        source = await find_source(self._streams, caller, name)
        if len(self._views) >= MOST:
            raise TooMany("Too many views are open.", retry_after_s=10)
        view = await self._make(caller, name, source)
        self._views[view.id] = view
        offer = await view.transport.offer()
        self._start(self._run, view, name=f"view.{name}")
        return view.id, offer

    async def answer(self, caller: Caller, name: str, view_id: str, sdp: str) -> None:
        """Take the browser's answer.

        Raises:
            NotFound: there is no such view.
            BadMessage: it does not answer the offer.
            UnsupportedMedia: the browser does not take H.264.
        """
        view = self._find(caller, name, view_id)
        await view.transport.answer(sdp)
        if view.transport.codec != "h264":
            await view.transport.close("no-h264")
            raise UnsupportedMedia("The browser takes no H.264.")

    async def close(self, caller: Caller, name: str, view_id: str) -> None:
        """End it.

        Raises:
            NotFound: there is no such view.
        """
        await self._find(caller, name, view_id).transport.close("left")

    def _find(self, caller: Caller, name: str, view_id: str) -> _View:
        view = self._views.get(view_id)
        whose = (caller.tenant, caller.subject, name)
        if view is None or (view.caller.tenant, view.caller.subject, view.name) != whose:
            raise NotFound("There is no such view.")
        return view

    async def _make(self, caller: Caller, name: str, source: Source) -> _View:
        from downstage.media.transport.protocol import TransportEvents

        opened = anyio.Event()
        made = list[_View]()

        def key_wanted() -> None:
            if made and made[0].coder is not None:
                made[0].coder.begin_anew()

        events = TransportEvents(
            on_message=lambda _: None,
            on_key_wanted=key_wanted,
            on_lost=lambda _: key_wanted(),
            on_rate=lambda _: None,
            on_open=opened.set,
            on_closed=lambda _: opened.set(),
        )
        transport = await anyio.to_thread.run_sync(_load)
        options = self._options(source)
        view = _View(new_id("v"), caller, name, source, transport(options, events), opened)
        made.append(view)
        return view

    def _options(self, source: Source) -> Any:
        from downstage.media.transport.webrtc import PeerOptions

        return PeerOptions(
            ceiling_kbps=KBPS,
            ice_servers=tuple(self._media.ice_servers),
            udp_ports=self._media.udp_ports,
            public_ip=self._media.public_ip,
            audio=isinstance(source, CodedStreams) and source.sound == "opus",
        )

    # Showing

    async def _run(self, view: _View) -> None:
        try:
            await first_of(view.transport.run, lambda: self._show(view))
        except PlatformError as error:
            log.warning("view.failed", stream=view.name, error_code=error.code)
        finally:
            self._views.pop(view.id, None)
            await view.transport.close("ended")
            log.info("view.ended", stream=view.name, frames=view.frames)

    async def _show(self, view: _View) -> None:
        await view.opened.wait()
        log.info("view.opened", stream=view.name)
        if isinstance(view.source, ImageStream):
            await self._show_images(view, view.source)
        else:
            await self._show_coded(view, view.source)

    async def _show_images(self, view: _View, source: ImageStream) -> None:
        coder, clock = ImageCoder(source.raw), WallClock()
        view.coder = coder
        newest: list[Entry] = []
        arrived = anyio.Event()

        async def read() -> None:
            wish = Wish({source.stream: NEWEST}, latest=True)
            async with self._streams.reading(insider(view.caller.tenant), wish) as deliveries:
                async for delivery in deliveries:
                    newest[:] = delivery.entries[-1:]
                    arrived.set()

        async def code() -> None:
            nonlocal arrived
            while True:
                with anyio.move_on_after(REPEAT_S):
                    await arrived.wait()
                arrived, entry = anyio.Event(), newest.pop() if newest else None
                for picture in await anyio.to_thread.run_sync(
                    _code, coder, clock, entry, limiter=self._limiter
                ):
                    self._send(view, picture, coder)

        await first_of(read, code)

    def _send(self, view: _View, picture: Picture, coder: ImageCoder) -> None:
        form = coder.format
        size = Size(form.width, form.height) if form is not None else Size(0, 0)
        view.frames += 1
        data = annex_b(picture.data)
        view.transport.send_video(
            _frame(data, view.frames, view.here_ns(picture.at_us), size, key=picture.key)
        )

    async def _show_coded(self, view: _View, source: CodedStreams) -> None:
        wish = Wish(dict.fromkeys(source.streams, LAST), count=16)
        async with self._streams.reading(insider(view.caller.tenant), wish) as deliveries:
            async for delivery in deliveries:
                for entry in delivery.entries:
                    self._pass_on(view, source, entry)

    def _pass_on(self, view: _View, source: CodedStreams, entry: Entry) -> None:
        unit = Unit.unpack(entry.data)
        if unit is None or unit.end:
            return
        if entry.stream == source.video:
            view.frames += 1
            at_ns = view.here_ns(unit.at_us + unit.shown_after_us)
            frame = _frame(unit.data, view.frames, at_ns, Size(0, 0), key=unit.key)
            view.transport.send_video(frame)
        elif source.sound == "opus":
            packet = AudioPacket(unit.data, unit.at_us * 48 // 1000, time.monotonic_ns())
            view.transport.send_audio(packet)


def _load() -> type[WebRtcTransport]:
    from downstage.media.transport.webrtc import WebRtcTransport

    return WebRtcTransport


def _code(coder: ImageCoder, clock: WallClock, entry: Entry | None) -> list[Picture]:
    if entry is None:
        return coder.repeat(*clock.now())
    try:
        return coder.push(entry.data, *clock.of(entry.id.ms))
    except UnsupportedMedia:
        if not coder.shown:
            raise
        return []


def _frame(data: bytes, number: int, at_ns: int, size: Size, *, key: bool) -> EncodedFrame:
    now = time.monotonic_ns()
    return EncodedFrame(
        data=memoryview(data),
        codec="h264",
        key=key,
        frame_id=number,
        reference_id=None,
        tracked=False,
        capture_ns=at_ns,
        encode_start_ns=now,
        encode_end_ns=now,
        picture=size,
    )
