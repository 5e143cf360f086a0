"""What every command on files needs: a client for its time, addresses, errors with a name in them.

Commands run their work on the client's own loop (`Client.run`); Ctrl-C stops it there, and leaving
`client_of` waits until all has been put in order.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console

from downstage.cli.content.shown import of_url
from downstage.cli.facts import find_platform
from downstage.client.client import Client, default_client
from downstage.client.places import Place
from downstage.client.providers.server import ServerProvider
from downstage.client.url_parts import split_authority
from downstage.kernel.errors import (
    Forbidden,
    NotSupported,
    PlatformError,
    SetupError,
    Unauthenticated,
    Unavailable,
)
from downstage.kernel.settings import Settings

__all__ = ["about", "address", "client_of", "detail_of", "err", "out", "server_of"]

DATA = "DOWNSTAGE_PLATFORM__DATA"
SIGN_IN = (
    "Say who you are with DOWNSTAGE_TOKEN_FILE, or OMNI_USER and OMNI_PASS; for a server on "
    "another machine name it in DOWNSTAGE_CONTENT_HOST too."
)


def out() -> Console:
    """Where answers go; what is written there is never broken into lines or taken for markup."""
    return Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


def err() -> Console:
    """The same for what is no answer."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


@contextmanager
def client_of(settings: Settings) -> Generator[Client]:
    """The client, which takes the operator's token of the platform that runs on these settings."""
    before = os.environ.get(DATA)
    os.environ[DATA] = str(settings.platform.data.absolute())
    client = default_client()
    client.engine.open()
    try:
        yield client
    finally:
        client.close()
        if before is None:
            os.environ.pop(DATA, None)
        else:
            os.environ[DATA] = before


def address(settings: Settings, url: str | None) -> str:
    """*url*, or the root of the platform that runs.

    Raises:
        SetupError: none is named, and none runs.
    """
    if url:
        return url
    facts = find_platform(settings.platform.data)
    if facts is None:
        raise SetupError(
            f"Name an address: no platform runs on {settings.platform.data.absolute()} that could "
            "be meant. Start one with: downstage up   (or name its folder with --data)."
        )
    scheme, _, rest = facts.url.partition("://")
    authority = rest.partition("/")[0]
    _, host, _ = split_authority(authority)
    is_near = host in {"localhost", "127.0.0.1", "[::1]"} or host.endswith(".localhost")
    if (scheme == "https") == is_near:  # where omniverse: would mean the other of the two
        return f"{facts.url.rstrip('/')}/v1/files/"
    return f"omniverse://{authority}/"


@contextmanager
def about(url: str) -> Generator[None]:
    """Let errors say which address they are about, and what to do where that is known."""
    try:
        yield
    except PlatformError as error:
        error.detail = detail_of(error, url)
        raise


def detail_of(error: PlatformError, url: str) -> str:
    """One line about what went wrong with *url*."""
    text = f"{of_url(url)}: {error.detail}"
    if isinstance(error, Unauthenticated):
        return f"{text} {SIGN_IN}"
    if isinstance(error, Forbidden) and not url.startswith(("/", "file:")):
        return f"{text} (downstage files acl shows who may.)"
    if isinstance(error, NotSupported) and "://" not in url and ":" in url:
        return f"{text} A file of that name here is written ./{of_url(url)}."
    if isinstance(error, Unavailable):
        return f"{text} Does it run, and is the address right?"
    return text


async def server_of(client: Client, place: Place, what: str) -> ServerProvider:
    """The content service that *place* is at.

    Raises:
        NotSupported: it is at none, and others cannot do *what*.
    """
    provider = await client.provider(place)
    if not isinstance(provider, ServerProvider):
        raise NotSupported(f"{place.scheme}: has no {what}.")
    return provider
