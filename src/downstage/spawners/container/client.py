"""The manager's connection to an engine, for a call or two at a time."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiodocker
import aiohttp

from downstage.spawners.container.engine import socket_path
from downstage.spawners.spawner import NodeUnreachable

__all__ = ["API", "Way", "drop", "engine"]

API = "v1.40"
CONNECT_S = 5.0
SILENT_S = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    """How an engine is reached."""

    url: str
    """``unix:///path``, ``http://host:port`` or ``https://host:port``."""
    trust: ssl.SSLContext | None = None
    """Whom to believe there, and what to show, where it is ``https``."""
    is_here: bool = False
    """Its containers run on this machine: their processes can be seen."""

    @classmethod
    def of(cls, way: Way | str) -> Way:
        """A way as it is; ``unix:///path`` is that of an engine of this machine."""
        return cls(way, is_here=True) if isinstance(way, str) else way

    def connector(self) -> aiohttp.BaseConnector:
        """Connects there."""
        if self.url.startswith("unix:"):
            return aiohttp.UnixConnector(socket_path(self.url))
        return aiohttp.TCPConnector(ssl=True if self.trust is None else self.trust)


@asynccontextmanager
async def engine(
    way: Way | str, *, silent_s: float | None = SILENT_S
) -> AsyncGenerator[aiodocker.Docker]:
    """An engine by its address; errors of its own come as `aiodocker.DockerError`.

    Args:
        way: to it; ``unix:///path`` will do.
        silent_s: how long it may say nothing; None: for ever.

    Raises:
        NodeUnreachable: it does not answer, or broke off.
    """
    way = Way.of(way)
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=silent_s)
    answers = list[aiohttp.ClientResponse]()
    try:
        async with (
            aiohttp.ClientSession(
                connector=way.connector(),
                timeout=timeout,
                trace_configs=[_collecting(answers)],
            ) as session,
            aiodocker.Docker(way.url, session=session, timeout=timeout, api_version=API) as docker,
        ):
            try:
                yield docker
            finally:
                for answer in answers:  # aiodocker leaves open what was not read to its end
                    if way.trust is not None:
                        drop(answer)
                    answer.close()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        word = str(error) or type(error).__name__
        raise NodeUnreachable(f"The engine {way.url} does not answer: {word}.") from error


def drop(answer: aiohttp.ClientResponse) -> None:
    """Leave a connection with TLS at once: in order, that would take as long as its other end."""
    connection = answer.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def _collecting(answers: list[aiohttp.ClientResponse]) -> aiohttp.TraceConfig:
    async def keep(_: object, __: object, parameters: aiohttp.TraceRequestEndParams) -> None:
        answers.append(parameters.response)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(keep)
    return trace
