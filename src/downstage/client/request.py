"""A request on its way: its number, whether it has ended, how to stop or await it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

__all__ = ["Request"]


class Request:
    """What every ``…_with_callback`` hands out. Leaving its block stops it.

    Attributes:
        id: its number; 0 is no request: the client was shut down, and no callback will come.
    """

    __slots__ = ("__weakref__", "_cancel", "_ended", "_is_stopped", "_lock", "id")

    def __init__(self, number: int) -> None:
        self.id = number
        self._lock = threading.Lock()
        self._cancel: Callable[[], object] | None = None
        self._is_stopped = False
        self._ended = threading.Event()
        if not number:
            self.end()

    def is_finished(self) -> bool:
        """Whether its last callback has begun, or none will come."""
        return self._ended.is_set()

    def stop(self) -> None:
        """No callback begins from here on; what was already done stays done. Safe to repeat."""
        with self._lock:
            self._is_stopped = True
            cancel, self._cancel = self._cancel, None
        self._ended.set()
        if cancel is not None:
            _safely(cancel)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is finished; False where *timeout_s* seconds passed before."""
        return self._ended.wait(timeout_s)

    def bind(self, cancel: Callable[[], object]) -> None:
        """What stops the work behind it; at once where it is stopped already."""
        with self._lock:
            if not self._is_stopped:
                self._cancel = cancel
                return
        _safely(cancel)

    def unbind(self) -> None:
        """The work behind it has ended: there is nothing to stop."""
        with self._lock:
            self._cancel = None

    def may_call(self, *, is_last: bool = True) -> bool:
        """Whether a callback may begin now; with *is_last*, none will after it."""
        with self._lock:
            allowed = not self._is_stopped
            if is_last:
                self._is_stopped, self._cancel = True, None
        return allowed

    def end(self) -> None:
        """Nothing more will come of it."""
        with self._lock:
            self._is_stopped, self._cancel = True, None
        self._ended.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Request {self.id}{' finished' if self.is_finished() else ''}>"


def _safely(cancel: Callable[[], object]) -> None:
    try:
        cancel()
    except RuntimeError:
        return  # the loop behind it has ended, and with it the work
