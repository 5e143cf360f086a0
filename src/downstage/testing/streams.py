"""A streams service with people in it, on a free port: in this process, or one that can be killed.

In this process::

    async with streams_server(data) as server:
        server.url, server.token("alice"), server.streams, await server.caller("alice")

As a process of its own::

    with StreamsProcess(data) as server:
        server.url, server.tokens["alice"]; server.kill(); server.start()
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, cast

import anyio
import anyio.to_thread

from downstage.auth.principal import StreamBound
from downstage.identity.extension import Extension as IdentityExtension
from downstage.identity.service import IdentityService
from downstage.identity.users import User
from downstage.kernel import logging
from downstage.kernel.clock import Clock
from downstage.kernel.ids import new_id
from downstage.kernel.logging import configure
from downstage.kernel.settings import Log, load
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.server import Server, open_port
from downstage.streams.callers import Callers
from downstage.streams.extension import Extension as StreamsExtension
from downstage.streams.model import AUTO, ZERO, Caller, Grant
from downstage.streams.rights import ALL
from downstage.streams.service import Streams, Wish

__all__ = ["PEOPLE", "StreamsProcess", "StreamsServer", "streams_server"]

PEOPLE: Mapping[str, Sequence[str]] = MappingProxyType(
    {"alice": ("artists",), "bob": (), "admin": ("admins",)}
)
"""Who is there, and their groups."""
NO_HASH = "!"
"""Stored in place of a password's hash: nobody signs in with one, which saves a second each."""
IDENTITY_CONNECTIONS = 4
"""What identity's pool keeps."""
SERVICES = ("identity", "streams")
START_S = 30.0
END_S = 10.0
WARM_S = 0.01


@dataclass
class StreamsServer:
    """One that answers."""

    url: str
    """Scheme, host and port of the public port."""
    host: ServiceHost
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    """Sign-ins of `PEOPLE`, by name."""

    @property
    def ws_url(self) -> str:
        """The same for sockets: ``ws://host:port``."""
        return self.url.replace("http", "ws", 1)

    @property
    def extension(self) -> StreamsExtension:
        """The running extension, with all that it wired."""
        return cast("StreamsExtension", self.host.extension("streams"))

    @property
    def streams(self) -> Streams:
        """The running service."""
        return self.extension.streams

    @property
    def callers(self) -> Callers:
        """What makes callers of requests and sockets."""
        return self.extension.callers

    @property
    def identity(self) -> IdentityService:
        """The running identity."""
        return cast("IdentityExtension", self.host.extension("identity")).service

    def token(self, name: str) -> str:
        """A bearer token of *name*."""
        return self.tokens[name]

    def headers(self, name: str) -> dict[str, str]:
        """With that token."""
        return {"authorization": f"Bearer {self.tokens[name]}"}

    async def caller(self, name: str) -> Caller:
        """*name* as the domain sees them."""
        principal = await self.host.authenticator.principal(self.tokens[name])
        return self.callers.of(principal)

    async def program_token(
        self, name: str, *scopes: str, streams: Mapping[str, Sequence[str]] | None = None
    ) -> str:
        """An API token of *name* that holds *scopes* alone, with *streams*: pattern → rights."""
        principal = await self.host.authenticator.principal(self.tokens[name])
        bounds = _bounds(streams)
        made = await self.identity.issue.for_program(
            principal, "tests", scopes or None, None, streams=bounds
        )
        return made.token


def _bounds(streams: Mapping[str, Sequence[str]] | None) -> tuple[StreamBound, ...] | None:
    if streams is None:
        return None
    return tuple(StreamBound(pattern, frozenset(rights)) for pattern, rights in streams.items())


@asynccontextmanager
async def streams_server(
    data: Path,
    *,
    people: Mapping[str, Sequence[str]] = PEOPLE,
    clock: Clock | None = None,
    overrides: Mapping[str, Any] | None = None,
    services: Sequence[str] = SERVICES,
    port: int = 0,
    wait: bool = True,
) -> AsyncGenerator[StreamsServer]:
    """Identity and streams, served on a free port of loopback, with *people*.

    Args:
        data: the data folder, with a short path; the same one again is the same server.
        people: names and groups.
        clock: of the platform.
        overrides: settings, by dotted keys: ``{"streams.keep_count": 10}``.
        services: further ones, where a test needs them, in order of start.
        port: of the server.
        wait: until the engine is ready.
    """
    settings = load(environment={}, overrides={"platform.data": str(data), **(overrides or {})})
    public = open_port("127.0.0.1", port)
    url = f"http://127.0.0.1:{public.getsockname()[1]}"
    urls = PlatformUrls(url, "unix:///nowhere")
    host = ServiceHost(settings, urls, services=tuple(services), clock=clock)
    async with host.run(), anyio.create_task_group() as tasks:
        server = StreamsServer(url, host)
        await _bring(server, people)
        http = Server(host.public_app, [public])
        tasks.start_soon(http.run)
        await http.wait_started()
        await _fill_pools(server)
        try:
            if wait:
                with anyio.fail_after(START_S):
                    await server.extension.wait_ready()
                    await _warm(server.streams)
            yield server
        finally:
            http.stop()


