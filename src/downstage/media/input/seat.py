"""One viewer's hands on the display: what is held, what is let go when the viewer leaves."""

from __future__ import annotations

from downstage.kernel.errors import Forbidden
from downstage.media.frame import Size
from downstage.media.input import events
from downstage.media.input.injector import Injector

__all__ = ["Hands", "NotController", "acts"]

_ACTS = (
    events.Move,
    events.MoveBy,
    events.Button,
    events.Wheel,
    events.Key,
    events.Text,
    events.Touch,
    events.Release,
    events.Resize,
)


class NotController(Forbidden):
    """Only the seat that controls may act on the application."""

    code = "not-controller"


def acts(event: events.Event) -> bool:
    """Whether *event* acts on the application, rather than on the viewer's own stream."""
    return isinstance(event, _ACTS)


class Hands:
    """Applies checked events of one viewer and remembers what is held.

    Args:
        injector: the display.
        controls: whether the seat may act at all.
    """

    def __init__(self, injector: Injector, *, controls: bool) -> None:
        self._injector, self._controls = injector, controls
        self._keys: set[int] = set()
        self._buttons: set[int] = set()
        self._fingers: dict[int, tuple[float, float]] = {}

    @property
    def held(self) -> int:
        """How many keys, buttons and fingers are down."""
        return len(self._keys) + len(self._buttons) + len(self._fingers)

    def apply(self, event: events.Event, size: Size) -> None:
        """Act on the display.

        Raises:
            NotController: the seat only watches.
        """
        if not self._controls:
            raise NotController("This seat only watches.")
        self._act(event, size)
        self._injector.flush()

    def release(self) -> None:
        """Let go of everything; safe to repeat."""
        for code in sorted(self._keys):
            self._injector.key(code, down=False)
        for button in sorted(self._buttons):
            self._injector.button(button, down=False)
        for finger, (x, y) in sorted(self._fingers.items()):
            self._injector.touch(finger, "end", x, y)
        self._keys.clear()
        self._buttons.clear()
        self._fingers.clear()
        self._injector.flush()

    def _act(self, event: events.Event, size: Size) -> None:
        to = self._injector
        match event:
            case events.Move(x, y):
                to.move(*_place(x, y, size))
            case events.MoveBy(dx, dy):
                to.move_by(dx, dy)
            case events.Button(button, down):
                self._press(self._buttons, button, down=down)
                to.button(button, down=down)
            case events.Wheel(dx, dy):
                to.wheel(dx, dy)
            case events.Key(code, down):
                self._press(self._keys, code, down=down)
                to.key(code, down=down)
            case events.Text(text):
                to.text(text)
            case events.Touch():
                self._touch(event, size)
            case events.Release():
                self.release()
            case _:
                pass

    def _touch(self, event: events.Touch, size: Size) -> None:
        if event.phase != "start" and event.finger not in self._fingers:
            return
        place = _place(event.x, event.y, size)
        if event.phase == "end":
            del self._fingers[event.finger]
        else:
            self._fingers[event.finger] = place
        self._injector.touch(event.finger, event.phase, *place)

    @staticmethod
    def _press(held: set[int], what: int, *, down: bool) -> None:
        if down:
            held.add(what)
        else:
            held.discard(what)


def _place(x: float, y: float, size: Size) -> tuple[float, float]:
    """The page divides by the whole width, so 1.0 is just beyond the last pixel."""
    return min(x * size.width, size.width - 1), min(y * size.height, size.height - 1)
