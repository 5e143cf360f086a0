"""`carb.tokens`: ``${name}`` inside a text."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from threading import Lock

__all__ = ["ITokens", "get_tokens_interface"]

TOKEN = re.compile(r"\$\{([^${}]{1,256})\}")
MAX_TOKENS = 1024


class ITokens:
    """Names and what they stand for; those of folders that exist everywhere are there at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values = {"temp": tempfile.gettempdir(), "home": str(Path.home())}

    def exists(self, name: str) -> bool:
        """Whether *name* stands for something."""
        return name in self._values

    def set_value(self, name: str, value: str) -> None:
        """Let *name* stand for *value*.

        Raises:
            ValueError: it is no name, or there are too many.
        """
        if TOKEN.fullmatch(f"${{{name}}}") is None:
            raise ValueError(f"{name!r} is no name of a token")
        with self._lock:
            if name not in self._values and len(self._values) >= MAX_TOKENS:
                raise ValueError(f"there are {MAX_TOKENS} tokens already")
            self._values[name] = value

    def remove_value(self, name: str) -> bool:
        """Forget *name*; whether it was known."""
        with self._lock:
            return self._values.pop(name, None) is not None

    def resolve(self, text: str) -> str:
        """*text* with each known ``${name}`` replaced, once; unknown ones stay as they are."""
        return TOKEN.sub(lambda found: self._values.get(found[1], found[0]), text)


_tokens = ITokens()


def get_tokens_interface() -> ITokens:
    """The tokens of this process."""
    return _tokens
