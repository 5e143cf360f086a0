"""From the renderer's pixels to the window: fewer while it must be quick, more while it rests.

In motion a picture is drawn once, smaller when the machine is too busy for a full one. At
rest it is drawn some more times, each shifted by a part of a pixel, and the mean is shown:
smooth edges for nothing but idle time.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from downstage.apps.usd_viewer.draw.renderer import Renderer
from downstage.apps.usd_viewer.hud import paint_backdrop
from downstage.apps.usd_viewer.orbit import Orbit

__all__ = ["Pace", "Painter"]

_SHIFTS = (
    (0.06, -0.31),
    (-0.31, 0.19),
    (0.19, 0.44),
    (0.44, -0.06),
    (-0.44, -0.19),
    (-0.06, 0.06),
    (0.31, 0.31),
    (-0.19, -0.44),
)


class Pace:
    """Chooses how many pixels are drawn in motion, from how long pictures took."""

    SCALES = (1.0, 0.8, 0.64)
    PATIENCE = 8
    """Pictures in a row that must be slow (or quick) before it changes."""

    def __init__(self, budget_s: float) -> None:
        """Aim at pictures that take *budget_s* or less."""
        self._budget = budget_s
        self._level = 0
        self._streak = 0

    @property
    def scale(self) -> float:
        """Part of the full width and height to draw."""
        return self.SCALES[self._level]

    def note(self, took_s: float) -> None:
        """A picture took this long."""
        slow = took_s > self._budget
        quick = took_s < self._budget * 0.45
        if slow:
            self._streak = max(self._streak, 0) + 1
        elif quick:
            self._streak = min(self._streak, 0) - 1
        else:
            self._streak = 0
        if self._streak >= self.PATIENCE and self._level < len(self.SCALES) - 1:
            self._level, self._streak = self._level + 1, 0
        elif self._streak <= -self.PATIENCE * 6 and self._level > 0:
            self._level, self._streak = self._level - 1, 0


class Painter:
    """Owns the renderer and paints its pictures on surfaces."""

    def __init__(self, size: tuple[int, int], budget_s: float) -> None:
        """Make pictures of *size*; in motion aim at one in *budget_s*."""
        self.renderer = Renderer(size)
        self._pace = Pace(budget_s)
        self._size = self._drawn_size = size
        self._backdrop, self._canvas = _canvases(size)
        self._sum: NDArray[np.uint16] | None = None
        self._count = 0

    @property
    def is_refined(self) -> bool:
        """Nothing can be made better by drawing it again."""
        return self._count >= len(_SHIFTS)

    def resize(self, size: tuple[int, int]) -> None:
        """Make pictures of another size."""
        self._size = size
        self._backdrop, self._canvas = _canvases(size)
        self._sum = None

    def paint(self, surface: pygame.Surface, orbit: Orbit) -> None:
        """Draw the scene as it stands, quickly."""
        began = time.perf_counter()
        self._use(self._pace.scale)
        pixels = self.renderer.render(orbit)
        self._show(surface, pixels)
        self._sum, self._count = None, 0
        self._pace.note(time.perf_counter() - began)

    def refine(self, surface: pygame.Surface, orbit: Orbit) -> None:
        """Draw it once more and show the mean of all since it rests."""
        self._use(1.0)
        pixels = self.renderer.render(orbit, _SHIFTS[self._count])
        if self._sum is None:
            self._sum = pixels.astype(np.uint16)
        else:
            self._sum += pixels
        self._count += 1
        mean: Any = self._sum // self._count
        self._show(surface, np.ascontiguousarray(mean.astype(np.uint8)))

    def _use(self, scale: float) -> None:
        size = max(16, round(self._size[0] * scale)), max(16, round(self._size[1] * scale))
        if size != self._drawn_size:
            self.renderer.resize(size)
            self._drawn_size = size

    def _show(self, surface: pygame.Surface, pixels: NDArray[np.uint8]) -> None:
        picture = pygame.image.frombuffer(pixels.data, self._drawn_size, "RGBA")
        picture = pygame.transform.flip(picture, flip_x=False, flip_y=True)
        if self._drawn_size != self._size:
            picture = pygame.transform.smoothscale(picture, self._size)
        self._canvas.blit(self._backdrop, (0, 0))
        self._canvas.blit(picture, (0, 0), special_flags=pygame.BLEND_PREMULTIPLIED)
        surface.blit(self._canvas, (0, 0))

    def to_drawn(self, spot: tuple[int, int]) -> tuple[int, int]:
        """A spot of the window in pixels of the last picture drawn."""
        x = spot[0] * self._drawn_size[0] // self._size[0]
        return x, spot[1] * self._drawn_size[1] // self._size[1]


def _canvases(size: tuple[int, int]) -> tuple[pygame.Surface, pygame.Surface]:
    """Backdrop, and something to lay pictures over it, with colours in VTK's order.

    Blending between two orders takes 10 ms at 1280x720, within one 0.2 ms.
    """
    canvas = pygame.Surface(size, 0, 32, (0xFF, 0xFF00, 0xFF0000, 0))
    return paint_backdrop(size).convert(canvas), canvas
