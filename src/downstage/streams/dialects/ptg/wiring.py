"""The data server's dialect, wired: the one place where its routers meet the service."""

from __future__ import annotations

from downstage.streams.dialects.ptg.chunked import chunked_routes
from downstage.streams.dialects.ptg.data import OVERHEAD, data_routes
from downstage.streams.dialects.ptg.desk import Desk
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.dialects.ptg.events import Events
from downstage.streams.dialects.ptg.listing import stream_routes
from downstage.streams.dialects.ptg.mjpeg import mjpeg_routes
from downstage.streams.dialects.ptg.pings import ping_routes
from downstage.streams.dialects.ptg.recipes import recipe_routes
from downstage.streams.dialects.ptg.sessions import session_routes
from downstage.streams.dialects.ptg.token import token_routes
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.dialects.v1.documents import document_routes
from downstage.streams.documents import Documents
from downstage.streams.ground import Ground, Part
from downstage.streams.revising import Revising

__all__ = ["wire"]

NAME = "documents.db"


class _Dialect(Part):
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def stop(self) -> None:
        """Close the documents."""
        await self._documents.close()


async def wire(ground: Ground) -> Part:
    """Serve everything but the sockets and the recordings."""
    context = ground.context
    door = Door(ground.callers, ground.origins)
    documents = Documents(ground.folder / NAME)
    events = Events(ground.streams)
    identity = context.client("identity")
    context.public(token_routes(door, ground.callers, identity, context.clock))
    context.public(ping_routes(door, ground.streams))
    context.public(stream_routes(door, ground.streams))
    max_message = context.settings.streams.max_message
    data = data_routes(door, ground.streams, max_message=max_message)
    context.public(data, max_body=max_message + OVERHEAD)
    context.public(chunked_routes(door))
    context.public(mjpeg_routes(door, ground.streams, ground.callers))
    context.public(recipe_routes(door, documents, events))
    context.public(session_routes(door, documents, events, context.clock))
    desk = Desk(Revising(documents), events)
    context.public(document_routes(desk, Asker(ground.callers)))
    return _Dialect(documents)
