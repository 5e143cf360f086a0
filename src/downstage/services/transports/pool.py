"""Connections of one event loop: made once, shared by all clients, closed with the loop."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from downstage.services.transports.denial import DeniableResponse

__all__ = ["NO_TLS_OPTIONS", "Pool", "TlsOptions", "close_pool", "find_pool", "open_pool"]

MAX_CALLS = 256
"""Connections for calls whose answers are read whole; more calls wait for one of them."""
MAX_CHANNELS = 4096
"""Connections for streams and WebSockets, which may stay for hours."""


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How servers of ``https://`` and ``wss://`` are trusted, and what is shown to them."""

    ca_file: Path | None = None
    """Certificates of authorities to trust in place of the system's, PEM."""
    certificate: Path | None = None
    """The client's own certificate, PEM; may hold its key too."""
    key: Path | None = None
    """Its private key, PEM."""
    verify: bool = True
    """False accepts any certificate: for a trial only, since anybody may be in between."""

    def context(self) -> ssl.SSLContext:
        """The TLS context; reading all authorities takes some 16 ms.

        Raises:
            OSError, ssl.SSLError: a file cannot be read.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


NO_TLS_OPTIONS = TlsOptions()


@dataclass(frozen=True, slots=True)
class Pool:
    """Sessions to everything that is reached in the same way."""

    calls: aiohttp.ClientSession
    channels: aiohttp.ClientSession
    sockets: aiohttp.ClientSession
    """As `channels`, on the same connections; refused handshakes keep their answer."""

    async def close(self) -> None:
        """Close all connections."""
        await self.sockets.close()
        await self.channels.close()
        await self.calls.close()


@dataclass(frozen=True, slots=True)
class _Loop:
    pools: dict[object, Pool]
    opening: asyncio.Lock
    keeper: AsyncGenerator[None]


_loops: dict[AbstractEventLoop, _Loop] = {}


def find_pool(key: object) -> Pool | None:
    """The running loop's pool for *key*, if it has been opened."""
    mine = _loops.get(asyncio.get_running_loop())
    return mine.pools.get(key) if mine is not None else None


async def open_pool(key: Path | TlsOptions) -> Pool:
    """The running loop's pool for *key*: a unix socket's path, or TLS options."""
    loop = asyncio.get_running_loop()
    while True:
        mine = _loops.get(loop)
        if mine is None:
            mine = _loops[loop] = _Loop({}, asyncio.Lock(), _keep(loop))
            await anext(mine.keeper)
        async with mine.opening:
            if _loops.get(loop) is not mine:
                continue  # closed while this waited: a pool put there would never be closed
            pool = mine.pools.get(key)
            if pool is None:
                pool = mine.pools[key] = await _open(key)
            return pool


async def _open(key: Path | TlsOptions) -> Pool:
    if isinstance(key, Path):
        path = str(key)
        calls = aiohttp.UnixConnector(path, limit=MAX_CALLS)
        channels = aiohttp.UnixConnector(path, limit=MAX_CHANNELS)
    else:
        # The engine's own context serves where nothing is asked for; it is built at import.
        built = key == NO_TLS_OPTIONS
        tls = True if built else await asyncio.to_thread(key.context)
        calls = aiohttp.TCPConnector(limit=MAX_CALLS, ssl=tls)
        channels = aiohttp.TCPConnector(limit=MAX_CHANNELS, ssl=tls)
    return Pool(
        aiohttp.ClientSession(connector=calls, cookie_jar=aiohttp.DummyCookieJar()),
        aiohttp.ClientSession(connector=channels, cookie_jar=aiohttp.DummyCookieJar()),
        aiohttp.ClientSession(
            connector=channels,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=DeniableResponse,
        ),
    )


async def _keep(loop: AbstractEventLoop) -> AsyncGenerator[None]:
    """Close the pools when their loop ends: loops finish their asynchronous generators then."""
    try:
        yield
    finally:
        mine = _loops.pop(loop, None)
        if mine is not None:
            async with mine.opening:
                while mine.pools:
                    await mine.pools.popitem()[1].close()


async def close_pool() -> None:
    """Close the running loop's connections; the next call makes new ones. Safe to repeat."""
    mine = _loops.get(asyncio.get_running_loop())
    if mine is not None:
        await mine.keeper.aclose()
