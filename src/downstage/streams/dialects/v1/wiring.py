"""Our own API of streams, put in its place."""

from __future__ import annotations

from downstage.streams.dialects.v1.access import Asker
from downstage.streams.dialects.v1.consumers import consumer_routes
from downstage.streams.dialects.v1.entries import entry_routes, push_route
from downstage.streams.dialects.v1.events import event_routes
from downstage.streams.dialects.v1.judge import Judge
from downstage.streams.dialects.v1.moments import moment_routes
from downstage.streams.dialects.v1.streams import stream_routes
from downstage.streams.dialects.v1.tickets import ticket_route
from downstage.streams.ground import Ground, Part

__all__ = ["wire"]


async def wire(ground: Ground) -> Part | None:
    """Serve its routes."""
    context, streams, callers = ground.context, ground.streams, ground.callers
    ask, judge = Asker(callers), Judge()
    context.public(push_route(streams, ask, judge), max_body=context.settings.streams.max_message)
    for router in (
        ticket_route(callers.tickets, ask),
        stream_routes(streams, ask, judge),
        entry_routes(streams, ask),
        moment_routes(streams, ask),
        consumer_routes(streams, ask),
        event_routes(streams, callers, ask),
    ):
        context.public(router)
    return None