async def _bring(server: StreamsServer, people: Mapping[str, Sequence[str]]) -> None:
    identity = server.identity
    for name, groups in people.items():
        user = await identity.users.find(name) or await _add(identity, name, groups)
        server.tokens[name] = (await identity.issue.for_user(user)).token


async def _fill_pools(server: StreamsServer) -> None:
    """Let all pools grow now: what they got during a test would look left behind by it."""
    identity = server.identity._database  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    async with AsyncExitStack() as readings:
        for _ in range(IDENTITY_CONNECTIONS):
            await readings.enter_async_context(identity.read())


async def _warm(streams: Streams) -> None:
    """Let it open the connections that it keeps, for the same reason; in a tenant of their own."""
    caller = Caller("warm", "warm", "warm", (Grant("*", ALL),))
    # A key of its own: the same one again, on the same folder, would store nothing.
    await streams.append(caller, [("warm", AUTO, b"")], key=new_id("warm"))
    wish = Wish(cursors={"warm": ZERO}, patterns=("warm*",))
    async with streams.reading(caller, wish) as deliveries:
        await anext(deliveries)
    await streams.consumers.create(caller, "warm", "warm", start=ZERO)
    await streams.consumers.take(caller, "warm", wait_s=WARM_S)
    await streams.consumers.take(caller, "warm", wait_s=WARM_S)
    await streams.consumers.delete(caller, "warm")
    await streams.delete(caller, "warm")


async def _add(identity: IdentityService, name: str, groups: Sequence[str]) -> User:
    database = identity._database  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    async with database.write() as connection:
        return await identity.users.add_in(connection, name, NO_HASH, tuple(groups))


class StreamsProcess:
    """`streams_server` in a process of its own; a context manager that leaves nothing running.

    Args:
        data: its data folder; the same one again is the same server, started again.
        overrides: settings, by dotted keys; JSON values.
        environment: further variables.
    """

    def __init__(
        self,
        data: Path,
        *,
        overrides: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        self._overrides = dict(overrides or {})
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self.tokens: dict[str, str] = {}
        """Of `PEOPLE`, of the last start; earlier ones count too."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Scheme, host and port; the same after another start."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        """The same for sockets."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Process id, as long as it runs."""
        assert self._process is not None, "not started"  # noqa: S101 - a test's own mistake
        return self._process.pid

    def headers(self, name: str) -> dict[str, str]:
        """With a bearer token of *name*."""
        return {"authorization": f"Bearer {self.tokens[name]}"}

    def start(self) -> None:
        """Start it, on the port it had before, and return once its engine is ready.

        Raises:
            RuntimeError: it ended or said nothing in time; the text has the end of its output.
        """
        asked = json.dumps(asdict(_Asked(str(self.data), self._port, self._overrides)))
        with self._output().open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, asked],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self._environment,
            )
        line = self._first_line()
        if not line:
            self.kill()
            raise RuntimeError(f"the streams server did not start: {self.output()[-2000:]}")
        facts = json.loads(line)
        self.tokens = facts["tokens"]
        self._port = int(facts["url"].rsplit(":", 1)[1])

    def output(self) -> str:
        """Everything it wrote to standard error: its log."""
        path = self._output()
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> float:
        """Let it shut down; returns how many seconds it took. By force after `END_S`."""
        process, began = self._process, time.monotonic()
        if process is None:
            return 0.0
        if process.stdin is not None:
            process.stdin.close()
        self._wait(process)
        self._output().unlink(missing_ok=True)
        return time.monotonic() - began

    def kill(self) -> None:
        """``kill -9`` of the server alone, not of its engine."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGKILL)
        if process.stdin is not None:
            process.stdin.close()
        self._wait(process)

    def _wait(self, process: subprocess.Popen[str]) -> None:
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._process = None

    def _first_line(self) -> str:
        stdout = cast("subprocess.Popen[str]", self._process).stdout
        assert stdout is not None  # noqa: S101 - asked for a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            return stdout.readline() if selector.select(2 * START_S) else ""

    def _output(self) -> Path:
        return self.data.with_name(f"{self.data.name}.output")


@dataclass(frozen=True, slots=True)
class _Asked:
    data: str
    port: int
    overrides: dict[str, Any]


async def _serve(asked: _Asked) -> None:
    """Serve until standard input ends; the log is as the product writes it."""
    logging.configure(Log(json_lines=True))
    async with streams_server(
        Path(asked.data), overrides=asked.overrides, port=asked.port
    ) as server:
        gc.freeze()  # as `downstage up` does: full collections need not look at what was loaded
        print(json.dumps({"url": server.url, "tokens": server.tokens}), flush=True)  # noqa: T201
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    configure(Log())  # standard output holds the facts alone
    anyio.run(_serve, _Asked(**json.loads(sys.argv[1])), backend_options={"use_uvloop": True})
