"""The framework: routers, extensions, and one client for calls near and far."""

from downstage.services.client import AsyncClient
from downstage.services.errors import (
    BaseServiceError,
    ServiceNotFoundError,
    ServiceUnavailableError,
    TransportNotFoundError,
)
from downstage.services.extension import IExt
from downstage.services.registry import deregister_router, get_app, register_router
from downstage.services.routers import ServiceAPIRouter
from downstage.services.transports import http as _http
from downstage.services.transports import local as _local
from downstage.services.transports import register

__all__ = [
    "AsyncClient",
    "BaseServiceError",
    "IExt",
    "ServiceAPIRouter",
    "ServiceNotFoundError",
    "ServiceUnavailableError",
    "TransportNotFoundError",
    "deregister_router",
    "get_app",
    "register",
    "register_router",
]

BUILT_IN_TRANSPORTS = (_http, _local)
"""Importing them registered their schemes."""
