"""Names of other frameworks' extensions that the framework itself stands in for.

An extension that was written for Omniverse Services names these among its dependencies. What it
needs of them is always there, so any version that it asks for is taken: the numbers of two
frameworks cannot be compared.
"""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["HTTP_SERVER", "PROVIDED", "PROVIDED_SETTINGS"]

HTTP_SERVER = "omni.services.transport.server.http"
"""Extension whose settings say where `downstage ext dev` listens."""

PROVIDED = MappingProxyType(
    {
        "downstage": "the framework itself",
        "omni.services.core": "downstage.services: routers and registration",
        "omni.services.client": "downstage.services: AsyncClient and Client",
        "omni.services.transport.client.base": "downstage.services.errors",
        "omni.services.transport.client.local": "downstage.services.transports.local",
        "omni.services.transport.client.http_async": "downstage.services.transports.http",
        "omni.services.transport.client.https_async": "downstage.services.transports.http",
        "omni.services.transport.server.base": "downstage.services.server",
        HTTP_SERVER: "the platform's own server",
        "omni.services.facilities.base": "downstage.services.facilities",
        "omni.services.facilities.monitoring.metrics": "the metrics facility",
        "omni.services.facilities.monitoring.progress": "the progress facility",
        "omni.services.facilities.database.manager": "the database facility",
        "omni.services.security.auth.apikey": "the API key dependency",
    }
)
"""Name of a dependency → what stands in for it here."""

PROVIDED_SETTINGS = MappingProxyType(
    {
        "exts": {
            HTTP_SERVER: {
                "host": "127.0.0.1",
                "port": 8011,
                "http": {"enabled": True},
                "https": {
                    "enabled": False,
                    "port": 8443,
                    "ssl": {"ssl_keyfile": "", "ssl_certfile": ""},
                },
            },
            "omni.services.transport.client.http_async": {
                "https": {
                    "cacert_file": "",
                    "ssl_pem": "",
                    "ssl_key": "",
                    "ssl_skip_verify": False,
                }
            },
        }
    }
)
"""Settings of those names that mean something here, with their defaults."""
