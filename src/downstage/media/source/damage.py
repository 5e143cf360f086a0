"""Learn from the X server when something was drawn, at next to no cost.

The server sends one 32-byte event for the first drawing after each acknowledgement. A thread
reads the events raw, without decoding them, notes the time and acknowledges; nothing is sent, and
nobody wakes, while the screen stands still.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from Xlib.display import Display
from Xlib.error import DisplayError
from Xlib.ext import damage

from downstage.kernel.logging import get_logger

__all__ = ["DrawWatch"]

log = get_logger(__name__)

KEPT = 64
_EVENT = 32
_SUBTRACT = struct.Struct("=BBHIII")
_DAMAGE_SUBTRACT = 3


class DrawWatch:
    """Times at which something was drawn on a display.

    Args:
        name: the display, ``:N``.
        on_draw: called on the watching thread at each drawing; must return at once.
        on_end: called on the watching thread when the display went away.
    """

    def __init__(
        self, name: str, on_draw: Callable[[int], None], on_end: Callable[[], None]
    ) -> None:
        self.times: deque[int] = deque(maxlen=KEPT)
        self._on_draw, self._on_end = on_draw, on_end
        self._display = Display(name)
        if not self._display.has_extension("DAMAGE"):
            self._display.close()
            msg = "the X server has no DAMAGE extension"
            raise DisplayError(msg)
        self._display.damage_query_version()
        root: Any = self._display.screen().root
        self._damage: int = root.damage_create(damage.DamageReportNonEmpty)
        self._display.sync()
        self._closing = False
        self._turn = threading.Lock()
        self._wanted, self._owes = True, False
        opcode = int(self._display.display.get_extension_major("DAMAGE"))
        self._request = _SUBTRACT.pack(opcode, _DAMAGE_SUBTRACT, 4, self._damage, 0, 0)
        self._thread = threading.Thread(target=self._read, name="draw-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def watch(self, *, wanted: bool) -> None:
        """Note drawing, or let it pass: then the server tells one more drawing and no other."""
        with self._turn:
            self._wanted = wanted
            if wanted and self._owes:
                self._owes = False
                self._acknowledge()

    def close(self) -> None:
        """Stop; the thread ends with its connection."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket().shutdown(socket.SHUT_RDWR)
        if self._thread.ident is not None:
            self._thread.join(1.0)
        self._socket().close()

    def _socket(self) -> Any:
        return self._display.display.socket

    def _acknowledge(self) -> None:
        self._socket().sendall(self._request)

    def _read(self) -> None:
        sock = self._socket()
        sock.setblocking(True)
        try:
            self._acknowledge()
            while sock.recv(4096):
                now = time.monotonic_ns()
                with self._turn:
                    if self._wanted:
                        self._acknowledge()
                    else:
                        self._owes = True
                self.times.append(now)
                self._on_draw(now)
        except OSError as error:
            if not self._closing:
                log.info("display.connection_lost", error=str(error))
        if not self._closing:
            self._on_end()
