"""Ports of the data server alone, as its own programs and players know them: its API, and HLS."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.services.host import ServiceHost
from downstage.services.server import Server, open_port

__all__ = ["DataPort", "OnlyHls", "open_data_ports"]

Kind = Literal["api", "hls"]
DOCS = "/docs"
HLS = "/hls/"
HINT = """\
Video of streams and of sessions, as HLS.

  {url}/hls/NAME/index.m3u8        an image or video stream
  {url}/hls/session.ID/index.m3u8  a running session

A player needs a token: the header Authorization, or ?token= with a ticket.
"""


@dataclass(frozen=True, slots=True)
class DataPort:
    """One of them, open."""

    kind: Kind
    url: str
    listening: socket.socket

    def server(
        self, host: ServiceHost, trusted: list[str], certificate: tuple[Path, Path] | None
    ) -> Server:
        """What answers there."""
        app = host.app("streams")
        shown: ASGIApp = app if self.kind == "api" else OnlyHls(app, self.url)
        if self.kind == "api":
            app.add_route("/", _to_docs, include_in_schema=False)
        return Server(shown, [self.listening], trusted=trusted, certificate=certificate)


async def _to_docs(request: Request) -> Response:
    """The root of the data server's port: where its API is described."""
    del request
    return RedirectResponse(DOCS)


class OnlyHls:
    """Of an application its HLS alone, and a hint at the root.

    Args:
        app: the whole.
        url: of the port.
    """

    def __init__(self, app: ASGIApp, url: str) -> None:
        self._app = app
        self._hint = HINT.format(url=url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what belongs here."""
        path: str = scope.get("path", "")
        if path.startswith(HLS):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            is_root = path == "/"
            text = self._hint if is_root else "Only HLS is here: see /.\n"
            await PlainTextResponse(text, 200 if is_root else 404)(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})


def open_data_ports(settings: Settings) -> list[DataPort]:
    """Open those that the settings name.

    With ``--tls auto`` the proxy alone faces others: these are on loopback then.

    Raises:
        SetupError: one is taken; says how to choose another.
    """
    platform, streams = settings.platform, settings.streams
    host = "127.0.0.1" if platform.tls == "auto" else platform.host
    scheme = "https" if platform.tls == "files" else "http"
    opened = list[DataPort]()
    wanted: tuple[tuple[Kind, int | None, str], ...] = (
        ("api", streams.data_port, "data_port"),
        ("hls", streams.hls_port, "hls_port"),
    )
    for kind, port, key in wanted:
        if port is None:
            continue
        try:
            listening = open_port(host, port)
        except SetupError as error:
            for earlier in opened:
                earlier.listening.close()
            raise SetupError(
                f"The port {port} is taken. Stop the program that holds it, or choose another: "
                f"streams.{key} in the settings, 0 for a free one.",
                port=port,
            ) from error
        name = "localhost" if host in ("127.0.0.1", "::1") else host
        url = f"{scheme}://{name}:{listening.getsockname()[1]}"
        opened.append(DataPort(kind, url, listening))
    return opened
