"""Reading that dialect's control messages: what to do, or a refusal; nothing else comes through.

A message is ``{"type", "data"}``. Places are pixels of the picture as it was when the viewer last
laid out its page, which it does not tell; so its picture keeps the size that it began with, and
what is told here is a share of that size. Wheels turn the other way than the browser's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from downstage.kernel.errors import BadMessage
from downstage.media.frame import Size
from downstage.media.input import events
from downstage.media.input.checks import clamped, flag, typed, whole
from downstage.streamer.anbox.keys import key_of

__all__ = ["Deeds", "Farewell", "Forward", "Reader", "Unknown"]

MAX_BYTES = 64 * 1024
MAX_FORWARD = 16 * 1024
MAX_WAY = 4096.0
WHEEL_STEP = 100.0
"""CSS pixels of one click."""
MAX_CLICKS = 10.0
MAX_TIMES = 32
MAX_TEXT, TEXT_PIECE = 16 * 1024, 1024
MAX_FINGER = 9
MAX_PADS, MAX_PAD_PARTS = 16, 64
_BUTTONS = {1: 0, 2: 1, 3: 2, 4: 3, 5: 4}
"""Theirs → the browser's."""
_FORMATS = (None, "wgs84", "nmea")
_SENSORS = {
    "orientation": ("roll", "pitch", "azimuth"),
    "acceleration": ("x", "y", "z"),
    "gyroscope": ("x", "y", "z"),
}


