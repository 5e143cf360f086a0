"""Clients of services: paths as attributes, the same in this process and across a network."""

from downstage.services.client.authorization import (
    ApiKey,
    Authorization,
    Bearer,
    OidcClientCredentials,
)
from downstage.services.client.blocking import BlockingSocket, BlockingStream, Client
from downstage.services.client.client import AsyncClient
from downstage.services.client.describing import describe
from downstage.services.client.events import Event
from downstage.services.client.hooks import Hook
from downstage.services.client.outgoing import Outgoing
from downstage.services.client.propagation import deadline, traced
from downstage.services.client.retry import CircuitBreaker, Retry
from downstage.services.client.sockets import CallSocket
from downstage.services.client.streaming import CallStream

__all__ = [
    "ApiKey",
    "AsyncClient",
    "Authorization",
    "Bearer",
    "BlockingSocket",
    "BlockingStream",
    "CallSocket",
    "CallStream",
    "CircuitBreaker",
    "Client",
    "Event",
    "Hook",
    "OidcClientCredentials",
    "Outgoing",
    "Retry",
    "deadline",
    "describe",
    "traced",
]
