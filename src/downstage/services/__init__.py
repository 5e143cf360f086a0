"""The framework: routers, extensions, and one client for calls near and far.

Names are loaded when they are first asked for: a command that only prints a version must not
wait for an HTTP engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "AsyncClient": "client",
    "BaseServiceError": "errors",
    "IExt": "extension",
    "ServiceAPIRouter": "routers",
    "ServiceNotFoundError": "errors",
    "ServiceUnavailableError": "errors",
    "TransportNotFoundError": "errors",
    "deregister_router": "registry",
    "get_app": "registry",
    "register": "transports",
    "register_router": "registry",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(name) from None
    return getattr(import_module(f"{__name__}.{home}"), name)
