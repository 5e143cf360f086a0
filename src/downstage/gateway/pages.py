"""The built pages of the viewer: read from the wheel, served with the headers they need."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from downstage.kernel.errors import NotFound
from downstage.services.routers import ServiceAPIRouter

__all__ = ["PAGE_HEADERS", "Pages"]

CONNECT = "connect-src 'self' ws: wss:"
POLICY = "; ".join(
    (
        "default-src 'self'",
        CONNECT,
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",
        "worker-src 'self' blob:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
PERMISSIONS = ", ".join(
    (
        "autoplay=(self)",
        "clipboard-read=(self)",
        "clipboard-write=(self)",
        "fullscreen=(self)",
        "gamepad=(self)",
        "keyboard-map=(self)",
        "microphone=(self)",
        "camera=()",
        "display-capture=()",
        "geolocation=()",
        "payment=()",
        "usb=()",
    )
)
PAGE_HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": PERMISSIONS,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Sent with everything that a browser may render."""

FOR_EVER = "public, max-age=31536000, immutable"
"""Assets carry their content's hash in their name."""

PAGES = (
    "/",
    "/index.html",
    "/webclient",
    "/webclient/",
    "/webclient/index.html",
    "/files",
    "/files/{path:path}",
    "/watch",
    "/watch/{path:path}",
    "/admin",
    "/admin/{path:path}",
)
"""Where the one page is served: it reads its own address."""

NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Downstage</title>
<style>body{font:16px/1.6 system-ui;max-width:40rem;margin:15vh auto;padding:0 1rem}</style>
<h1>The viewer is not built</h1>
<p>This is a source tree without the viewer's built files. Run <code>make web</code> and load this
page again.</p></html>
"""


class Pages:
    """Serves ``index.html`` and hashed assets.

    Args:
        folder: where they were built to; None is the package's own.
        gateways: addresses that the page may ask beside its own.
        probes: tells origins, ``https://host[:port]``, that it may measure its distance to.
    """

    def __init__(
        self,
        folder: Path | None = None,
        gateways: Sequence[str] = (),
        probes: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._gateways = tuple(gateways)
        self._probes = probes
        self._folder = (folder or Path(str(files("downstage.gateway"))) / "static").resolve()
        self._read: dict[Path, tuple[int, bytes]] = {}

    def router(self) -> APIRouter:
        """The routes."""
        router = ServiceAPIRouter(include_in_schema=False)
        for path in PAGES:
            router.add_api_route(path, self.index, methods=["GET", "HEAD"])
        router.add_api_route("/assets/{name:path}", self.asset, methods=["GET", "HEAD"])
        router.add_api_route("/favicon.svg", self.icon, methods=["GET", "HEAD"])
        router.add_api_route("/favicon.ico", self.icon, methods=["GET", "HEAD"])
        return router

    async def index(self, request: Request) -> Response:
        """The page around the viewer."""
        del request
        body = await anyio.to_thread.run_sync(self._content, "index.html")
        further = " ".join((CONNECT, *self._gateways, *self._probes()))
        headers = {**PAGE_HEADERS, "content-security-policy": POLICY.replace(CONNECT, further)}
        if body is None:
            return HTMLResponse(NOT_BUILT, 503, {**headers, "cache-control": "no-store"})
        return HTMLResponse(body, headers={**headers, "cache-control": "no-cache"})

    async def asset(self, name: str) -> Response:
        """A built file; its name changes with its content."""
        return await self._file(f"assets/{name}", FOR_EVER)

    async def icon(self) -> Response:
        """The page's icon, where the build has one."""
        return await self._file("favicon.svg", "public, max-age=3600")

    async def _file(self, name: str, cache: str) -> Response:
        body = await anyio.to_thread.run_sync(self._content, name)
        if body is None:
            raise NotFound("There is no such file.")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(body, media_type=kind, headers={**PAGE_HEADERS, "cache-control": cache})

    def _content(self, name: str) -> bytes | None:
        """What the file holds; None where there is none below the folder. Blocks briefly."""
        if "\0" in name:
            return None
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            return None
        changed = path.stat().st_mtime_ns
        known = self._read.get(path)
        if known is None or known[0] != changed:
            known = self._read[path] = (changed, path.read_bytes())
        return known[1]
