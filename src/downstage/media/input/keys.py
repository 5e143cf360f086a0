"""`KeyboardEvent.code` of the browser → Linux key code (X11 adds 8)."""

from __future__ import annotations

__all__ = ["KEYS"]

_LETTERS = {
    **{f"Key{c}": 16 + i for i, c in enumerate("QWERTYUIOP")},
    **{f"Key{c}": 30 + i for i, c in enumerate("ASDFGHJKL")},
    **{f"Key{c}": 44 + i for i, c in enumerate("ZXCVBNM")},
}
_DIGITS = {f"Digit{(i + 1) % 10}": 2 + i for i in range(10)}
_FUNCTION = {
    **{f"F{n}": 58 + n for n in range(1, 11)},
    "F11": 87,
    "F12": 88,
    **{f"F{n}": 170 + n for n in range(13, 25)},
}
_NUMPAD = {
    "Numpad7": 71,
    "Numpad8": 72,
    "Numpad9": 73,
    "Numpad4": 75,
    "Numpad5": 76,
    "Numpad6": 77,
    "Numpad1": 79,
    "Numpad2": 80,
    "Numpad3": 81,
    "Numpad0": 82,
    "NumpadDecimal": 83,
    "NumpadMultiply": 55,
    "NumpadSubtract": 74,
    "NumpadAdd": 78,
    "NumpadEnter": 96,
    "NumpadDivide": 98,
    "NumpadEqual": 117,
    "NumpadComma": 121,
    "NumLock": 69,
}
_EDITING = {
    "Escape": 1,
    "Minus": 12,
    "Equal": 13,
    "Backspace": 14,
    "Tab": 15,
    "BracketLeft": 26,
    "BracketRight": 27,
    "Enter": 28,
    "Semicolon": 39,
    "Quote": 40,
    "Backquote": 41,
    "Backslash": 43,
    "Comma": 51,
    "Period": 52,
    "Slash": 53,
    "Space": 57,
    "CapsLock": 58,
    "ScrollLock": 70,
    "IntlBackslash": 86,
    "IntlRo": 89,
    "IntlYen": 124,
    "Home": 102,
    "ArrowUp": 103,
    "PageUp": 104,
    "ArrowLeft": 105,
    "ArrowRight": 106,
    "End": 107,
    "ArrowDown": 108,
    "PageDown": 109,
    "Insert": 110,
    "Delete": 111,
    "PrintScreen": 99,
    "Pause": 119,
    "ContextMenu": 127,
    "Help": 138,
    "Undo": 131,
    "Copy": 133,
    "Open": 134,
    "Paste": 135,
    "Find": 136,
    "Cut": 137,
}
_MODIFIERS = {
    "ControlLeft": 29,
    "ShiftLeft": 42,
    "ShiftRight": 54,
    "AltLeft": 56,
    "ControlRight": 97,
    "AltRight": 100,
    "MetaLeft": 125,
    "MetaRight": 126,
    "OSLeft": 125,
    "OSRight": 126,
}
_LANGUAGE = {
    "KanaMode": 93,
    "Convert": 92,
    "NonConvert": 94,
    "Lang1": 122,
    "Lang2": 123,
    "Lang3": 90,
    "Lang4": 91,
}
_MEDIA = {
    "AudioVolumeMute": 113,
    "AudioVolumeDown": 114,
    "AudioVolumeUp": 115,
    "MediaTrackNext": 163,
    "MediaPlayPause": 164,
    "MediaTrackPrevious": 165,
    "MediaStop": 166,
    "BrowserBack": 158,
    "BrowserForward": 159,
    "BrowserRefresh": 173,
    "BrowserHome": 172,
    "BrowserSearch": 217,
}

KEYS: dict[str, int] = {
    **_LETTERS,
    **_DIGITS,
    **_FUNCTION,
    **_NUMPAD,
    **_EDITING,
    **_MODIFIERS,
    **_LANGUAGE,
    **_MEDIA,
}
"""Physical keys by the name that browsers give them."""
