"""The manager's connection to an engine, for a call or two at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiodocker
import aiohttp

from downstage.spawners.container.engine import socket_path
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
    answers = list[aiohttp.ClientResponse]()
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(socket_path(url)),
                timeout=timeout,
                trace_configs=[_collecting(answers)],
            ) as session,
            aiodocker.Docker(url, session=session, timeout=timeout, api_version=API) as docker,
        ):
            try:
                yield docker
            finally:
                for answer in answers:  # aiodocker leaves open what was not read to its end
                    answer.close()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        word = str(error) or type(error).__name__
        raise NodeUnreachable(f"The engine {url} does not answer: {word}.") from error


def _collecting(answers: list[aiohttp.ClientResponse]) -> aiohttp.TraceConfig:
    async def keep(_: object, __: object, parameters: aiohttp.TraceRequestEndParams) -> None:
        answers.append(parameters.response)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(keep)
    return trace
