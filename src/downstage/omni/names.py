"""Which foreign name stands for which of ours."""

from __future__ import annotations

from collections.abc import Mapping

from downstage import client

__all__ = ["MODULES", "children", "is_package"]

_FACILITIES = "downstage.services.facilities"
_ERRORS = "downstage.services.errors"
_REGISTRY = "downstage.services.registry"

MODULES: Mapping[str, Mapping[str, str]] = {
    "carb": {
        "log_error": "downstage.omni.log",
        "log_fatal": "downstage.omni.log",
        "log_info": "downstage.omni.log",
        "log_verbose": "downstage.omni.log",
        "log_warn": "downstage.omni.log",
    },
    "carb.settings": {
        "ISettings": "downstage.omni.settings",
        "get_settings": "downstage.omni.settings",
        "get_settings_interface": "downstage.omni.settings:get_settings",
    },
    "carb.tokens": {
        "ITokens": "downstage.omni.tokens",
        "get_tokens_interface": "downstage.omni.tokens",
    },
    "omni": {},
    "omni.client": dict.fromkeys(client.__all__, "downstage.client"),
    "omni.ext": {
        "IExt": "downstage.services.extension",
        "get_extension_name": "downstage.omni.extensions",
    },
    "omni.services": {},
    "omni.services.client": {
        "AsyncClient": "downstage.services.client",
        "Client": "downstage.services.client",
        "get_available_transports": "downstage.omni.transports",
        "register": "downstage.omni.transports",
        "unregister": "downstage.omni.transports",
    },
    "omni.services.core": {},
    "omni.services.core.main": {"register_mount": "downstage.omni.mounts"}
    | dict.fromkeys(
        (
            "deregister_endpoint",
            "deregister_mount",
            "deregister_router",
            "get_app",
            "register_encoder",
            "register_endpoint",
            "register_facility",
            "register_middleware",
            "register_router",
            "register_websocket_endpoint",
            "set_metadata",
        ),
        _REGISTRY,
    ),
    "omni.services.core.routers": {"ServiceAPIRouter": "downstage.services.routers"},
    "omni.services.facilities": {},
    "omni.services.facilities.base": {"Facility": _FACILITIES},
    "omni.services.facilities.database": {},
    "omni.services.facilities.database.manager": {
        "DatabaseManagerFacility": "downstage.omni.databases"
    },
    "omni.services.facilities.monitoring": {},
    "omni.services.facilities.monitoring.metrics": {},
    "omni.services.facilities.monitoring.metrics.facilities": {"MetricsFacility": _FACILITIES},
    "omni.services.facilities.monitoring.progress": {},
    "omni.services.facilities.monitoring.progress.facilities": {"ProgressFacility": _FACILITIES},
    "omni.services.security": {},
    "omni.services.security.auth": {},
    "omni.services.security.auth.apikey": {"OmniApiKeyHeader": f"{_FACILITIES}:ApiKeyHeader"},
    "omni.services.transport": {},
    "omni.services.transport.client": {},
    "omni.services.transport.client.base": {},
    "omni.services.transport.client.base.exceptions": dict.fromkeys(
        (
            "BaseServiceError",
            "ServiceNotFoundError",
            "ServiceUnavailableError",
            "TransportNotFoundError",
        ),
        _ERRORS,
    ),
    "omni.services.transport.client.http_async": {},
    "omni.services.transport.server": {},
    "omni.services.transport.server.http": {},
}
"""Every foreign module, and the home of each of its names: ``module`` or ``module:other_name``."""


def children(name: str) -> list[str]:
    """The aliases directly below *name*, by their last part."""
    dotted = f"{name}."
    rests = [key.removeprefix(dotted) for key in MODULES if key.startswith(dotted)]
    return [rest for rest in rests if "." not in rest]


def is_package(name: str) -> bool:
    """Whether modules of others, or aliases, may lie below *name*."""
    return name in {"omni", "carb"} or not MODULES[name] or bool(children(name))
