"""One seat's stream: its transport, its hands on the display, its manners."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from downstage.kernel.errors import BadMessage
from downstage.kernel.logging import get_logger
from downstage.media.frame import AudioPacket, EncodedFrame, Size
from downstage.media.input import Hands, InputLimiter, NotController, acts, events, parse
from downstage.media.transport import Transport
from downstage.streamer import control
from downstage.streamer.demand import Need

__all__ = ["Role", "Viewer", "ViewerEvents"]

log = get_logger(__name__)

Role = Literal["controller", "spectator"]

MAX_BAD = 100
"""Malformed messages before the seat is put out: an honest page sends none."""
NOTICE_S = 1.0
KEY_FRAME_S = 0.2


@dataclass(frozen=True, slots=True)
class ViewerEvents:
    """What a viewer asks of the house."""

    on_resize: Callable[[Size], None]
    on_key_wanted: Callable[[Viewer], None]
    on_need_changed: Callable[[], None]
    on_input: Callable[[], None]
    on_misbehaved: Callable[[Viewer, str], None]


class Viewer:
    """One seat with a path to it; `attach` gives it the transport."""

    def __init__(
        self, peer: str, role: Role, hands: Hands, *, kbps: int, events: ViewerEvents
    ) -> None:
        self.peer, self.role = peer, role
        self._hands, self._events = hands, events
        self._limiter = InputLimiter(time.monotonic())
        self._kbps = kbps
        self._visible = True
        self._bad = 0
        self._noticed_at = self._key_asked_at = 0.0
        self._transport: Transport | None = None
        self.size = Size(0, 0)
        """The picture's size, by which places are understood."""
        self.holds_size = False
        """Its page understands places by the size that it began with: nobody may change it."""

    @property
    def transport(self) -> Transport:
        """The path to the viewer."""
        if self._transport is None:
            msg = "the viewer has no transport yet"
            raise RuntimeError(msg)
        return self._transport

    def attach(self, transport: Transport) -> None:
        """Give the viewer its path."""
        self._transport = transport

    @property
    def need(self) -> Need:
        """What has to be encoded for this viewer."""
        open_ = self._transport is not None and self._transport.is_open
        codec = self._transport.codec if self._transport is not None else "h264"
        return Need(codec, open_ and self._visible, self._kbps)

    def show(self, frame: EncodedFrame) -> None:
        """Send a picture, where the page is shown."""
        if self._visible and self._transport is not None:
            self._transport.send_video(frame)

    def play(self, packet: AudioPacket) -> None:
        """Send a packet of sound."""
        if self._transport is not None:
            self._transport.send_audio(packet)

    def tell(self, message: str) -> None:
        """Send a control message."""
        if self._transport is not None:
            self._transport.send_control(message)

    def rate_changed(self, kbps: int) -> None:
        """The path carries *kbps*."""
        if kbps != self._kbps:
            self._kbps = kbps
            self._events.on_need_changed()

    def message(self, raw: str | bytes) -> None:
        """Take one input message: check it, then act on it."""
        try:
            event = parse(raw)
        except BadMessage as error:
            self.refuse(error)
            return
        self.take(event)

    def refuse(self, error: BadMessage) -> None:
        """A message of this viewer could not be read; too many of them put it out."""
        self._bad += 1
        if self._bad == MAX_BAD:
            log.warning("input.refused", peer=self.peer, detail=error.detail)
            self._events.on_misbehaved(self, error.code)

    def take(self, event: events.Event) -> None:
        """Act on one checked event, within what this viewer may do."""
        now = time.monotonic()
        if not self._limiter.allows(event, now):
            return
        if acts(event):
            self._act(event, now)
        else:
            self._serve(event, now)

    def acted(self) -> None:
        """It did something that no display takes; it is not idle."""
        self._events.on_input()

    def let_go(self) -> None:
        """Release every key, button and finger it holds."""
        self._hands.release()

    def _act(self, event: events.Event, now: float) -> None:
        try:
            self._hands.apply(event, self.size)
            if isinstance(event, events.Resize):
                self._events.on_resize(Size(event.width, event.height))
            else:
                self._events.on_input()
        except NotController as error:
            if now - self._noticed_at >= NOTICE_S:
                self._noticed_at = now
                self.tell(control.notice(error.code))

    def _serve(self, event: events.Event, now: float) -> None:
        match event:
            case events.Acknowledge(sequence):
                self.transport.acknowledge(sequence)
            case events.Ping(number):
                self.tell(control.pong(number))
            case events.KeyFrame():
                if now - self._key_asked_at >= KEY_FRAME_S:
                    self._key_asked_at = now
                    self._events.on_key_wanted(self)
            case events.Visible(visible):
                self._set_visible(visible=visible)
            case _:
                pass

    def _set_visible(self, *, visible: bool) -> None:
        if visible == self._visible:
            return
        self._visible = visible
        self._events.on_need_changed()
        if visible:
            self._events.on_key_wanted(self)