@dataclass(frozen=True, slots=True)
class Deeds:
    """Input for the display."""

    events: tuple[events.Event, ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """Something for the application."""

    kind: str
    data: Any


@dataclass(frozen=True, slots=True)
class Farewell:
    """The viewer ends the stream."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A kind of message that this version does not know."""

    kind: str


Meaning = Deeds | Forward | Farewell | Unknown
_Data = dict[str, Any]


class Reader:
    """Reads what one viewer says.

    Args:
        layout: the size of the picture as the viewer knows it.
    """

    def __init__(self, layout: Size) -> None:
        self.layout = layout
        self._fingers: dict[int, tuple[float, float]] = {}
        self._readers: dict[str, Callable[[_Data], events.Event | Meaning]] = {
            "input::mouse-move": self._move,
            "input::mouse-button": _button,
            "input::mouse-wheel": _wheel,
            "input::key": _key,
            "input::touch-start": self._touch_start,
            "input::touch-move": self._touch_move,
            "input::touch-end": self._touch_end,
            "input::gamepad-button": _pad_button,
            "input::gamepad-axes": _pad_axis,
            "input::ime-event": _ime,
            "location::update-position": _position,
            "sensor:event": _sensor,
            "vhal::get-all-prop-configs": lambda data: _forward("vhal::get-all-prop-configs", data),
            "vhal::get": lambda data: _forward("vhal::get", data),
            "vhal::set": lambda data: _forward("vhal::set", data),
            "stream::disconnect": lambda _: Farewell(),
        }

    def read(self, message: str | bytes) -> Meaning:
        """What one message asks for.

        Raises:
            BadMessage: it is too long, not of the form, or says something that cannot be.
        """
        if len(message) > MAX_BYTES:
            raise BadMessage("a control message is at most 64 KiB")
        try:
            raw: object = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise BadMessage("a control message must be JSON") from error
        said = cast("_Data", raw) if isinstance(raw, dict) else {}
        kind, data = said.get("type"), said.get("data")
        if not isinstance(kind, str):
            raise BadMessage("a control message has a type")
        read = self._readers.get(kind)
        if read is None:
            return Unknown(kind[:64])
        if data is not None and not isinstance(data, dict):
            raise BadMessage("a control message's data is an object")
        meant = read(cast("_Data", data or {}))
        return meant if isinstance(meant, Meaning) else Deeds((meant,))

    def _place(self, data: _Data) -> tuple[float, float]:
        width, height = max(1, self.layout.width), max(1, self.layout.height)
        x = clamped(data.get("x"), -1e9, 1e9) / width
        y = clamped(data.get("y"), -1e9, 1e9) / height
        return min(1.0, max(0.0, x)), min(1.0, max(0.0, y))

    def _move(self, data: _Data) -> events.Event:
        if data.get("x") is None and data.get("y") is None:
            return events.MoveBy(
                clamped(data.get("rx"), -MAX_WAY, MAX_WAY),
                clamped(data.get("ry"), -MAX_WAY, MAX_WAY),
            )
        return events.Move(*self._place(data))

    def _touch_start(self, data: _Data) -> events.Event:
        finger = whole(data.get("id"), 0, MAX_FINGER)
        self._fingers[finger] = self._place(data)
        return events.Touch(finger, "start", *self._fingers[finger])

    def _touch_move(self, data: _Data) -> Meaning:
        finger, place = data.get("id"), self._place(data)
        if not isinstance(finger, int) or finger not in self._fingers:
            return Deeds(())
        self._fingers[finger] = place
        return Deeds((events.Touch(finger, "move", *place),))

    def _touch_end(self, data: _Data) -> Meaning:
        # Viewers end touches that never began, where the pointer left the picture.
        finger = data.get("id")
        if not isinstance(finger, int) or finger not in self._fingers:
            return Deeds(())
        return Deeds((events.Touch(finger, "end", *self._fingers.pop(finger)),))


def _button(data: _Data) -> Meaning:
    button = _BUTTONS.get(whole(data.get("button"), 0, 255))
    pressed = flag(data.get("pressed"))
    return Deeds(() if button is None else (events.Button(button, pressed),))


def _wheel(data: _Data) -> events.Event:
    return events.Wheel(
        -clamped(data.get("x", 0), -MAX_CLICKS, MAX_CLICKS) * WHEEL_STEP,
        -clamped(data.get("y", 0), -MAX_CLICKS, MAX_CLICKS) * WHEEL_STEP,
    )


def _known_key(code: object) -> int:
    key = key_of(whole(code, 0, 255))
    if key is None:
        raise BadMessage("the key is not known")
    return key


def _key(data: _Data) -> events.Event:
    return events.Key(_known_key(data.get("code")), flag(data.get("pressed")))


def _pad_button(data: _Data) -> Meaning:
    content = {**_pad(data), "pressed": flag(data.get("pressed"))}
    return Forward("input::gamepad-button", content)


def _pad_axis(data: _Data) -> Meaning:
    content = {**_pad(data), "value": clamped(data.get("value"), -1.0, 1.0)}
    return Forward("input::gamepad-axes", content)


def _pad(data: _Data) -> _Data:
    return {
        "id": whole(data.get("id"), 0, MAX_PADS - 1),
        "index": whole(data.get("index"), 0, MAX_PAD_PARTS - 1),
    }


def _ime(data: _Data) -> Meaning:
    kind = whole(data.get("type"), 1, 5)
    content = data.get("data")
    if not isinstance(content, dict):
        raise BadMessage("an input method's event has data")
    said = cast("_Data", content)
    if kind == 1:
        text = typed(said.get("text"), MAX_TEXT)
        pieces = range(0, len(text), TEXT_PIECE)
        return Deeds(tuple(events.Text(text[at : at + TEXT_PIECE]) for at in pieces))
    if kind == 2:  # noqa: PLR2004 - the dialect's number
        key, times = _known_key(said.get("code")), whole(said.get("times", 1), 0, MAX_TIMES)
        return Deeds((events.Key(key, down=True), events.Key(key, down=False)) * times)
    # What is still being composed, and what its keyboard is asked for, is the application's.
    return _forward("input::ime-event", {"type": kind, "data": said})


def _position(data: _Data) -> Meaning:
    if data.get("format") not in _FORMATS:
        raise BadMessage("a place is in wgs84 or nmea")
    return _forward("location::update-position", data)


def _sensor(data: _Data) -> Meaning:
    name = data.get("sensor")
    axes = _SENSORS.get(name) if isinstance(name, str) else None
    if axes is None:
        raise BadMessage("the sensor is not known")
    values = {axis: clamped(data.get(axis), -1e9, 1e9) for axis in axes}
    return Forward("sensor:event", {"sensor": name, **values})


def _forward(kind: str, data: _Data) -> Meaning:
    try:
        length = len(json.dumps(data, allow_nan=False))
    except (ValueError, RecursionError) as error:
        raise BadMessage("a number must be finite") from error
    if length > MAX_FORWARD:
        raise BadMessage("what goes to the application is at most 16 KiB")
    return Forward(kind, data)
