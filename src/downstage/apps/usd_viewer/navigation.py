"""What the pointer does: turn, move, come nearer, scrub, or select by a plain click."""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["Drag", "Grip"]

_SLACK = 4


class Grip(Enum):
    """What a drag holds."""

    TURN = auto()
    MOVE = auto()
    SCRUB = auto()


class Drag:
    """One press of a button until it is let go."""

    def __init__(self, grip: Grip, button: int, spot: tuple[int, int]) -> None:
        """Take hold at *spot*."""
        self.grip, self.button = grip, button
        self._start = self._last = spot
        self._moved = False

    @property
    def is_click(self) -> bool:
        """The pointer has hardly moved since the press."""
        return not self._moved

    def to(self, spot: tuple[int, int]) -> tuple[int, int]:
        """The pointer is at *spot*: how far it went; nothing within the slack of a click."""
        far = max(abs(spot[0] - self._start[0]), abs(spot[1] - self._start[1]))
        if not self._moved and far < _SLACK:
            return 0, 0
        self._moved = True
        step = spot[0] - self._last[0], spot[1] - self._last[1]
        self._last = spot
        return step
