"""The framework: routers, extensions, and one client for calls near and far.

Names are loaded when they are first asked for: a command that only prints a version must not
wait for an HTTP engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from downstage.services.client import (
        ApiKey,
        AsyncClient,
        Bearer,
        CircuitBreaker,
        Client,
        Hook,
        OidcClientCredentials,
        Retry,
        deadline,
        describe,
    )
    from downstage.services.errors import (
        BaseServiceError,
        ServiceNotFoundError,
        ServiceTimeoutError,
        ServiceUnavailableError,
        TransportNotFoundError,
    )
    from downstage.services.extension import IExt
    from downstage.services.registry import deregister_router, get_app, register_router
    from downstage.services.routers import ServiceAPIRouter
    from downstage.services.transports import (
        SocketClosed,
        known_schemes,
        register,
        unregister,
    )

__all__ = [
    "ApiKey",
    "AsyncClient",
    "BaseServiceError",
    "Bearer",
    "CircuitBreaker",
    "Client",
    "Hook",
    "IExt",
    "OidcClientCredentials",
    "Retry",
    "ServiceAPIRouter",
    "ServiceNotFoundError",
    "ServiceTimeoutError",
    "ServiceUnavailableError",
    "SocketClosed",
    "TransportNotFoundError",
    "deadline",
    "deregister_router",
    "describe",
    "get_app",
    "known_schemes",
    "register",
    "register_router",
    "unregister",
]

_HOMES = {
    "ApiKey": "client",
    "AsyncClient": "client",
    "BaseServiceError": "errors",
    "Bearer": "client",
    "CircuitBreaker": "client",
    "Client": "client",
    "Hook": "client",
    "IExt": "extension",
    "OidcClientCredentials": "client",
    "Retry": "client",
    "ServiceAPIRouter": "routers",
    "ServiceNotFoundError": "errors",
    "ServiceTimeoutError": "errors",
    "ServiceUnavailableError": "errors",
    "SocketClosed": "transports",
    "TransportNotFoundError": "errors",
    "deadline": "client",
    "deregister_router": "registry",
    "describe": "client",
    "get_app": "registry",
    "known_schemes": "transports",
    "register": "transports",
    "register_router": "registry",
    "unregister": "transports",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(name) from None
    return getattr(import_module(f"{__name__}.{home}"), name)
