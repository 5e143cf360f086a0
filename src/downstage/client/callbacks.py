"""Who wants to hear of connections and files, and who knows credentials."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from downstage.client.types import ConnectionStatus, FileStatus, Registration

__all__ = [
    "AuthorizeCallback",
    "Callbacks",
    "ConnectionStatusCallback",
    "DeviceFlow",
    "DeviceFlowCallback",
    "FileStatusCallback",
    "Listeners",
]

F = TypeVar("F")

AuthorizeCallback = Callable[[str], "str | tuple[str, str] | bool | None"]
"""Gets ``scheme://host:port``; None or False: ask the next, True: abort, a token, or user and
password."""
ConnectionStatusCallback = Callable[[str, ConnectionStatus], None]
FileStatusCallback = Callable[[str, FileStatus, int], None]

_handles = itertools.count(1)


@dataclass(frozen=True, slots=True)
class DeviceFlow:
    """What a person must do elsewhere so that this program may sign in."""

    handle: int
    """For `authentication_cancel`."""
    server: str
    code: str
    """To type in; empty once it has ended."""
    url: str
    expires_s: int


DeviceFlowCallback = Callable[[DeviceFlow], None]


class Listeners(Generic[F]):
    """Functions in the order in which they were registered; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._functions: dict[int, F] = {}

    def add(self, function: F) -> Registration:
        """Hear from now on, until the registration ends."""
        if not callable(function):
            raise TypeError(f"a callback is a function, not {type(function).__name__}")
        handle = next(_handles)
        with self._lock:
            self._functions[handle] = function
        return Registration(handle, lambda: self._remove(handle))

    def _remove(self, handle: int) -> None:
        with self._lock:
            self._functions.pop(handle, None)

    def renew_lock(self) -> None:
        """After a fork: whoever held the lock is not here."""
        self._lock = threading.Lock()

    def handles(self) -> tuple[int, ...]:
        """Those registered now."""
        return tuple(self._functions)

    def get(self, handle: int) -> F | None:
        """That one, if it is still registered."""
        return self._functions.get(handle)


class Callbacks:
    """All of one client. They run on its callback thread; `authorize` on a thread of its own."""

    def __init__(self, call_back: Callable[[Callable[[], None]], None]) -> None:
        self._call_back = call_back
        self.authorize: Listeners[AuthorizeCallback] = Listeners()
        self.device_flow: Listeners[DeviceFlowCallback] = Listeners()
        self.connection: Listeners[ConnectionStatusCallback] = Listeners()
        self.file: Listeners[FileStatusCallback] = Listeners()

    def take_over(self, other: Callbacks) -> None:
        """Hear what *other*'s heard: of a process whose copy this one is."""
        self.authorize = other.authorize
        self.device_flow = other.device_flow
        self.connection = other.connection
        self.file = other.file
        for listeners in (self.authorize, self.device_flow, self.connection, self.file):
            listeners.renew_lock()

    def tell_connection(self, url: str, status: ConnectionStatus) -> None:
        """Say how the connection to *url* stands."""
        self._tell(self.connection, lambda hear: hear(url, status))

    def tell_file(self, url: str, status: FileStatus, percent: int) -> None:
        """Say how far the work on a file is."""
        self._tell(self.file, lambda hear: hear(url, status, percent))

    def tell_device_flow(self, flow: DeviceFlow) -> None:
        """Say what a person must do."""
        self._tell(self.device_flow, lambda hear: hear(flow))

    def _tell(self, listeners: Listeners[F], tell: Callable[[F], None]) -> None:
        for handle in listeners.handles():

            def run(handle: int = handle) -> None:
                # Looked up when its turn comes: nothing is called that was unregistered.
                hear = listeners.get(handle)
                if hear is not None:
                    tell(hear)

            self._call_back(run)
