"""Give an X screen another size through RandR, as Xvfb takes it.

Xvfb can be made any size up to the one it was started with: it is given a mode of that size, the
screen is cut or grown, and the mode goes to its one output. Windows that filled the old screen
are made to fill the new one, since on such a display no window manager does it.
"""

from __future__ import annotations

from typing import Any

from Xlib import X
from Xlib.display import Display
from Xlib.error import XError
from Xlib.ext import randr

from downstage.kernel.logging import get_logger
from downstage.media.frame import Size

__all__ = ["current_size", "largest_size", "resize_screen", "top_windows"]

log = get_logger(__name__)

_MM_PER_PIXEL = 25.4 / 96


def current_size(display: Display) -> Size:
    """The root window's size."""
    geometry: Any = display.screen().root.get_geometry()
    return Size(int(geometry.width), int(geometry.height))


def largest_size(display: Display) -> Size:
    """The largest size the server would take; the present one where RandR is missing."""
    if not display.has_extension("RANDR"):
        return current_size(display)
    limits: Any = randr.get_screen_size_range(display.screen().root)
    return Size(int(limits.max_width), int(limits.max_height))


def top_windows(display: Display) -> list[Any]:
    """Windows of applications that are to be seen."""
    seen: list[Any] = []
    for window in display.screen().root.query_tree().children:
        try:
            attributes: Any = window.get_attributes()
            geometry: Any = window.get_geometry()
        except XError:
            continue
        if attributes.map_state == X.IsViewable and min(geometry.width, geometry.height) > 1:
            seen.append((window, attributes, geometry))
    return seen


def resize_screen(display: Display, size: Size) -> bool:
    """Make the screen *size*; False where the server refuses.

    Args:
        display: a connection of its own: round trips are made on it.
        size: even, and within `largest_size`.
    """
    before = current_size(display)
    if before == size:
        return True
    if not display.has_extension("RANDR"):
        return False
    if not _set_mode(display, size):
        return False
    _stretch_windows(display, before, size)
    display.sync()
    return current_size(display) == size


def _set_mode(display: Display, size: Size) -> bool:
    root = display.screen().root
    resources: Any = randr.get_screen_resources(root)
    if not resources.crtcs or not resources.outputs:
        return False
    crtc, output = resources.crtcs[0], resources.outputs[0]
    mode = _mode_for(display, resources, size)
    off: list[int] = []
    randr.set_crtc_config(display, crtc, X.CurrentTime, 0, 0, 0, randr.Rotate_0, off)
    randr.set_screen_size(
        root,
        size.width,
        size.height,
        max(1, round(size.width * _MM_PER_PIXEL)),
        max(1, round(size.height * _MM_PER_PIXEL)),
    )
    reply: Any = randr.set_crtc_config(
        display, crtc, X.CurrentTime, 0, 0, mode, randr.Rotate_0, [output]
    )
    return int(reply.status) == 0


def _mode_for(display: Display, resources: Any, size: Size) -> int:
    for known in resources.modes:
        if (known.width, known.height) == (size.width, size.height):
            return int(known.id)
    name = f"{size}@downstage"
    width, height = size.width, size.height
    timing = (0, width, height, width * height * 60, width, width, width, 0)
    made: Any = randr.create_mode(
        display.screen().root, (*timing, height, height, height, len(name), 0), name
    )
    randr.add_output_mode(display, resources.outputs[0], made.mode)
    return int(made.mode)


def _stretch_windows(display: Display, before: Size, after: Size) -> None:
    for window, attributes, geometry in top_windows(display):
        if attributes.override_redirect:
            continue
        if geometry.width >= before.width and geometry.height >= before.height:
            window.configure(x=0, y=0, width=after.width, height=after.height)
