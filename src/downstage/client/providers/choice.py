"""Which provider speaks to a place."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from downstage.client.places import SERVER_SCHEMES, Place
from downstage.client.providers.provider import Provider
from downstage.kernel.errors import NotSupported, Unavailable

if TYPE_CHECKING:
    from downstage.client.client import Client
    from downstage.client.http import Http
    from downstage.client.origins import Origin

__all__ = ["make_provider"]

CAPABILITY = "Downstage-Content"
GATEWAY = frozenset({502, 503, 504})
EVERY_STATUS = frozenset(range(400, 600))


async def make_provider(client: Client, place: Place) -> Provider:
    """A new provider for the server that *place* names.

    Raises:
        NotSupported: nothing here speaks that scheme.
    """
    if place.scheme == "file":
        from downstage.client.providers.file import FileProvider

        return FileProvider()
    if place.scheme == "s3":
        from downstage.client.providers.s3 import S3Files

        return S3Files(place, client.options)
    from downstage.client.origins import Origin

    if place.scheme in SERVER_SCHEMES:
        return _server(client, place, Origin.of(place))
    if place.scheme in {"http", "https"}:
        return await _http(client, place, Origin.of(place))
    raise NotSupported(f"Nothing here speaks {place.scheme}:.")


def _server(client: Client, place: Place, origin: Origin) -> Provider:
    from downstage.client.providers.server import ServerProvider

    return ServerProvider(origin, place.origin, client.options, client.callbacks)


async def _http(client: Client, place: Place, origin: Origin) -> Provider:
    from downstage.client.credentials import Credentials
    from downstage.client.http import Http

    http = Http(origin, client.options)
    http.breaker = client.breakers.setdefault(place.origin, http.breaker)
    if place.is_files_route and await _is_ours(http, place):
        await http.close()
        return _server(client, place, origin)
    http.credentials = Credentials(origin, place.origin, client.callbacks, _basic, is_eager=False)
    if place.origin in client.options.webdav:
        from downstage.client.providers.webdav import WebDavFiles

        return WebDavFiles(http)
    from downstage.client.providers.http_files import HttpFiles

    return HttpFiles(http)


async def _is_ours(http: Http, place: Place) -> bool:
    """Whether the server says, on whatever answer, that it is a content service of ours."""
    try:
        async with http.request("HEAD", place.url, allowed=EVERY_STATUS) as response:
            found, status = CAPABILITY in response.headers, response.status
    except BaseException:
        await http.close()
        raise
    if not found and status in GATEWAY:
        await http.close()
        raise Unavailable("What stands before the server cannot reach it.")
    return found


async def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")
