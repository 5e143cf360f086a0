"""What is measured: our server, the plain one, and the engine that both use, asked directly."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from downstage.testing.streams import StreamsProcess

__all__ = ["Engine", "Places", "open_places"]

KEEP = 20_000
MEMORY = 2 << 30
TENANT = "main"


@dataclass(slots=True)
class Engine:
    """The engine, as whoever speaks to it directly reaches it."""

    access: dict[str, Any]
    redis: Any
    """A client of redis-py."""

    def added(self, key: str) -> int:
        """Entries that were ever added to a stream; 0: there is none."""
        try:
            found: Any = self.redis.xinfo_stream(key)
        except redis.ResponseError:
            return 0
        return int(found["entries-added"])

    def last(self, key: str) -> bytes:
        """Payload of the newest entry."""
        newest: Any = self.redis.xrevrange(key, count=1)
        return newest[0][1][b"d"]

    @contextmanager
    def another(self) -> Generator[Any]:
        """One more connection of redis-py."""
        pool: Any = self.redis.connection_pool
        connection = pool.get_connection()
        try:
            yield connection
        finally:
            connection.disconnect()
            pool.release(connection)

    def wait(self, key: str, count: int, deadline_s: float = 60) -> None:
        """Return once a stream has had *count* entries."""
        until = time.monotonic() + deadline_s
        while self.added(key) < count:
            if time.monotonic() > until:
                raise TimeoutError(f"{key}: {self.added(key)} of {count}")
            time.sleep(0.0005)


@dataclass(slots=True)
class Server:
    """One that speaks the data server's protocol."""

    name: str
    port: int
    token: str
    pid: int
    prefix: str
    """Of a stream's key in the engine."""

    def key(self, stream: str) -> str:
        return self.prefix + stream


@dataclass(slots=True)
class Places:
    """All of them."""

    engine: Engine
    ours: Server
    plain: Server
    original: Server | None = None

    @property
    def servers(self) -> list[Server]:
        """Those that are measured."""
        return [self.ours, self.plain, *([self.original] if self.original else [])]


def open_places(
    stack: ExitStack,
    folder: Path,
    *,
    original: str | None = None,
    deflate: bool = False,
    workers: int = 1,
) -> Places:
    """Start everything; *stack* ends it."""
    overrides: dict[str, Any] = {
        "streams.workers": workers,
        "streams.keep_count": KEEP,
        "streams.memory_limit": MEMORY,
        "streams.keep_bytes": 1 << 30,
    }
    process = stack.enter_context(StreamsProcess(folder / "data", overrides=overrides))
    # Not any: with several workers the engine of durable streams is started, too.
    access = json.loads((folder / "data" / "streams" / "engine" / "access.json").read_text())
    client = redis.Redis(
        unix_socket_path=access["path"],
        username="downstage",
        password=access["password"],
        protocol=2,
    )
    stack.callback(client.close)
    engine = Engine(access, client)
    port = int(process.url.rsplit(":", 1)[1])
    ours = Server("Downstage", port, process.tokens["alice"], process.pid, f"ds/{TENANT}/s/")
    plain = _plain(stack, access, deflate=deflate)
    return Places(engine, ours, plain, _original(original))


def _plain(stack: ExitStack, access: dict[str, Any], *, deflate: bool) -> Server:
    asked = json.dumps({"access": access, "keep": KEEP, "deflate": deflate})
    process = subprocess.Popen(
        [sys.executable, "-m", "measuring.streams.one_xadd", asked],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    stack.callback(_end, process)
    assert process.stdout is not None
    return Server("one XADD", int(process.stdout.readline()), "", process.pid, "plain:")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def _original(url: str | None) -> Server | None:
    """A server that runs already: ``port`` or ``port,token``; its store is not looked into."""
    if url is None:
        return None
    port, _, token = url.partition(",")
    return Server("original", int(port), token, 0, "")
