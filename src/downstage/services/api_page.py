"""A page that shows a description and tries its operations: Swagger UI from the wheel, offline."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from importlib.resources import files

import anyio.to_thread
from fastapi.routing import APIRoute
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute

from downstage.kernel.errors import NotFound

__all__ = ["ApiPage"]

HEADERS = {
    "content-security-policy": "; ".join(
        (
            "default-src 'self'",
            "img-src 'self' data:",
            "style-src 'self' 'unsafe-inline'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        )
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
HOLDER = "fastapi_offline"
"""The package whose wheel holds Swagger UI, which reads OpenAPI 3.1 from its version 5 on."""
ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon.png": "image/png",
}
START = """window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    url: document.documentElement.dataset.openapi,
    dom_id: "#swagger-ui",
    deepLinking: true,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
  });
});
"""
PAGE = """<!doctype html>
<html lang="en" data-openapi="{document}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="{base}/favicon.png">
<link rel="stylesheet" href="{base}/swagger-ui.css">
<script src="{base}/swagger-ui-bundle.js"></script>
<script src="{base}/start.js"></script>
</head>
<body><div id="swagger-ui"></div></body>
</html>
"""


class ApiPage:
    """The page of one description.

    Args:
        base: its path.
        title: what the browser's tab says.
        document: path of the OpenAPI document.
    """

    def __init__(self, base: str, title: str, document: str) -> None:
        self._base = base
        self._title = title
        self._document = document

    def routes(self) -> list[BaseRoute]:
        """Page and assets; none of them is described."""
        paths: dict[str, Callable[..., Awaitable[Response]]] = {
            self._base: self._page,
            f"{self._base}/": self._page,
            f"{self._base}/{{name}}": self._asset,
        }
        return [APIRoute(path, handler, include_in_schema=False) for path, handler in paths.items()]

    async def _page(self) -> Response:
        body = PAGE.format(
            base=html.escape(self._base),
            title=html.escape(self._title),
            document=html.escape(self._document),
        )
        return HTMLResponse(body, headers={**HEADERS, "cache-control": "no-cache"})

    async def _asset(self, name: str) -> Response:
        headers = {**HEADERS, "cache-control": "public, max-age=86400"}
        if name == "start.js":
            return Response(START, media_type="text/javascript", headers=headers)
        kind = ASSETS.get(name)
        if kind is None:
            raise NotFound("There is no such file.")
        body = await anyio.to_thread.run_sync(_read, name)
        return Response(body, media_type=kind, headers=headers)


def _read(name: str) -> bytes:
    return (files(HOLDER) / "static" / name).read_bytes()
