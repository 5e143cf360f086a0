"""One content server for all modules here, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage import client
from downstage.client import Result
from downstage.client.client import default_client
from downstage.testing.content import ContentServer, content_server

START_S = 60.0


class Served:
    """A content server, and how to do something on its loop."""

    def __init__(self, server: ContentServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.loop = loop
        self.authority = server.url.partition("://")[2]
        self.key = ("", "")

    def do(self, work: Any) -> Any:
        """Await *work* on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    ready, found = threading.Event(), list[Any]()
    folder = tempfile.TemporaryDirectory(prefix="client-", dir="/tmp")

    async def serve() -> None:
        overrides = {"content.lock_grace": "PT2S", "content.lock_lease": "PT6S"}
        async with content_server(Path(folder.name), overrides=overrides) as server:
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
    running.key = running.do(_files_key(running.server))
    _warm(running)
    yield running
    running.loop.call_soon_threadsafe(stop.set)
    thread.join(START_S)
    folder.cleanup()


def _warm(served: Served) -> None:
    """Start what libraries start once in a process and never end."""
    key, secret = served.key
    client.initialize()
    client.set_s3_configuration(
        "s3://warm", "", "us-east-1", key, secret,
        endpoint=f"{served.server.url}/s3", allow_http=True,
    )  # fmt: skip
    assert client.stat("s3://warm/reconnect")[0] is Result.ERROR_NOT_FOUND
    client.shutdown()
    client.initialize()


async def _files_key(server: ContentServer) -> tuple[str, str]:
    principal = await server.host.authenticator.principal(server.token("alice"))
    made = await server.identity.files_keys.make(principal, "tests", None, None)
    return made.access_key_id, made.secret_access_key


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[None]:
    """A client that knows nothing before, and nothing of it left behind."""
    client.shutdown()
    main = default_client()
    options = main.options
    options.cache_folder = tmp_path / "cache"
    options.keep_s = 0.1
    options.s3.clear()
    options.webdav.clear()
    options.headers.clear()
    client.initialize()
    yield
    client.shutdown()
    client.initialize()
    main.search_urls.clear()
    main._warned.clear()
