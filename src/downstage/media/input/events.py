"""Reading input messages: a checked event, or a refusal; nothing a viewer sends goes further.

Messages are JSON arrays, at most 4 KiB, as `downstage.contracts.streamer` lists them. Places are
clamped to the picture, ways and wheels to what a hand can do; NaN, infinities, unknown codes and
anything out of form are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from downstage.kernel.errors import BadMessage
from downstage.media.input.checks import clamped, flag, typed, whole
from downstage.media.input.injector import TouchPhase
from downstage.media.input.keys import KEYS

__all__ = [
    "Acknowledge",
    "Button",
    "Event",
    "Key",
    "KeyFrame",
    "Move",
    "MoveBy",
    "Ping",
    "Release",
    "Resize",
    "Text",
    "Touch",
    "Visible",
    "Wheel",
    "parse",
]

MAX_BYTES = 4096
MAX_WAY = 4096.0
MAX_TEXT = 1024
MAX_FINGERS = 16
MAX_SIDE = 65535
_PHASES: tuple[TouchPhase, ...] = ("start", "move", "end")


@dataclass(frozen=True, slots=True)
class Move:
    """Pointer to a place, 0..1 of the picture."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class MoveBy:
    """Pointer by a way, pixels."""

    dx: float
    dy: float


@dataclass(frozen=True, slots=True)
class Button:
    """DOM button 0..4."""

    button: int
    down: bool


@dataclass(frozen=True, slots=True)
class Wheel:
    """CSS pixels."""

    dx: float
    dy: float


@dataclass(frozen=True, slots=True)
class Key:
    """A Linux key code."""

    code: int
    down: bool


@dataclass(frozen=True, slots=True)
class Text:
    """Text from an input method."""

    text: str


@dataclass(frozen=True, slots=True)
class Touch:
    """A finger, 0..1 of the picture."""

    finger: int
    phase: TouchPhase
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Release:
    """Everything held is to be let go."""


@dataclass(frozen=True, slots=True)
class Resize:
    """The viewer's size in device pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The newest picture received."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """The viewer cannot decode without a key frame."""


@dataclass(frozen=True, slots=True)
class Visible:
    """The page is shown, or hidden."""

    visible: bool


Event = (
    Move
    | MoveBy
    | Button
    | Wheel
    | Key
    | Text
    | Touch
    | Release
    | Resize
    | Acknowledge
    | Ping
    | KeyFrame
    | Visible
)


def parse(message: str | bytes) -> Event:
    """Read one message.

    Raises:
        BadMessage: it is too long, not of the form, or says something that cannot be.
    """
    if len(message) > MAX_BYTES or (
        isinstance(message, str) and len(message.encode("utf-8", "replace")) > MAX_BYTES
    ):
        raise BadMessage("an input message is at most 4 KiB")
    try:
        raw: object = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise BadMessage("an input message must be JSON") from error
    items = cast("list[object]", raw) if isinstance(raw, list) else []
    read = _READERS.get(items[0]) if items and isinstance(items[0], str) else None
    if read is None:
        raise BadMessage("an input message is an array that begins with its kind")
    return read(items[1:])


def _fields(rest: list[object], count: int) -> list[object]:
    if len(rest) != count:
        raise BadMessage("an input message has too few or too many fields")
    return rest


def _move(rest: list[object]) -> Event:
    x, y = _fields(rest, 2)
    return Move(clamped(x, 0, 1), clamped(y, 0, 1))


def _move_by(rest: list[object]) -> Event:
    dx, dy = _fields(rest, 2)
    return MoveBy(clamped(dx, -MAX_WAY, MAX_WAY), clamped(dy, -MAX_WAY, MAX_WAY))


def _button(rest: list[object]) -> Event:
    button, down = _fields(rest, 2)
    return Button(whole(button, 0, 4), flag(down))


def _wheel(rest: list[object]) -> Event:
    dx, dy = _fields(rest, 2)
    return Wheel(clamped(dx, -MAX_WAY, MAX_WAY), clamped(dy, -MAX_WAY, MAX_WAY))


def _key(rest: list[object]) -> Event:
    code, down = _fields(rest, 2)
    known = KEYS.get(code) if isinstance(code, str) else None
    if known is None:
        raise BadMessage("the key is not known")
    return Key(known, flag(down))


def _text(rest: list[object]) -> Event:
    (text,) = _fields(rest, 1)
    return Text(typed(text, MAX_TEXT))


def _touch(rest: list[object]) -> Event:
    finger, phase, x, y = _fields(rest, 4)
    return Touch(
        whole(finger, 0, MAX_FINGERS - 1),
        _PHASES[whole(phase, 0, 2)],
        clamped(x, 0, 1),
        clamped(y, 0, 1),
    )


def _release(rest: list[object]) -> Event:
    _fields(rest, 0)
    return Release()


def _resize(rest: list[object]) -> Event:
    width, height = _fields(rest, 2)
    return Resize(round(clamped(width, 1, MAX_SIDE)), round(clamped(height, 1, MAX_SIDE)))


def _acknowledge(rest: list[object]) -> Event:
    (sequence,) = _fields(rest, 1)
    return Acknowledge(whole(sequence, 0, 0xFFFFFFFF))


def _ping(rest: list[object]) -> Event:
    (number,) = _fields(rest, 1)
    return Ping(whole(number, 0, 2**53))


def _key_frame(rest: list[object]) -> Event:
    _fields(rest, 0)
    return KeyFrame()


def _visible(rest: list[object]) -> Event:
    (visible,) = _fields(rest, 1)
    return Visible(flag(visible))


_READERS: dict[str, Callable[[list[object]], Event]] = {
    "m": _move,
    "r": _move_by,
    "b": _button,
    "w": _wheel,
    "k": _key,
    "x": _text,
    "t": _touch,
    "u": _release,
    "z": _resize,
    "a": _acknowledge,
    "p": _ping,
    "i": _key_frame,
    "v": _visible,
}
