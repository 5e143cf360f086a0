"""A content server in a thread with a loop of its own, and this program's client signed in."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from downstage import client
from downstage.client.client import default_client
from downstage.testing.content import ContentServer, content_server

START_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[ContentServer]:
    ready, found = threading.Event(), list[tuple[ContentServer, Callable[[], None]]]()
    folder = tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp")

    async def serve() -> None:
        async with content_server(Path(folder.name)) as running:
            stop, loop = asyncio.Event(), asyncio.get_running_loop()
            found.append((running, lambda: loop.call_soon_threadsafe(stop.set)))
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
    running, stop = found[0]
    yield running
    stop()
    thread.join(START_S)
    folder.cleanup()


@pytest.fixture
def url(server: ContentServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of its own on the server, as alice sees it."""
    token = tmp_path / "token"
    token.write_text(server.token("alice"))
    authority = server.url.partition("://")[2]
    monkeypatch.setenv("DOWNSTAGE_TOKEN_FILE", str(token))
    monkeypatch.setenv("DOWNSTAGE_CONTENT_HOST", authority)
    client.initialize()
    options = default_client().options
    monkeypatch.setattr(options, "cache_folder", tmp_path / "cache" / "files")
    yield f"omniverse://{authority}/{tmp_path.name}"
    client.shutdown()
