"""What the address of a socket asks for: names in its path, options in its query."""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import unquote

from downstage.kernel.errors import InvalidField, PlatformError
from downstage.services.sockets import CLOSE, Listener, Socket, SocketRequest

__all__ = ["Asked", "Refused"]

YES, NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
MAX_TEXT = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """Reads one request."""

    request: SocketRequest

    @property
    def names(self) -> str:
        """The part of the path before the last: what ``+`` joins, a pattern, or ``*``."""
        return unquote(self.request.raw_path.rstrip("/").split("/")[-2])

    def text(self, name: str) -> str | None:
        """An option as it was given; None: it was not."""
        return self.request.query_params.get(name)

    def yes(self, name: str, default: bool) -> bool:
        """An option that is on or off, in any capitals."""
        given = self.text(name)
        if given is None:
            return default
        if given.lower() in YES:
            return True
        if given.lower() in NO:
            return False
        raise InvalidField(name, f"Say true or false for {name}.")

    def whole(self, name: str, default: int, *, least: int) -> int:
        """A whole number; no digits of other scripts, and not thousands of them."""
        given = self.text(name)
        if given is None:
            return default
        if not (given.isascii() and given.isdigit()) or len(given) > MAX_TEXT:
            raise InvalidField(name, f"{name} is a whole number, at least {least}.")
        if int(given) < least:
            raise InvalidField(name, f"{name} is a whole number, at least {least}.")
        return int(given)

    def number(self, name: str) -> float | None:
        """A number that is not negative; None: it was not given."""
        given = self.text(name)
        if given is None:
            return None
        try:
            found = float(given)
        except ValueError:
            found = -1
        if not (math.isfinite(found) and found >= 0):
            raise InvalidField(name, f"{name} is a number, at least 0.")
        return found

    def one_of(self, name: str, *words: str) -> str | None:
        """One of some words; None: it was not given."""
        given = self.text(name)
        if given is not None and given not in words:
            raise InvalidField(name, f"{name} is one of {', '.join(words)}.")
        return given


class Refused(Listener):
    """Somebody who may come in, but asks for what there is not: told by the code of the close."""

    def __init__(self, error: PlatformError, code: CLOSE = CLOSE.POLICY) -> None:
        self._error = error
        self._code = code

    def on_open(self, socket: Socket) -> None:
        """Close it again."""
        socket.close(self._code, self._error.code)
