"""Input into the compositor of our own: its seat takes events straight from this process."""

from __future__ import annotations

from itertools import islice

import pixelflux

from downstage.media.input.injector import TouchPhase
from downstage.media.input.keysyms import keysym_of

__all__ = ["WaylandInjector"]

_BUTTONS = {0: 272, 1: 274, 2: 273, 3: 275, 4: 276}
_XKB_OFFSET = 8
WHEEL_STEP = 100.0
"""CSS pixels of one wheel click in the browsers we know."""
_NOTCH = 10.0
"""Units of one wheel click in the compositor."""
_SPARE = range(231, 255)
"""Keycodes that no browser's key has; each is lent to a character that is being typed."""


class WaylandInjector:
    """Acts on the compositor of this process.

    Touch becomes the pointer, as on X11: the compositor has no touch seat for us.

    Args:
        screen: any capture object; they share the one compositor.
    """

    def __init__(self, screen: pixelflux.ScreenCapture) -> None:
        self._screen = screen
        self._finger: int | None = None
        # Characters are lent keys on top of a base layout, which has to be named first.
        screen.set_xkb_layout("us")

    def move(self, x: float, y: float) -> None:
        """Pointer to a place."""
        self._screen.inject_mouse_move(x, y)

    def move_by(self, dx: float, dy: float) -> None:
        """Pointer by a way; clients with a locked pointer get the way itself."""
        self._screen.inject_relative_mouse_move(dx, dy)

    def button(self, button: int, *, down: bool) -> None:
        """Press or release a button."""
        self._screen.inject_mouse_button(_BUTTONS[button], int(down))

    def wheel(self, dx: float, dy: float) -> None:
        """Scroll by parts of a click."""
        self._screen.inject_mouse_scroll(dx / WHEEL_STEP * _NOTCH, dy / WHEEL_STEP * _NOTCH)

    def key(self, code: int, *, down: bool) -> None:
        """Press or release a key."""
        self._screen.inject_key(code + _XKB_OFFSET, int(down))

    def text(self, text: str) -> None:
        """Type *text* on keys that are lent to its characters, a few at a time."""
        characters = iter(text)
        while part := list(islice(characters, len(_SPARE))):
            lent = dict(zip(dict.fromkeys(part), _SPARE, strict=False))
            self._screen.set_keymap_overlay([(key, keysym_of(c)) for c, key in lent.items()])
            self._screen.inject_keys([(lent[c], state) for c in part for state in (1, 0)])

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
        """Nothing is gathered here."""
