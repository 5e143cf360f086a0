"""Discovery: where on this one port each interface answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from downstage.content.dialects.nucleus.origin import Origin

__all__ = ["API", "AUTH", "DISCOVERY", "find", "find_all"]

DISCOVERY = "/omni/discovery"
AUTH = "/omni/auth/api"
API = "/omni/api"
VERSION = 2
SOWS, CONNLIB = "sows", "connlib"
INTERFACES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("OmniAuth.idl.ts", "Credentials"): (SOWS, AUTH),
    ("OmniAuth.idl.ts", "Tokens"): (SOWS, AUTH),
    ("omni1.idl.ts", "Connection"): (CONNLIB, API),
}
"""Transport and path of each interface that is spoken here, by origin and name."""
JSON = {"serializer": "json", "marshaller": "bs"}
NOTHING: dict[str, Any] = {"found": False, "version": VERSION}


def find(parameters: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """Where the interface asked for answers, by a transport that was offered."""
    query = _mapping(parameters.get("query"))
    wanted = _mapping(query.get("service_interface"))
    key = (str(wanted.get("origin")), str(wanted.get("name")))
    if key not in INTERFACES:
        return NOTHING
    transport, path = INTERFACES[key]
    offered = _offered(query.get("supported_transport"), transport, origin)
    if offered is None:
        return NOTHING
    return _found(key, transport, path, offered, origin)


def find_all(origin: Origin) -> list[dict[str, Any]]:
    """Everything that is here."""
    found = list[dict[str, Any]]()
    for key, (transport, path) in INTERFACES.items():
        meta = (
            {} if transport == CONNLIB else {**JSON, "ssl": _ssl(origin), "supports_path": "true"}
        )
        found.append(_found(key, transport, path, meta, origin))
    return found


def _found(
    key: tuple[str, str], transport: str, path: str, meta: Mapping[str, Any], origin: Origin
) -> dict[str, Any]:
    params = {"host": origin.host.strip("[]"), "port": origin.port, "path": path}
    return {
        "found": True,
        "version": VERSION,
        "service_interface": {"origin": key[0], "name": key[1], "capabilities": {}},
        "transport": {
            "name": transport,
            "params": msgspec.json.encode(params).decode(),
            "meta": dict(meta),
        },
        "meta": {},
    }


def _offered(transports: object, name: str, origin: Origin) -> dict[str, Any] | None:
    """The description among *transports* that fits; None: the client cannot dial us."""
    if not isinstance(transports, list):
        return None
    for item in cast("list[object]", transports):
        offer = _mapping(item)
        if offer.get("name") != name:
            continue
        meta = _mapping(offer.get("meta"))
        if name == CONNLIB:
            return {}
        fits = {**JSON, "ssl": _ssl(origin), "supports_path": "true"}
        if all(meta.get(key) == value for key, value in fits.items()):
            return dict(fits)
    return None


def _ssl(origin: Origin) -> str:
    return "true" if origin.is_secure else "false"


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
