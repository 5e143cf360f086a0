"""What lies over the picture: name, rate, hints, selection, timeline, and problems."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pygame
from numpy.typing import NDArray

from downstage.apps.screen import load_font
from downstage.apps.usd_viewer.problem import StageProblem

__all__ = ["Hud", "Status", "backdrop_rows", "paint_backdrop", "wrap_text"]

_INK, _SOFT, _FAINT, _ACCENT = (244, 241, 232), (176, 180, 196), (120, 125, 145), (255, 179, 71)
_PANEL = (12, 14, 24, 176)
_MOST_KEPT = 64
_HELP = (
    ("drag", "turn"),
    ("shift or middle drag", "move"),
    ("wheel", "come nearer"),
    ("click", "select"),
    ("F", "frame selection, or all"),
    ("space", "play, pause"),
    ("← →", "step"),
    ("C", "camera of the stage"),
    ("R", "first view"),
    ("H", "this help"),
)


@dataclass(frozen=True, slots=True)
class Status:
    """What the overlay tells now."""

    name: str
    rate: int = 0
    code: float = 0.0
    seconds: tuple[float, float] = (0.0, 0.0)
    fraction: float = 0.0
    is_animated: bool = False
    is_playing: bool = False
    selected: str = ""
    note: str = ""
    notice: str = ""
    """Like `note`, but stays as long as it holds."""
    people: str = ""
    """Who else edits the stage."""


class Hud:
    """Paints the overlay for one size of picture; texts are painted once and kept."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Choose fonts and places for *size*."""
        self.size = size
        self.unit = max(11, min(size[1] // 40, size[0] // 50))
        self._plain = load_font(self.unit)
        self._bold = load_font(self.unit, bold=True)
        self._large = load_font(self.unit * 2, bold=True)
        self._kept: dict[object, pygame.Surface] = {}
        margin = self.unit
        top = size[1] - margin * 2
        self.timeline = pygame.Rect(margin, top, max(1, size[0] - 2 * margin), margin)
        """Where a press scrubs."""

    def paint(self, surface: pygame.Surface, status: Status, *, with_help: bool) -> None:
        """Lay the overlay over the picture."""
        self._paint_card(surface, status)
        if status.is_animated:
            self._paint_timeline(surface, status)
        hint = "H  help" if not with_help else ""
        if hint:
            text = self._text(self._plain, hint, _FAINT)
            surface.blit(text, (self.size[0] - text.get_width() - self.unit, self.unit))
        if status.selected:
            self._paint_selected(surface, status.selected)
        if with_help:
            panel = self._help_panel()
            surface.blit(panel, panel.get_rect(topright=(self.size[0] - self.unit, self.unit)))

    def paint_message(self, surface: pygame.Surface, title: str, lines: tuple[str, ...]) -> None:
        """A message in the middle of the picture."""
        width = min(self.size[0] - 2 * self.unit, self.unit * 38)
        rows = [self._large.render(row, True, _INK) for row in wrap_text(title, width, self._large)]
        for number, line in enumerate(lines):
            ink = _SOFT if number == 0 else _ACCENT
            wrapped = wrap_text(line, width, self._plain)
            rows += [self._plain.render(row, True, ink) for row in wrapped]
        gap = self.unit // 2
        height = sum(row.get_height() + gap for row in rows)
        top = max(0, (self.size[1] - height) // 2)
        for row in rows:
            surface.blit(row, row.get_rect(midtop=(self.size[0] // 2, top)))
            top += row.get_height() + gap

    def paint_problem(self, surface: pygame.Surface, problem: StageProblem) -> None:
        """What is wrong, and what to do."""
        self.paint_message(surface, problem.title, (problem.reason, problem.remedy))

    def _paint_card(self, surface: pygame.Surface, status: Status) -> None:
        name = self._text(self._bold, status.name, _INK)
        facts = f"{status.rate} fps" if status.rate else "still"
        if status.is_animated:
            facts += f"   {status.seconds[0]:.1f} / {status.seconds[1]:.1f} s   {status.code:.0f}"
        if status.people:
            facts += f"   {status.people}"
        told = self._text(self._plain, facts, _SOFT, keep=False)
        words = [line for line in (status.note, status.notice) if line]
        notes = [self._text(self._plain, line, _ACCENT) for line in words]
        lines = [name, told, *notes]
        least = self.unit * (20 if status.people else 15)  # steady, whatever the figures are
        wide = max(name.get_width(), least, *(note.get_width() for note in notes), 0)
        panel = self._panel((wide + self.unit * 2, self.unit * (1 + 2 * len(lines)) * 7 // 9))
        surface.blit(panel, (self.unit, self.unit))
        surface.fill(_ACCENT, (self.unit, self.unit, max(2, self.unit // 7), panel.get_height()))
        for number, line in enumerate(lines):
            top = self.unit * 3 // 2 + number * self.unit * 3 // 2
            surface.blit(line, (self.unit * 2, top - self.unit // 8))

    def _paint_timeline(self, surface: pygame.Surface, status: Status) -> None:
        bar = self.timeline
        thick = max(3, self.unit // 5)
        left = bar.left + self.unit * 2
        line = pygame.Rect(left, bar.centery - thick // 2, bar.right - left, thick)
        surface.fill((70, 74, 92), line)
        done = line.copy()
        done.width = round(line.width * status.fraction)
        surface.fill(_ACCENT, done)
        pygame.draw.circle(surface, _INK, (done.right, line.centery), thick * 1.7)
        x, y, half = bar.left + self.unit // 2, bar.centery, self.unit // 2
        if status.is_playing:
            for shift in (-half // 2 - 1, half // 2):
                surface.fill(_INK, (x + shift, y - half, max(2, half // 2), half * 2))
        else:
            corners = [(x - half // 2, y - half), (x - half // 2, y + half), (x + half, y)]
            pygame.draw.polygon(surface, _INK, corners)

    def fraction_at(self, x: int) -> float:
        """Which part of the timeline lies under column *x*."""
        left = self.timeline.left + self.unit * 2
        return (x - left) / max(1, self.timeline.right - left)

    def _paint_selected(self, surface: pygame.Surface, path: str) -> None:
        text = self._text(self._bold, path, _ACCENT)
        bottom = self.timeline.top - self.unit // 2
        panel = self._panel((text.get_width() + self.unit, self.unit * 2))
        surface.blit(panel, panel.get_rect(bottomleft=(self.unit, bottom)))
        centre = (self.unit + self.unit // 2, bottom - self.unit)
        surface.blit(text, text.get_rect(midleft=centre))

    def _help_panel(self) -> pygame.Surface:
        if "help" not in self._kept:
            line = self.unit * 3 // 2
            panel = self._panel((self.unit * 23, line * (len(_HELP) + 1))).copy()
            for number, (key, what) in enumerate(_HELP):
                top = line // 2 + number * line
                panel.blit(self._bold.render(key, True, _INK), (self.unit, top))
                panel.blit(self._plain.render(what, True, _SOFT), (self.unit * 12, top))
            self._kept["help"] = panel
        return self._kept["help"]

    def _panel(self, size: tuple[int, int]) -> pygame.Surface:
        if size not in self._kept:
            panel = pygame.Surface(size, pygame.SRCALPHA)
            panel.fill(_PANEL)
            self._kept[size] = panel
        return self._kept[size]

    def _text(
        self,
        font: pygame.font.Font,
        words: str,
        ink: tuple[int, int, int],
        *,
        keep: bool = True,
    ) -> pygame.Surface:
        key = (words, ink, font is self._bold)
        if key in self._kept:
            return self._kept[key]
        most = self.size[0] * 3 // 4
        picture = font.render(_shorten(words, most, font), True, ink)
        if keep:
            if len(self._kept) > _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = picture
        return picture


def wrap_text(text: str, width: int, font: pygame.font.Font) -> list[str]:
    """Break *text* into lines not wider than *width*; words that are too long are cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.size(longer)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(_shorten(word, width, font))
    return lines


def paint_backdrop(size: tuple[int, int]) -> pygame.Surface:
    """The dark room behind every stage."""
    column = pygame.Surface((1, 64))
    for row, colour in enumerate(backdrop_rows(64)):
        column.set_at((0, row), tuple(round(float(part)) for part in colour))
    return pygame.transform.smoothscale(column, size).convert()


def backdrop_rows(height: int) -> NDArray[np.float32]:
    """The room's colour in each row of a picture, (height, 3), 0 to 255."""
    part = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    low, high = (np.array(ends, dtype=np.float32) for ends in zip(*_ROOM, strict=True))
    return (low + (high - low) * part).astype(np.float32)


_ROOM = ((30, 10), (29, 9), (44, 14))


def _shorten(words: str, width: int, font: pygame.font.Font) -> str:
    while len(words) > 1 and font.size(words)[0] > width:
        words = words[: len(words) * 7 // 8 - 1] + "…"
    return words
