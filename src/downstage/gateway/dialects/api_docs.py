"""Swagger UI for one API of several: its own OpenAPI document, assets from the wheel, offline."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import anyio.to_thread
from fastapi import APIRouter
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute

from downstage import __version__
from downstage.gateway.pages import PAGE_HEADERS
from downstage.kernel.errors import NotFound
from downstage.services.openapi import document

__all__ = ["ApiDocs"]

ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
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
<html lang="en" data-openapi="{base}/openapi.json">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="{base}/favicon-32x32.png">
<link rel="stylesheet" href="{base}/swagger-ui.css">
<script src="{base}/swagger-ui-bundle.js"></script>
<script src="{base}/start.js"></script>
</head>
<body><div id="swagger-ui"></div></body>
</html>
"""


class ApiDocs:
    """The documentation of some routes.

    Args:
        base: path of its page.
        title: of the API.
        routes: what is documented.
    """

    def __init__(self, base: str, title: str, routes: Sequence[BaseRoute]) -> None:
        self._base = base
        self._title = title
        self._routes = routes
        self._document: dict[str, object] | None = None

    def add_to(self, router: APIRouter) -> None:
        """Serve page, document and assets; none of them documents itself."""
        for path in (self._base, f"{self._base}/"):
            router.add_api_route(path, self.page, methods=["GET"], include_in_schema=False)
        document = f"{self._base}/openapi.json"
        router.add_api_route(document, self.document, methods=["GET"], include_in_schema=False)
        asset = f"{self._base}/{{name}}"
        router.add_api_route(asset, self.asset, methods=["GET"], include_in_schema=False)

    async def page(self) -> Response:
        """Swagger UI."""
        body = PAGE.format(base=html.escape(self._base), title=html.escape(self._title))
        return HTMLResponse(body, headers={**PAGE_HEADERS, "cache-control": "no-cache"})

    async def document(self) -> Response:
        """The OpenAPI document."""
        if self._document is None:
            self._document = await anyio.to_thread.run_sync(
                document, self._title, __version__, self._routes
            )
        return JSONResponse(self._document, headers={"cache-control": "no-cache"})

    async def asset(self, name: str) -> Response:
        """One file of Swagger UI."""
        headers = {**PAGE_HEADERS, "cache-control": "public, max-age=86400"}
        if name == "start.js":
            return Response(START, media_type="text/javascript", headers=headers)
        kind = ASSETS.get(name)
        if kind is None:
            raise NotFound("There is no such file.")
        body = await anyio.to_thread.run_sync(_read, name)
        return Response(body, media_type=kind, headers=headers)


def _read(name: str) -> bytes:
    return (_folder() / name).read_bytes()


@cache
def _folder() -> Traversable:
    """The one version of Swagger UI that the bundle holds."""
    vendor = files("swagger_ui_bundle") / "vendor"
    return next(item for item in vendor.iterdir() if item.name.startswith("swagger-ui-"))
