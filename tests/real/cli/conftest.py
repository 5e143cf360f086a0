"""A content server for the commands on files, the commands themselves, and a line that breaks."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from downstage.cli import main as cli
from downstage.client.client import default_client
from downstage.client.operations import listing
from downstage.client.options import S3Options
from downstage.kernel import logging
from downstage.kernel.errors import PlatformError
from downstage.testing.content import ContentServer, content_server

START_S = 60.0


class Served:
    """A content server in a thread with a loop of its own."""

    def __init__(self, server: ContentServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.loop = loop
        self.authority = server.url.partition("://")[2]

    def do(self, work: Any) -> Any:
        """Await *work* on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """No longer than a module: the ``local://`` services of a process are those of one server."""
    ready, found = threading.Event(), list[Any]()
    folder = tempfile.TemporaryDirectory(prefix="files-", dir="/tmp")

    async def serve() -> None:
        async with content_server(Path(folder.name)) as server:
            stop = asyncio.Event()
            found.extend([Served(server, asyncio.get_running_loop()), stop])
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="content-server")
    thread.start()
    assert ready.wait(START_S)
    if not found:
        thread.join()
        raise RuntimeError("the content server did not start")
    running, stop = found
    _warm(running)
    yield running
    running.loop.call_soon_threadsafe(stop.set)
    thread.join(START_S)
    folder.cleanup()


async def files_key(server: ContentServer) -> tuple[str, str]:
    """An access key of alice's for S3."""
    principal = await server.host.authenticator.principal(server.token("alice"))
    made = await server.identity.files_keys.make(principal, "tests", None, None)
    return made.access_key_id, made.secret_access_key


def _warm(served: Served) -> None:
    """Start what libraries start once in a process and never end."""
    client = default_client()
    key, secret = served.do(files_key(served.server))
    endpoint = f"{served.server.url}/s3"
    client.options.s3["warm"] = S3Options("", "us-east-1", key, secret, endpoint, allow_http=True)
    with suppress(PlatformError):
        client.run(listing.list_, "s3://warm/")
    client.close()
    client.engine.open()


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


class Commands:
    """``downstage …`` in this process, as the operator of a platform that runs."""

    def __init__(self, data: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self.capture = capture
        self.processes = list[subprocess.Popen[bytes]]()

    def means(self, authority: str, token: str) -> None:
        """Let the platform of the data folder be at *authority*."""
        run = self.data / "run"
        run.mkdir(exist_ok=True)
        url = f"http://{authority}"
        facts = {"pid": os.getpid(), "url": url, "operator_url": url}
        (run / "platform.json").write_text(json.dumps(facts))
        (run / "operator.token").write_text(token)

    def __call__(self, *words: str) -> Ran:
        self.capture.readouterr()
        before, sys.argv = sys.argv, ["downstage", *self._with_data(words)]
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            sys.argv = before
        said = self.capture.readouterr()
        # The server runs in this process, and writes its log to the same place.
        rows = said.out.splitlines(keepends=True)
        if rows and rows[0] == "\n":
            del rows[0]  # the end of a row that the server had half written before
        own = [row for row in rows if not row.startswith("[info ")]
        return Ran(status, "".join(own), said.err)

    def _with_data(self, words: tuple[str, ...]) -> list[str]:
        end = words.index("--") if "--" in words else len(words)
        return [*words[:end], "--data", str(self.data), *words[end:]]

    def process(self, *words: str) -> subprocess.Popen[bytes]:
        """The same as a process of its own."""
        arguments = [sys.executable, "-m", "downstage", *self._with_data(words)]
        environment = {**os.environ, "DOWNSTAGE_CLIENT_CACHE": str(self.data / "cache")}
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        self.processes.append(process)
        return process


@pytest.fixture
def downstage(
    data: Path,
    served: Served,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Commands]:
    # Logging belongs to the process, and this one runs other tests too.
    monkeypatch.setattr(logging, "configure", lambda *_, **__: None)
    monkeypatch.setattr(default_client().options, "cache_folder", data / "cache")
    commands = Commands(data, capfd)
    commands.means(served.authority, served.server.token("alice"))
    yield commands
    for process in commands.processes:
        process.kill()
        process.communicate()


@dataclass
class Line:
    """The way to the server: counts what goes over it, and stands still when told to."""

    port: int
    authority: str
    most: int | None = None
    """Bytes in one direction after which everything stands still."""
    up: int = 0
    down: int = 0
    stands: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)
    sockets: list[socket.socket] = field(default_factory=list[socket.socket])

    def hold_after(self, most: int) -> None:
        """Stand still once *most* bytes went one way."""
        self.most, self.up, self.down = most, 0, 0

    def go_on(self) -> None:
        """Carry whatever comes from here on; what stood still is cut."""
        self.most, self.up, self.down = None, 0, 0
        self.goes_on.set()
        self.cut()

    def cut(self) -> None:
        """Close every connection."""
        sockets, self.sockets = self.sockets, []
        for item in sockets:
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()

    def pump(self, source: socket.socket, target: socket.socket, way: str) -> None:
        """Carry bytes until either end closes."""
        with suppress(OSError):
            while piece := source.recv(65536):
                setattr(self, way, getattr(self, way) + len(piece))
                if self.most is not None and getattr(self, way) > self.most:
                    self.stands.set()
                    self.goes_on.wait(30)
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(served: Served) -> Iterator[Line]:
    host, _, port = served.authority.partition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    number = listener.getsockname()[1]
    line, threads = Line(number, f"127.0.0.1:{number}"), list[threading.Thread]()

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection((host, int(port)))
            line.sockets += [near, far]
            for ends in ((near, far, "up"), (far, near, "down")):
                thread = threading.Thread(target=line.pump, args=ends)
                thread.start()
                threads.append(thread)

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield line
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    accepting.join()
    line.goes_on.set()
    line.cut()
    for thread in threads:
        thread.join(10)
