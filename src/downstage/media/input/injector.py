"""The seam between checked input and a display that acts on it."""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = ["Injector", "TouchPhase"]

TouchPhase = Literal["start", "move", "end"]


class Injector(Protocol):
    """Acts on a display at once; nothing here waits for an answer.

    Coordinates are pixels of the picture; buttons are DOM numbers (0 left, 1 middle, 2 right,
    3 back, 4 forward); keys are Linux key codes.
    """

    def move(self, x: float, y: float) -> None:
        """Pointer to a place."""
        ...

    def move_by(self, dx: float, dy: float) -> None:
        """Pointer by a way (pointer lock)."""
        ...

    def button(self, button: int, *, down: bool) -> None:
        """Press or release a button."""
        ...

    def wheel(self, dx: float, dy: float) -> None:
        """Scroll by CSS pixels; down and right are positive."""
        ...

    def key(self, code: int, *, down: bool) -> None:
        """Press or release a key."""
        ...

    def text(self, text: str) -> None:
        """Type *text*, whatever the keyboard's layout."""
        ...

    def touch(self, finger: int, phase: TouchPhase, x: float, y: float) -> None:
        """A finger on the picture."""
        ...

    def flush(self) -> None:
        """Send what was gathered."""
        ...
