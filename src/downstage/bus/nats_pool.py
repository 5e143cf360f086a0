"""The connections of this process: one for each loop, cluster and identity."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, replace

from downstage.bus.nats_connection import NatsConnection
from downstage.bus.nats_options import NatsOptions, parse

__all__ = ["close_connections", "configured", "connection", "options_for"]

_configured: list[NatsOptions] = []


@dataclass(frozen=True, slots=True)
class _Pool:
    connections: dict[NatsOptions, tuple[NatsConnection, asyncio.Task[None]]]
    keeper: AsyncGenerator[None]


_pools: dict[asyncio.AbstractEventLoop, _Pool] = {}


@contextmanager
def configured(options: NatsOptions | None) -> Generator[None]:
    """Within, addresses without a host, or with these hosts, are reached by *options*."""
    if options is None:
        yield
        return
    _configured.append(options)
    try:
        yield
    finally:
        _configured.remove(options)


def options_for(uri: str) -> tuple[NatsOptions, str]:
    """How to reach the server of *uri*, and the URI's path.

    The identity of the settings goes to the servers of the settings and to no others; another
    one in the URI stands in for it, and the settings' TLS holds for both.

    Raises:
        ValueError: out of form, or without a host where none is configured.
    """
    options, path = parse(uri)
    settled = _configured[-1] if _configured else None
    if options is None:
        if settled is None:
            raise ValueError("The address names no NATS server, and bus.url is not set.")
        return settled, path
    if settled is None or not set(options.servers) <= set(settled.servers):
        return options, path
    given = replace(settled, is_encrypted=settled.is_encrypted or options.is_encrypted)
    if options.user or options.token:
        given = replace(
            given,
            user=options.user,
            password=options.password,
            token=options.token,
            nkey_file=None,
            credentials_file=None,
        )
    return given, path


async def connection(options: NatsOptions) -> NatsConnection:
    """The running loop's connection by *options*; made at the first call, perhaps not up yet."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        pool = _pools[loop] = _Pool({}, _keep(loop))
        await anext(pool.keeper)
    found = pool.connections.get(options)
    if found is None or found[1].done():
        made = NatsConnection(options)
        # It belongs to the loop and not to the caller who happened to be the first, whose deadline
        # and trace would live on in every call that is served here.
        task = loop.create_task(made.run(), name=f"nats {options.shown}", context=Context())
        pool.connections[options] = found = (made, task)
    return found[0]


async def _keep(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None]:
    """Close the loop's connections when it ends: it finishes its asynchronous generators then."""
    try:
        yield
    finally:
        pool = _pools.pop(loop, None)
        made = list(pool.connections.values()) if pool else []
        for found, _ in made:
            found.stop()
        for _, task in made:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def close_connections() -> None:
    """Close the running loop's connections; the next call makes new ones. Safe to repeat."""
    pool = _pools.get(asyncio.get_running_loop())
    if pool is not None:
        await pool.keeper.aclose()
