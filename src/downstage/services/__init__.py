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
    from downstage.services.registry import (
        create_app,
        deregister_endpoint,
        deregister_mount,
        deregister_router,
        deregister_websocket_endpoint,
        get_app,
        register_endpoint,
        register_facility,
        register_middleware,
        register_mount,
        register_router,
        register_websocket_endpoint,
        set_metadata,
    )
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
    "create_app",
    "deadline",
    "deregister_endpoint",
    "deregister_mount",
    "deregister_router",
    "deregister_websocket_endpoint",
    "describe",
    "get_app",
    "known_schemes",
    "register",
    "register_endpoint",
    "register_facility",
    "register_middleware",
    "register_mount",
    "register_router",
    "register_websocket_endpoint",
    "set_metadata",
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
    "create_app": "registry",
    "deadline": "client",
    "deregister_endpoint": "registry",
    "deregister_mount": "registry",
    "deregister_router": "registry",
    "deregister_websocket_endpoint": "registry",
    "describe": "client",
    "get_app": "registry",
    "known_schemes": "transports",
    "register": "transports",
    "register_endpoint": "registry",
    "register_facility": "registry",
    "register_middleware": "registry",
    "register_mount": "registry",
    "register_router": "registry",
    "register_websocket_endpoint": "registry",
    "set_metadata": "registry",
    "unregister": "transports",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(name) from None
    return getattr(import_module(f"{__name__}.{home}"), name)
