"""Which provider speaks to a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downstage.client.places import SERVER_SCHEMES, Place
from downstage.client.providers.provider import Provider
from downstage.kernel.errors import NotSupported

if TYPE_CHECKING:
    from downstage.client.client import Client

__all__ = ["make_provider"]


async def make_provider(client: Client, place: Place) -> Provider:
    """A new provider for the server that *place* names.

    Raises:
        NotSupported: nothing here speaks that scheme.
    """
    if place.scheme == "file":
        from downstage.client.providers.file import FileProvider

        return FileProvider()
    if place.scheme in SERVER_SCHEMES:
        return _server(client, place)
    raise NotSupported(f"Nothing here speaks {place.scheme}:.")


def _server(client: Client, place: Place) -> Provider:
    from downstage.client.origins import Origin
    from downstage.client.providers.server import ServerProvider

    return ServerProvider(Origin.of(place), place.origin, client.options, client.callbacks)
