"""Input into an X display by XTEST: one write an event, no round trip."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from Xlib import X
from Xlib.display import Display
from Xlib.error import DisplayError
from Xlib.ext import xtest

from downstage.media.input.injector import TouchPhase
from downstage.media.input.keysyms import keysym_of

__all__ = ["X11Injector"]

_EVDEV_OFFSET = 8
_LAST_KEYCODE = 255
_BUTTONS = {0: 1, 1: 2, 2: 3, 3: 8, 4: 9}
_UP, _DOWN, _LEFT, _RIGHT = 4, 5, 6, 7
WHEEL_STEP = 100.0
"""CSS pixels of one wheel click in the browsers we know."""
MAX_CLICKS = 40
_SPARE = 16
_SHIFT = 42 + _EVDEV_OFFSET


class X11Injector:
    """Acts on one X display through a connection of its own.

    Touch becomes the pointer: the first finger presses the left button, others are not seen.

    Args:
        name: the display, ``:N``.
    """

    def __init__(self, name: str) -> None:
        self._display = Display(name)
        if not self._display.has_extension("XTEST"):
            self._display.close()
            msg = "the X server has no XTEST extension"
            raise DisplayError(msg)
        self._wheel_x = self._wheel_y = 0.0
        self._finger: int | None = None
        self._spare = _spare_keycodes(self._display)
        self._typed: OrderedDict[int, int] = OrderedDict()

    def move(self, x: float, y: float) -> None:
        """Pointer to a place."""
        self._fake(X.MotionNotify, 0, x=round(x), y=round(y))

    def move_by(self, dx: float, dy: float) -> None:
        """Pointer by a way."""
        self._fake(X.MotionNotify, 1, x=round(dx), y=round(dy))

    def button(self, button: int, *, down: bool) -> None:
        """Press or release a button."""
        self._fake(X.ButtonPress if down else X.ButtonRelease, _BUTTONS[button])

    def wheel(self, dx: float, dy: float) -> None:
        """Whole clicks; what is left over waits for more."""
        self._wheel_x = self._click(self._wheel_x + dx, _LEFT, _RIGHT)
        self._wheel_y = self._click(self._wheel_y + dy, _UP, _DOWN)

    def key(self, code: int, *, down: bool) -> None:
        """Press or release a key."""
        keycode = code + _EVDEV_OFFSET
        if keycode <= _LAST_KEYCODE:
            self._fake(X.KeyPress if down else X.KeyRelease, keycode)

    def text(self, text: str) -> None:
        """Type each character: by its own key where the layout has it, else by a spare key."""
        for character in text:
            keysym = keysym_of(character)
            keycode, shifted = self._find(keysym)
            if shifted:
                self._fake(X.KeyPress, _SHIFT)
            self._fake(X.KeyPress, keycode)
            self._fake(X.KeyRelease, keycode)
            if shifted:
                self._fake(X.KeyRelease, _SHIFT)

    def touch(self, finger: int, phase: TouchPhase, x: float, y: float) -> None:
        """The first finger is the left button."""
        if phase == "start" and self._finger is None:
            self._finger = finger
            self.move(x, y)
            self.button(0, down=True)
        elif finger == self._finger:
            self.move(x, y)
            if phase == "end":
                self._finger = None
                self.button(0, down=False)

    def flush(self) -> None:
        """Write everything to the server."""
        self._display.flush()

    def close(self) -> None:
        """Leave the display."""
        self._display.close()

    def _fake(self, kind: int, detail: int, *, x: int = 0, y: int = 0) -> None:
        xtest.fake_input(self._display, kind, detail, x=x, y=y)

    def _click(self, total: float, less: int, more: int) -> float:
        clicks = int(total / WHEEL_STEP)
        for _ in range(min(abs(clicks), MAX_CLICKS)):
            button = more if clicks > 0 else less
            self._fake(X.ButtonPress, button)
            self._fake(X.ButtonRelease, button)
        return total - clicks * WHEEL_STEP

    def _find(self, keysym: int) -> tuple[int, bool]:
        for keycode, index in self._display.keysym_to_keycodes(keysym):
            if index in {0, 1} and keycode not in self._spare:
                return keycode, index == 1
        return self._borrow(keysym), False

    def _borrow(self, keysym: int) -> int:
        """A spare keycode that means *keysym*; the one unused for longest is given away."""
        if keysym in self._typed:
            self._typed.move_to_end(keysym)
            return self._typed[keysym]
        if len(self._typed) < len(self._spare):
            keycode = self._spare[len(self._typed)]
        else:
            _, keycode = self._typed.popitem(last=False)
        self._display.change_keyboard_mapping(keycode, [(keysym, keysym)])
        self._typed[keysym] = keycode
        return keycode


def _spare_keycodes(display: Display) -> list[int]:
    """Keycodes that mean nothing in the present layout, highest first."""
    info: Any = display.display.info
    first, last = int(info.min_keycode), int(info.max_keycode)
    mapping: Any = display.get_keyboard_mapping(first, last - first + 1)
    unused = [first + at for at, meanings in enumerate(mapping) if not any(meanings)]
    return unused[::-1][:_SPARE]
