"""The page of one API of several: its own OpenAPI document, of some routes alone."""

from __future__ import annotations

from collections.abc import Sequence

import anyio.to_thread
from fastapi import APIRouter
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from downstage import __version__
from downstage.services.api_page import ApiPage
from downstage.services.openapi import document

__all__ = ["ApiDocs"]


class ApiDocs:
    """The documentation of some routes.

    Args:
        base: path of its page.
        title: of the API.
        routes: what is documented.
    """

    def __init__(self, base: str, title: str, routes: Sequence[BaseRoute]) -> None:
        self._address = f"{base}/openapi.json"
        self._page = ApiPage(base, title, self._address)
        self._title = title
        self._routes = routes
        self._document: dict[str, object] | None = None

    def add_to(self, router: APIRouter) -> None:
        """Serve page, document and assets; none of them documents itself."""
        router.add_api_route(self._address, self.document, methods=["GET"], include_in_schema=False)
        router.routes.extend(self._page.routes())

    async def document(self) -> Response:
        """The OpenAPI document."""
        if self._document is None:
            self._document = await anyio.to_thread.run_sync(
                document, self._title, __version__, self._routes
            )
        return JSONResponse(self._document, headers={"cache-control": "no-cache"})
