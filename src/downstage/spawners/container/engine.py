"""The few calls of the Docker Engine API that a runner makes, over the engine's unix socket.

Blocking and of the standard library alone: one runner lives as long as one container, and its
memory counts as often as there are instances.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

__all__ = ["API", "Attached", "Engine", "EngineError", "Refused", "socket_path"]

API = "/v1.40"
LIBPOD = "/v4.0.0/libpod"
CALL_S = 10.0
HEADER = 8
MAX_HEAD = 64 * 1024
MAX_FRAME = 16 * 1024 * 1024


class EngineError(Exception):
    """The engine cannot be reached, or broke off."""


class Refused(EngineError):
    """The engine answered with an error; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def socket_path(url: str) -> str:
    """The path of an engine's address ``unix:///path``.

    Raises:
        ValueError: it is another kind of address.
    """
    parts = urlsplit(url)
    if parts.scheme != "unix" or parts.netloc or not parts.path.startswith("/"):
        msg = f"{url} is no unix:///path"
        raise ValueError(msg)
    return parts.path


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("engine", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Attached:
    """What a container writes, as it comes; `fileno` is for a selector."""

    def __init__(self, connection: socket.socket, rest: bytes) -> None:
        self._connection, self._rest = connection, rest
        self._connection.setblocking(False)
        self.is_open = True

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._connection.fileno()

    def take(self) -> bytes:
        """All whole frames that are there, without their headers; sets `is_open` at the end."""
        try:
            data = self._connection.recv(256 * 1024)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        if data == b"":
            self.is_open = False
        self._rest += data or b""
        found = bytearray()
        while len(self._rest) >= HEADER:
            size = int.from_bytes(self._rest[4:HEADER], "big")
            if size > MAX_FRAME:
                self.is_open = False
                break
            if len(self._rest) < HEADER + size:
                break
            found += self._rest[HEADER : HEADER + size]
            self._rest = self._rest[HEADER + size :]
        return bytes(found)

    def close(self) -> None:
        """Let go; the container goes on."""
        self.is_open = False
        self._connection.close()


class Engine:
    """One engine, by the path of its socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container; its id."""
        query = urlencode({"name": name})
        return str(self._call("POST", f"{API}/containers/create?{query}", body)["Id"])

    def prepare(self, container: str) -> None:
        """Make its namespaces, so that they can be furnished before anything of it runs.

        Raises:
            Refused: this engine cannot (Docker's).
        """
        self._call("POST", f"{LIBPOD}/containers/{quote(container)}/init")

    def start(self, container: str) -> None:
        """Let it run."""
        self._call("POST", f"{API}/containers/{quote(container)}/start", seconds=60.0)

    def inspect(self, container: str) -> dict[str, Any]:
        """Everything the engine knows of it."""
        return self._call("GET", f"{API}/containers/{quote(container)}/json")

    def signal(self, container: str, name: str) -> None:
        """Send its first process a signal."""
        query = urlencode({"signal": name})
        self._call("POST", f"{API}/containers/{quote(container)}/kill?{query}", seconds=3.0)

    def remove(self, container: str) -> None:
        """Remove it, killed if need be, with what it wrote; absent is fine."""
        query = urlencode({"force": 1, "v": 1})
        try:
            self._call("DELETE", f"{API}/containers/{quote(container)}?{query}", seconds=20.0)
        except Refused as error:
            if error.status != http.client.NOT_FOUND:
                raise

    def attach(self, container: str) -> Attached:
        """Take what it writes, from now on."""
        query = urlencode({"stream": 1, "stdout": 1, "stderr": 1})
        head = (
            f"POST {API}/containers/{quote(container)}/attach?{query} HTTP/1.1\r\n"
            "Host: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        )
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(CALL_S)
        try:
            connection.connect(self._path)
            connection.sendall(head.encode())
            return Attached(connection, _after_head(connection))
        except OSError as error:
            connection.close()
            raise EngineError(f"the engine does not answer: {error}") from error
        except EngineError:
            connection.close()
            raise

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = CALL_S
    ) -> dict[str, Any]:
        connection = _Connection(self._path, seconds)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        data = json.dumps(body).encode() if body is not None else None
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"the engine does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise Refused(answer.status, _message(text))
        return _object(text)


def _after_head(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        data += piece
        if not piece or len(data) > MAX_HEAD:
            raise EngineError("the engine broke off")
    head, _, rest = data.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status not in (http.client.SWITCHING_PROTOCOLS, http.client.OK):
        raise Refused(status, _message(rest))
    return rest


def _object(text: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found  # pyright: ignore[reportUnknownVariableType]
    return {}


def _message(text: bytes) -> str:
    found = _object(text)
    said = found.get("message") or found.get("cause") or text.decode(errors="replace")
    return str(said).strip()[:500] or "an error without words"
