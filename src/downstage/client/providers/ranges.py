"""Fetching a large file by ranges, each in a thread, straight into the memory it is to lie in.

Python's own HTTP client reads into a buffer without the interpreter's lock and without a copy:
on one loop, several times what an asynchronous client moves.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from urllib.request import getproxies, proxy_bypass

from downstage.client.origins import Origin
from downstage.kernel import errors

__all__ = ["RangeSource", "may_go_direct"]

PIECE = 1024 * 1024


def may_go_direct(origin: Origin) -> bool:
    """Whether no proxy lies between."""
    if origin.is_loopback:
        return True
    return origin.scheme not in getproxies() or bool(proxy_bypass(origin.host))


class RangeSource:
    """One file at one server.

    Args:
        origin: the server.
        target: path and query, encoded.
        headers: of every request.
        connect_s, idle_s: deadlines in seconds.
    """

    def __init__(
        self,
        origin: Origin,
        target: str,
        headers: Mapping[str, str],
        *,
        connect_s: float,
        idle_s: float,
    ) -> None:
        self._origin = origin
        self._target = target
        self._headers = headers
        self._connect_s = connect_s
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._open = set[http.client.HTTPConnection]()
        self._is_cancelled = False

    def cancel(self) -> None:
        """End every transfer now, also one that waits for a server which says nothing."""
        with self._lock:
            self._is_cancelled = True
            for connection in self._open:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def fill(self, view: memoryview, start: int, etag: str, moved: Callable[[int], None]) -> None:
        """Fill *view* with the bytes from *start* on, as long as the file is still *etag*.

        Raises:
            VersionMismatch: it changed meanwhile.
            Unavailable: the connection broke.
            PlatformError: as the status says.
        """
        stop = start + len(view)
        sent = {
            **self._headers,
            "Range": f"bytes={start}-{stop - 1}",
            "If-Match": f'"{etag}"',
            "Accept-Encoding": "identity",
        }
        connection = self._connection()
        try:
            self._note(connection)
            connection.request("GET", self._target, headers=sent)
            response = connection.getresponse()
            _check(response.status)
            done = 0
            while done < len(view) and not self._is_cancelled:
                count = response.readinto(view[done : done + PIECE])
                if not count:
                    raise errors.Unavailable("The file was cut short on its way.")
                done += count
                moved(count)
        except (OSError, http.client.HTTPException) as error:
            raise errors.Unavailable("The connection to the server broke.") from error
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _note(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if self._is_cancelled:
                raise errors.Unavailable("The read was given up.")
            self._open.add(connection)

    def _connection(self) -> http.client.HTTPConnection:
        origin = self._origin
        host = origin.host.strip("[]")
        if origin.socket_path is not None:
            near = _UnixConnection(origin.socket_path, self._idle_s)
            near.connect()
            return near
        if origin.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                host, origin.port, timeout=self._connect_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, origin.port, timeout=self._connect_s)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise errors.Unavailable(f"{origin.host} cannot be reached.") from error
        connection.sock.settimeout(self._idle_s)
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """By the socket's file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _check(status: int) -> None:
    if status == 206:  # noqa: PLR2004 - HTTP
        return
    kinds: dict[int, type[errors.PlatformError]] = {
        401: errors.Unauthenticated,
        403: errors.Forbidden,
        404: errors.NotFound,
        412: errors.VersionMismatch,
        416: errors.VersionMismatch,
        200: errors.VersionMismatch,
    }
    raise kinds.get(status, errors.Unavailable)(f"The server answered {status} to a range.")
