"""Where files are reached beside the public port: the content origin, and instances' socket."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from downstage.content.extension import Extension
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.services.host import ServiceHost
from downstage.services.server import Server, open_port, open_unix
from downstage.spawners.plan import CONTENT_SOCKET

__all__ = ["ContentOrigin", "FilesPorts", "open_files_ports"]

DEFAULT_PORT = 8601
FOLDER_MODE, SOCKET_MODE = 0o755, 0o666
"""An instance runs as another user; the data folder around it lets nobody else through."""


@dataclass(frozen=True, slots=True)
class ContentOrigin:
    """The second port."""

    url: str
    """Of it, for browsers."""
    listening: socket.socket
    outer_port: int | None
    """Where TLS is done in front of it: the port to open there."""


@dataclass(frozen=True, slots=True)
class FilesPorts:
    """What is open for files alone."""

    origin: ContentOrigin
    folder: Path
    """Holds the socket of instances; they see nothing else of the data."""
    instances: socket.socket
    """By which instances reach files without any network."""

    def servers(
        self, host: ServiceHost, trusted: list[str], certificate: tuple[Path, Path] | None
    ) -> list[Server]:
        """Those that answer there."""
        origin = cast("Extension", host.extension("content")).origin
        return [
            Server(origin, [self.origin.listening], trusted=trusted, certificate=certificate),
            Server(host.app("content"), [self.instances]),
        ]


def open_files_ports(settings: Settings, data: Path, public_url: str) -> FilesPorts:
    """Open both.

    Raises:
        SetupError: the port is taken; says how to choose another.
    """
    folder = data / "run" / "content"
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    folder.chmod(FOLDER_MODE)
    origin = _open_origin(settings, public_url)
    instances = open_unix(folder / CONTENT_SOCKET)
    (folder / CONTENT_SOCKET).chmod(SOCKET_MODE)
    return FilesPorts(origin, folder, instances)


def _open_origin(settings: Settings, public_url: str) -> ContentOrigin:
    platform, port = settings.platform, settings.content.origin_port
    if port is None:
        port = DEFAULT_PORT if platform.port else 0
    behind_tls = platform.tls == "auto"
    if behind_tls and port == 0:
        with open_port(platform.host, 0) as probe:  # Caddy cannot tell which one it took
            port = probe.getsockname()[1]
    try:
        listening = open_port("127.0.0.1", 0) if behind_tls else open_port(platform.host, port)
    except SetupError as error:
        raise SetupError(
            f"The port {port} for users' files in browsers is taken. Choose another: "
            "content.origin_port in the settings, 0 for a free one.",
            port=port,
        ) from error
    shown = port if behind_tls else listening.getsockname()[1]
    url = settings.content.origin_url or _beside(public_url, shown)
    return ContentOrigin(url.rstrip("/"), listening, port if behind_tls else None)


def _beside(public_url: str, port: int) -> str:
    parts = urlsplit(public_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{port}"
