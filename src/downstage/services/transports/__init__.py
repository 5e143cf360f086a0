"""Ways to reach a service: one file a scheme, found by `register`."""

from downstage.services.transports.transport import (
    MAX_ANSWER,
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
    "Answer",
    "Body",
    "Call",
    "Socket",
    "SocketClosed",
    "Stream",
    "Transport",
    "create",
    "known_schemes",
    "register",
    "unregister",
]
