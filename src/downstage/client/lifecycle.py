"""The client itself: begin and end, who hears and who signs in, what it is told once."""

from __future__ import annotations

from downstage import __version__
from downstage.client.callbacks import (
    AuthorizeCallback,
    ConnectionStatusCallback,
    DeviceFlowCallback,
    FileStatusCallback,
)
from downstage.client.client import Client, default_client
from downstage.client.options import Retries, S3Options
from downstage.client.request import Request
from downstage.client.types import Registration
from downstage.kernel.errors import PlatformError

__all__ = [
    "add_default_search_path",
    "authentication_cancel",
    "get_default_search_paths",
    "get_version",
    "initialize",
    "reconnect",
    "refresh_auth_token",
    "register_authentication_callback",
    "register_authorize_callback",
    "register_connection_status_callback",
    "register_device_flow_auth_callback",
    "register_file_status_callback",
    "remove_default_search_path",
    "set_http_header",
    "set_retries",
    "set_s3_configuration",
    "set_webdav",
    "shutdown",
    "sign_out",
]


def initialize(version: int = 77309411328) -> bool:
    """Make ready; everything does it by itself. After `shutdown`, begin anew.

    Args:
        version: of the interface that the caller was made for; every one is served.
    """
    del version
    default_client().engine.open()
    return True


def shutdown() -> None:
    """Close every connection and end the client's threads; no callback comes after it.

    Requests made later have id 0, and blocking calls answer an error at once.
    """
    default_client().close()


def get_version() -> str:
    """The version of this library."""
    return __version__


def register_authorize_callback(callback: AuthorizeCallback) -> Registration:
    """Ask *callback* for credentials when a server wants some.

    Args:
        callback: gets ``scheme://host:port``. It returns None or False: ask the next, at last
            the usual ways; True: give up; a token; or user name and password. It runs on a
            thread of its own.
    """
    return default_client().callbacks.authorize.add(callback)


register_authentication_callback = register_authorize_callback
"""The later name."""


def register_device_flow_auth_callback(callback: DeviceFlowCallback) -> Registration:
    """Let a person sign in on another device: *callback* gets the code and where to type it."""
    return default_client().callbacks.device_flow.add(callback)


def authentication_cancel(auth_handle: int) -> None:
    """Give up a sign-in that waits for a person.

    Args:
        auth_handle: as the device-flow callback got it.
    """
    default_client().cancelled_flows.add(auth_handle)


def register_connection_status_callback(callback: ConnectionStatusCallback) -> Registration:
    """Tell *callback* how connections stand: the server's url and a `ConnectionStatus`."""
    return default_client().callbacks.connection.add(callback)


def register_file_status_callback(callback: FileStatusCallback) -> Registration:
    """Tell *callback* how far work on files is: url, `FileStatus`, percent."""
    return default_client().callbacks.file.add(callback)


def reconnect(url: str) -> None:
    """Connect to the server of *url* again, in the background.

    Args:
        url: anywhere on the server.
    """
    client = default_client()

    async def work(_: Request) -> None:
        place = client.place(url)
        if (breaker := client.breakers.get(place.origin)) is not None:
            breaker.reset()
        provider = await client.provider(place)
        await provider.reconnect(place)

    client.start(work, lambda _: None)


def sign_out(url: str) -> None:
    """Disconnect from the server of *url* now, and forget its token.

    What waits for an answer ends with ERROR_CONNECTION. The next request signs in anew.

    Args:
        url: anywhere on the server.
    """

    async def work(client: Client) -> None:
        place = client.place(url)
        provider = client.known_provider(place)
        if provider is not None:
            await provider.sign_out()

    try:
        default_client().run(work)
    except PlatformError:
        return  # shut down, or no address: nobody is signed in there


def refresh_auth_token(url: str) -> None:
    """Ask for a new token at the next request to the server of *url*.

    Args:
        url: anywhere on the server.
    """

    async def work(client: Client) -> None:
        provider = client.known_provider(client.place(url))
        if provider is not None:
            await provider.refresh_token()

    default_client().run(work)


def set_http_header(name: str, value: str) -> None:
    """Send a header with every HTTP request; an empty value takes it away.

    Args:
        name: of the header.
        value: its value.
    """
    headers = default_client().options.headers
    if any(char in name + value for char in "\r\n\0"):
        raise ValueError("a header is one line")
    headers.pop(name, None)
    if value:
        headers[name] = value


def set_s3_configuration(
    url: str,
    bucket: str = "",
    region: str = "",
    access_key_id: str = "",
    secret_access_key: str = "",
    *,
    endpoint: str = "",
    path_style: bool = True,
    allow_http: bool = False,
) -> None:
    """Say how the buckets of one address are reached.

    Args:
        url: ``s3://bucket``, or ``s3://*`` for all without an own entry.
        bucket: its name, where the address is not it.
        region: for the signature.
        access_key_id: name of the key; empty: as the environment says.
        secret_access_key: the key.
        endpoint: of a server that is not Amazon's.
        path_style: the bucket is part of the path, not of the host.
        allow_http: without TLS too.
    """
    from downstage.client.url_parts import split

    host = split(url).authority or url
    default_client().options.s3[host] = S3Options(
        bucket=bucket,
        region=region,
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
        endpoint=endpoint,
        path_style=path_style,
        allow_http=allow_http,
    )


def set_webdav(url: str, enabled: bool = True) -> None:
    """Speak WebDAV to an HTTP server: then it can be written to.

    Args:
        url: anywhere on the server.
        enabled: False: read it only, as any server.
    """
    origin = default_client().place(url).origin
    servers = default_client().options.webdav
    if enabled:
        servers.add(origin)
    else:
        servers.discard(origin)


def set_retries(max_retries: int, base_delay_ms: int = 100, jitter_ms: int = 50) -> None:
    """Say how often requests that may be repeated are.

    Args:
        max_retries: repetitions after the first try.
        base_delay_ms: pause before the first; doubles with each.
        jitter_ms: at most this is added by chance.
    """
    if min(max_retries, base_delay_ms, jitter_ms) < 0:
        raise ValueError("none of them can be negative")
    default_client().options.retries = Retries(max_retries, base_delay_ms, jitter_ms)


def add_default_search_path(url: str) -> None:
    """Let `resolve` look in the folder *url* too."""
    paths = default_client().search_urls
    if url not in paths:
        paths.append(url)


def remove_default_search_path(url: str) -> None:
    """Let it look there no longer."""
    paths = default_client().search_urls
    if url in paths:
        paths.remove(url)


def get_default_search_paths() -> tuple[str, ...]:
    """Where `resolve` looks, in this order."""
    return tuple(default_client().search_urls)
