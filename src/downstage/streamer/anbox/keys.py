"""That dialect's key codes → `KeyboardEvent.code`, and from there to Linux key codes.

Up to 82 they are the numbers of USB's keyboard page, but for Quote, which is 50 in place of 52;
above that they are their own. They are places on the keyboard, not characters. Modifiers have no
left and right there; the left one is taken, but for AltGraph.
"""

from __future__ import annotations

from downstage.media.input.keys import KEYS

__all__ = ["CODES", "key_of"]


def _row(first: int, *names: str) -> dict[int, str]:
    return dict(enumerate(names, first))


CODES: dict[int, str] = {
    **_row(4, *(f"Key{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
    **_row(30, *(f"Digit{digit}" for digit in "1234567890")),
    **_row(40, "Enter", "Escape", "Backspace", "Tab", "Space", "Minus", "Equal"),
    **_row(47, "BracketLeft", "BracketRight", "Backslash", "Quote", "Semicolon"),
    **_row(54, "Comma", "Period", "Slash", "CapsLock"),
    **_row(58, *(f"F{number}" for number in range(1, 13))),
    **_row(70, "PrintScreen", "ScrollLock", "Pause", "Insert", "Home", "PageUp", "Delete", "End"),
    **_row(78, "PageDown", "ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp"),
    **_row(83, "ControlLeft", "ShiftLeft", "AltLeft", "MetaLeft", "AltRight", "NumLock"),
    **_row(89, "AudioVolumeDown", "AudioVolumeUp", "Power", "BrowserBack"),
}
"""All 87 of them."""


def key_of(code: int) -> int | None:
    """The Linux key code of one of theirs; None: there is no such key."""
    name = CODES.get(code)
    return None if name is None else KEYS[name]
