"""The card itself: what stands where, and what has to be drawn again."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import pygame

from downstage.apps.screen import load_font
from downstage.apps.test_card.painting import Noise, Turning, paint_background
from downstage.apps.test_card.strip import cell_bounds, encode_strip

__all__ = ["Card", "Input"]

_MOVING = 4
"""Fewer pictures a second than this are called still."""
_INK, _PAPER, _ACCENT = "#f4f1e8", "#0b1022", "#ffb347"


@dataclass(slots=True)
class Input:
    """What people did to the card so far."""

    presses: int = 0
    pointer: tuple[int, int] | None = None
    key: str = ""
    sound: str = ""


class Card:
    """Draws itself on a surface and tells which parts of it changed."""

    def __init__(self, size: tuple[int, int], *, noise: bool = False) -> None:
        """Lay everything out for *size*."""
        width, height = size
        rng = random.Random(1)  # noqa: S311 the card looks the same in every run
        self.size = size
        self._back = paint_background(size, rng)
        self._noise = Noise(size, rng) if noise else None
        self._turning = Turning(max(8, min(height // 2, width // 2, 420)), rng)
        self._strip_height = max(1, height // 30)
        self._square = pygame.Rect(width // 20, height * 3 // 4, height // 8, height // 8)
        unit = max(10, height // 36)
        self._font, self._bold = load_font(unit), load_font(unit, bold=True)
        self._legend_at = width // 40, self._strip_height + height // 40
        self._legend_text: tuple[str, ...] = ()
        self._legend: pygame.Surface | None = None
        self._step = 0
        self._drawn: deque[float] = deque(maxlen=240)
        self._last: list[pygame.Rect] = []

    def draw(self, surface: pygame.Surface, given: Input, *, moving: bool, whole: bool) -> None:
        """Draw the next picture and show it.

        Args:
            surface: the window, as large as the card.
            given: what people did.
            moving: the object goes one step on.
            whole: nothing on the window can be kept.
        """
        self._step += moving
        self._drawn.append(time.perf_counter())
        legend = self._write_legend(given)
        items = self._moving_parts(given)
        if legend is not None:
            items.append(legend)
        parts = items + self._last
        if whole or self._noise:
            parts = [surface.get_rect()]
        for part in _join(parts):
            surface.set_clip(part)
            self._paint(surface, given)
        surface.set_clip(None)
        self._last = items
        pygame.display.update([*_join(parts), self._draw_strip(surface, given)])

    def _moving_parts(self, given: Input) -> list[pygame.Rect]:
        parts = [self._object_rect(), self._square]
        if given.pointer:
            parts.append(self._cross_rect(given.pointer))
        return parts

    def _object_rect(self) -> pygame.Rect:
        width, height = self.size
        phase = self._step / 180 * math.tau
        picture = self._turning.at(self._step)
        middle = width / 2 + width / 14 * math.cos(phase), height * 0.53
        return picture.get_rect(center=(round(middle[0]), round(middle[1])))

    def _paint(self, surface: pygame.Surface, given: Input) -> None:
        if self._noise:
            surface.blit(self._noise.next(), (0, 0))
        else:
            surface.blit(self._back, surface.get_clip(), surface.get_clip())
            surface.blit(self._turning.at(self._step), self._object_rect())
        surface.fill("orangered" if given.presses & 1 else "royalblue", self._square)
        if self._legend:
            surface.blit(self._legend, self._legend_at)
        if given.pointer:
            self._paint_cross(surface, given.pointer)

    def _cross_rect(self, pointer: tuple[int, int]) -> pygame.Rect:
        side = max(12, self.size[1] // 18) // 2 * 2 + 3
        rect = pygame.Rect(0, 0, side, side)
        rect.center = pointer
        return rect

    def _paint_cross(self, surface: pygame.Surface, pointer: tuple[int, int]) -> None:
        rect = self._cross_rect(pointer)
        for colour, thick in ((_PAPER, 3), (_INK, 1)):
            x, y = pointer[0] - thick // 2, pointer[1] - thick // 2
            surface.fill(colour, (rect.left, y, rect.width, thick))
            surface.fill(colour, (x, rect.top, thick, rect.height))

    def _draw_strip(self, surface: pygame.Surface, given: Input) -> pygame.Rect:
        width = self.size[0]
        for index, bit in enumerate(encode_strip(time.time_ns() // 1_000_000, given.presses)):
            left, right = cell_bounds(index, width)
            box = left, 0, right - left, self._strip_height
            surface.fill("white" if bit == "1" else "black", box)
        return pygame.Rect(0, 0, width, self._strip_height)

    def _rate(self) -> int:
        now = time.perf_counter()
        return sum(1 for at in self._drawn if now - at <= 1.0)

    def _write_legend(self, given: Input) -> pygame.Rect | None:
        """Paint the legend anew when its words changed: the part to draw, else None."""
        rate = self._rate()
        shown = str(rate - rate % 2) if self._step and rate >= _MOVING else "still"
        place = "{}, {}".format(*given.pointer) if given.pointer else "-"
        text = (shown, str(given.presses), place, given.key or "-", given.sound or "off (T)")
        if text == self._legend_text:
            return None
        self._legend_text = text
        rows = list(zip(("fps", "presses", "pointer", "key", "tone"), text, strict=True))
        self._legend = self._paint_legend(rows)
        return self._legend.get_rect(topleft=self._legend_at)

    def _paint_legend(self, rows: Sequence[tuple[str, str]]) -> pygame.Surface:
        line = self._font.get_linesize()
        panel = pygame.Surface((line * 13, line * (len(rows) + 1)))
        panel.fill(_PAPER)
        panel.fill(_ACCENT, (0, 0, max(2, line // 8), panel.get_height()))
        for row, (name, value) in enumerate(rows):
            top = line // 2 + row * line
            panel.blit(self._font.render(name, True, "#9aa3bd"), (line * 0.7, top))
            panel.blit(self._bold.render(value[:24], True, _INK), (line * 4.6, top))
        return panel.convert()


def _join(parts: list[pygame.Rect]) -> list[pygame.Rect]:
    """Melt rectangles that touch into one, so that no pixel is painted twice."""
    joined: list[pygame.Rect] = []
    for part in parts:
        rect = part.copy()
        while (hit := rect.collidelist(joined)) >= 0:
            rect.union_ip(joined.pop(hit))
        joined.append(rect)
    return joined
