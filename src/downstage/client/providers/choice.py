"""Which provider speaks to a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downstage.client.places import Place
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
    raise NotSupported(f"Nothing here speaks {place.scheme}:.")
