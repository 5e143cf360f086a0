"""One window over the whole display, for applications that draw with SDL.

A streamed display has no window manager, and it changes its size while people look at it.
`Screen` puts a borderless window over it and follows: on X11 a second connection listens for
changes of the root window (SDL does not), on Wayland the compositor tells SDL itself.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("SDL_VIDEO_WINDOW_POS", "0,0")

import pygame
import pygame.base

__all__ = [
    "RESIZED",
    "Screen",
    "end_on_signals",
    "load_font",
    "parse_rate",
    "parse_size",
    "wait_for_events",
]

RESIZED = pygame.event.custom_type()
"""Posted with ``size`` when the display under the window has changed."""

SMALLEST, LARGEST = 16, 8192
FASTEST = 240
_FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans{bold}.ttf",
    "/usr/share/fonts/TTF/DejaVuSans{bold}.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans{bold}.ttf",
)


def parse_size(text: str) -> tuple[int, int]:
    """Read ``1280x720``.

    Raises:
        ValueError: not two whole numbers, or not between 16 and 8192.
    """
    width, sep, height = text.lower().partition("x")
    if not (sep and width.isdecimal() and height.isdecimal()):
        raise ValueError(f"{text!r} is not a size: write it like 1280x720")
    size = int(width), int(height)
    if not all(SMALLEST <= side <= LARGEST for side in size):
        raise ValueError(f"{text!r} is out of range: each side is {SMALLEST} to {LARGEST}")
    return size


def load_font(height: int, *, bold: bool = False) -> pygame.font.Font:
    """A readable sans serif, *height* pixels tall: the system's, else the one in pygame."""
    pygame.font.init()
    for pattern in _FONTS:
        path = Path(pattern.format(bold="-Bold" if bold else ""))
        if path.is_file():
            return pygame.font.Font(path, max(8, round(height * 0.78)))
    return pygame.font.Font(None, max(10, height))


def parse_rate(text: str) -> float:
    """Read pictures a second.

    Raises:
        ValueError: not a number between 1 and 240.
    """
    rate = float(text)
    if not 1 <= rate <= FASTEST:
        raise ValueError(f"{text!r} is out of range: 1 to {FASTEST}")
    return rate


def wait_for_events(timeout_s: float | None = None) -> list[pygame.event.Event]:
    """Sleep until something happens, at most *timeout_s*; then all that happened.

    `pygame.event.wait` looks every millisecond (2 % of a core); SDL's own wait sleeps on the
    display's connection. It is called in the SDL that pygame itself has loaded.
    """
    if _sdl_wait is None:
        first = pygame.event.wait() if timeout_s is None else pygame.event.wait(_ms(timeout_s))
        return [event for event in (first, *pygame.event.get()) if event.type != pygame.NOEVENT]
    pygame.event.pump()
    if not pygame.event.peek():
        _sdl_wait(None, -1 if timeout_s is None else _ms(timeout_s))
    return pygame.event.get()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _find_wait() -> Any:
    try:
        wait = ctypes.CDLL(pygame.base.__file__).SDL_WaitEventTimeout
    except (AttributeError, OSError, TypeError):
        return None
    wait.argtypes = [ctypes.c_void_p, ctypes.c_int]
    wait.restype = ctypes.c_int
    return wait


_sdl_wait = _find_wait()


def end_on_signals(grace_s: float = 2.0) -> None:
    """Turn SIGTERM and SIGINT into pygame's QUIT, also while the program waits for events.

    Python's own handlers would run only after the wait. A program that does not leave within
    *grace_s* is ended. Call it once, first of all: threads started before it keep the signals.
    """
    wanted = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)

    def wait() -> None:
        number = signal.sigwait(wanted)
        timer = threading.Timer(grace_s, os._exit, (128 + number,))
        timer.daemon = True
        timer.start()
        if pygame.display.get_init():
            pygame.event.post(pygame.event.Event(pygame.QUIT))
        else:
            os._exit(128 + number)

    threading.Thread(target=wait, name="signals", daemon=True).start()


class Screen:
    """The window. Feed it every event, draw on `surface`, close it in the end."""

    def __init__(self, title: str, size: tuple[int, int], *, cover: bool = True) -> None:
        """Open the window.

        Args:
            title: for window lists.
            size: wanted size; where the display's own is known, that one wins.
            cover: False keeps *size* and does not follow the display.
        """
        pygame.display.init()
        self.driver = pygame.display.get_driver()
        self._watch = _RootWatch() if cover and self.driver == "x11" else None
        self._flags = pygame.NOFRAME
        if cover and self.driver == "wayland":
            self._flags = pygame.FULLSCREEN
        pygame.display.set_caption(title)
        wanted = self._watch.size if self._watch and self._watch.size else size
        pygame.display.set_mode(wanted, self._flags)
        if self._watch:
            self._watch.start()

    @property
    def surface(self) -> pygame.Surface:
        """What to draw on; another one after each resize."""
        surface = pygame.display.get_surface()
        if surface is None:
            raise RuntimeError("the window is closed")
        return surface

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the window now, in pixels."""
        return self.surface.get_size()

    def handle(self, event: pygame.event.Event) -> bool:
        """Take note of *event*. True: everything has to be drawn again."""
        if event.type == RESIZED:
            if event.size == self.size:
                return False
            pygame.display.set_mode(event.size, self._flags)
            return True
        return event.type in (pygame.WINDOWEXPOSED, pygame.WINDOWSIZECHANGED)

    def close(self) -> None:
        """Stop following and shut the window."""
        if self._watch:
            self._watch.stop()
        pygame.display.quit()


class _RootWatch:
    """Posts `RESIZED` for each new size of the X11 root window, from a thread of its own."""

    def __init__(self) -> None:
        self.size: tuple[int, int] | None = None
        self._display: Any = None
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = os.pipe()
        try:
            self._connect()
        except OSError as error:
            print(f"display size is not followed: {error}", file=sys.stderr)  # noqa: T201

    def _connect(self) -> None:
        xlib: Any = import_module("Xlib.display")
        errors: Any = import_module("Xlib.error")
        try:
            self._display = xlib.Display()
        except (errors.DisplayError, errors.XauthError) as error:
            raise OSError(str(error)) from error
        root = self._display.screen().root
        root.change_attributes(event_mask=1 << 17)  # StructureNotifyMask
        shape = root.get_geometry()
        self.size = shape.width, shape.height

    def start(self) -> None:
        if self._display is not None:
            self._thread = threading.Thread(target=self._run, name="root-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        os.write(self._wake_write, b"x")
        if self._thread:
            self._thread.join(timeout=2)
        if self._display is not None:
            self._display.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        errors: Any = import_module("Xlib.error")
        try:
            self._follow()
        except errors.ConnectionClosedError:
            return  # the display is gone; SDL ends the program

    def _follow(self) -> None:
        configure_notify = 22
        while True:
            while self._display.pending_events():
                event = self._display.next_event()
                if event.type == configure_notify:
                    size = event.width, event.height
                    pygame.event.post(pygame.event.Event(RESIZED, size=size))
            ready, _, _ = select.select([self._display.fileno(), self._wake_read], [], [])
            if self._wake_read in ready:
                return
