"""Input into the compositor of our own: its seat takes events straight from this process."""

from __future__ import annotations

import queue
import threading

import pixelflux

from downstage.kernel.logging import get_logger
from downstage.media.input.injector import TouchPhase

__all__ = ["WaylandInjector"]

log = get_logger(__name__)

_BUTTONS = {0: 272, 1: 274, 2: 273, 3: 275, 4: 276}
WHEEL_STEP = 100.0
_NOTCH = 15.0
MAX_TYPING = 64


class WaylandInjector:
    """Acts on the compositor of this process.

    Touch becomes the pointer, as on X11: the compositor has no touch seat for us. Text is typed
    by a thread, since the compositor takes it through a client connection that may wait.

    Args:
        screen: any capture object; they share the one compositor.
        display: the compositor's socket name.
    """

    def __init__(self, screen: pixelflux.ScreenCapture, display: str) -> None:
        self._screen, self._name = screen, display
        self._finger: int | None = None
        self._typing: queue.Queue[str] = queue.Queue(MAX_TYPING)
        self._typist: threading.Thread | None = None

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
        """Scroll; a wheel's click is 100 CSS pixels to browsers and 15 units to Wayland."""
        self._screen.inject_mouse_scroll(dx / WHEEL_STEP * _NOTCH, dy / WHEEL_STEP * _NOTCH)

    def key(self, code: int, *, down: bool) -> None:
        """Press or release a key."""
        self._screen.inject_key(code, int(down))

    def text(self, text: str) -> None:
        """Hand *text* to the typist; dropped where far too much is waiting already."""
        try:
            self._typing.put_nowait(text)
        except queue.Full:
            log.warning("input.text_dropped", length=len(text))
            return
        if self._typist is None:
            self._typist = threading.Thread(target=self._type, name="typist", daemon=True)
            self._typist.start()

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

    def _type(self) -> None:
        while True:
            text = self._typing.get()
            try:
                self._screen.type_text_wayland(self._name, text)
            except (pixelflux.VirtualKeyboardUnavailable, RuntimeError, OSError) as error:
                log.warning("input.text_failed", error=str(error))
