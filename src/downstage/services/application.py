"""The application of a service: FastAPI's, with our errors, limits, health and description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from downstage import __version__
from downstage.kernel.limits import MAX_BODY, MAX_SIGNALLING
from downstage.services import health
from downstage.services.api_page import ApiPage
from downstage.services.book import book_of
from downstage.services.facilities.requests import Meter, RequestMetrics
from downstage.services.fronts import Front, Fronts
from downstage.services.openapi import add_document, describe
from downstage.services.problems import REQUEST_ID, install

__all__ = ["ServiceApp", "create_app"]

DOCS = "/docs"
"""Where a browser sees the description."""


class ServiceApp(FastAPI):
    """A FastAPI application whose routes and middleware may change while it serves."""

    fixed = 0
    """How many of the middleware stand before all others."""
    fronts: Fronts | None = None
    """Applications that answer some paths before all middleware."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let a front do it."""
        front = None if self.fronts is None else self.fronts.of(scope)
        if front is None or self.fronts is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self.fronts.serve(front, scope, receive, send)

    def put_front(self, front: Front) -> None:
        """Let *front* answer its paths."""
        if self.fronts is None:
            self.fronts = Fronts(self.state.meter)
        self.fronts.add(front)

    def drop_fronts(self, owner: str) -> None:
        """Take away the fronts of *owner*."""
        if self.fronts is not None:
            self.fronts.remove(owner)

    def max_message(self, path: str) -> int:
        """Bytes that a message on a socket at *path*, as it was sent, may have."""
        front = self.front_of_socket(path)
        return MAX_SIGNALLING if front is None else front.max_message

    def front_of_socket(self, path: str) -> Front | None:
        """Who answers for a socket at *path*, as it was sent."""
        return None if self.fronts is None else self.fronts.find(path)

    def setup(self) -> None:
        """Serve the description with an ETag, and a page that shows it, offline."""
        super().setup()
        if self.openapi_url:
            routes = self.router.routes
            routes[:] = [r for r in routes if getattr(r, "path", None) != self.openapi_url]
            add_document(self, self.openapi_url)
            page = ApiPage(DOCS, self.title, self.openapi_url).routes()
            routes.extend(page)
            book_of(self).weaken(page)

    def openapi(self) -> dict[str, Any]:
        """What is served just now; kept until something changes."""
        if self.openapi_schema:
            return self.openapi_schema
        book = book_of(self)
        version = book.version
        found = self.openapi_schema = describe(self)
        if version != book.version:  # this may run in a thread, and things change meanwhile
            self.openapi_schema = None
        return found

    def include_router(self, router: APIRouter, **options: Any) -> None:
        """As FastAPI's; routes that *router* is given later are described too, where served."""
        super().include_router(router, **options)
        book_of(self).follow(router)

    def add_middleware(
        self, middleware_class: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Put *middleware_class* around what was there, inside of our own; also while it serves.

        Requests in flight end in the stack that they began in.
        """
        added = Middleware(cast("Any", middleware_class), *args, **kwargs)
        self.user_middleware.insert(self.fixed, added)
        self.middleware_stack = None  # the next request builds it

    def settle(self) -> None:
        """What was added so far stands before whatever comes later."""
        self.fixed = len(self.user_middleware)


def create_app(
    title: str,
    *,
    max_body: int | None = MAX_BODY,
    request_id_header: str = REQUEST_ID,
    **options: Any,
) -> ServiceApp:
    """An application with the platform's errors, request ids, limits and health routes.

    Args:
        title: of its description.
        max_body: bytes of a request body, after decompression; None is no limit.
        request_id_header: name of the correlation id's header, in lower case.
        options: of FastAPI; without a `version` it is ours.
    """
    options.setdefault("version", __version__)
    # FastAPI's own pages load their programs from elsewhere.
    app = ServiceApp(title=title, docs_url=None, redoc_url=None, **options)
    book = book_of(app)
    install(app, max_body=max_body, request_id_header=request_id_header)
    app.state.meter = Meter(title)
    app.add_middleware(RequestMetrics, app.state.meter)
    app.settle()
    book.weaken(health.add_routes(app))
    return app
