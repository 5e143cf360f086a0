"""Ways to reach a service: one file a scheme, found by `register`."""

import sys

from downstage.services.transports.transport import (
    MAX_ANSWER,
    MAX_MESSAGE,
    Answer,
    Body,
    Call,
    Socket,
    SocketClosed,
    Stream,
    Transport,
    create,
    known_schemes,
    register,
    unregister,
)

__all__ = [
    "MAX_ANSWER",
    "MAX_MESSAGE",
    "Answer",
    "Body",
    "Call",
    "Socket",
    "SocketClosed",
    "Stream",
    "Transport",
    "close_transports",
    "create",
    "known_schemes",
    "register",
    "unregister",
]


async def close_transports() -> None:
    """Close what calls have opened in the running loop; later calls open it again.

    Loops that end in order (``asyncio.run``, ``anyio.run``) do this by themselves.
    """
    # What was never imported has nothing open.
    if local := sys.modules.get(f"{__name__}.local"):
        await local.close_local()
    if pool := sys.modules.get(f"{__name__}.pool"):
        await pool.close_pool()
    if connections := sys.modules.get("downstage.bus.nats_pool"):
        await connections.close_connections()
