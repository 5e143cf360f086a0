"""``/ping``: whether the data store is there, and what a client looks like from here."""

from __future__ import annotations

from starlette.requests import Request

from downstage.streams.dialects.ptg.answers import Json
from downstage.streams.dialects.ptg.dialect import Dialect, SignedIn
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.service import Streams

__all__ = ["ping_routes"]

HIDDEN = "(not shown)"


def ping_routes(door: Door, streams: Streams) -> Dialect:
    """The routes."""
    dialect = Dialect(door, "ping")

    async def ping() -> Json:
        """True, once the data store is ready."""
        _ = streams.totals  # refused until the engine is there
        return Json(content=True)

    async def fail(caller: SignedIn) -> Json:
        """500 on purpose, to see what a client does with it; the connection lives on."""
        del caller
        said = {"msg": "This error was asked for.", "type": "ValueError"}
        return Json({"detail": [said]}, status_code=500)

    async def show_auth(request: Request, caller: SignedIn) -> Json:
        """Where a token was found; never the token."""
        del caller
        header, cookie = "authorization" in request.headers, "authorization" in request.cookies
        return Json(
            {
                "query": HIDDEN if request.query_params.get("token") else None,
                "headers": f"Bearer {HIDDEN}" if header else None,
                "cookies": f"Bearer {HIDDEN}" if cookie else None,
            }
        )

    dialect.serve("GET", "/ping", ping)
    on_purpose = {500: {"description": "Always, on purpose."}}
    dialect.serve("GET", "/ping/error", fail, responses=on_purpose)
    dialect.serve("GET", "/ping/auth", show_auth)
    return dialect
