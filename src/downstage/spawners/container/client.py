"""The manager's connection to an engine, for a call or two at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiodocker
import aiohttp

from downstage.spawners.spawner import NodeUnreachable

__all__ = ["API", "engine"]

API = "v1.40"
CONNECT_S = 5.0
SILENT_S = 30.0


@asynccontextmanager
async def engine(
    url: str, *, silent_s: float | None = SILENT_S
) -> AsyncGenerator[aiodocker.Docker]:
    """An engine by its address; errors of its own come as `aiodocker.DockerError`.

    Args:
        url: ``unix:///path``.
        silent_s: how long it may say nothing; None: for ever.

    Raises:
        NodeUnreachable: it does not answer, or broke off.
    """
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=silent_s)
    try:
        async with aiodocker.Docker(url, timeout=timeout, api_version=API) as docker:
            yield docker
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        word = str(error) or type(error).__name__
        raise NodeUnreachable(f"The engine {url} does not answer: {word}.") from error
