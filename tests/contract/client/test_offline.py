"""A server that is not there, or says nothing: an error within two seconds, then at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from downstage import client
from downstage.client import Result
from downstage.client.client import default_client

from .kinds import CALLS

pytestmark = pytest.mark.contract

CONNECT_S = 0.5
"""What the tests set; the default is two seconds."""
SLACK_S = 3.0
"""For a machine that does other things too."""


@pytest.fixture(autouse=True)
def deadlines(fresh: None) -> Iterator[None]:
    del fresh
    options = default_client().options
    before = options.connect_s, options.retries
    options.connect_s = CONNECT_S
    client.set_retries(2, 10, 0)
    yield
    options.connect_s, options.retries = before


@pytest.fixture
def refusing() -> str:
    """A port where nothing listens."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """Accepts connections in the kernel, and never says a word."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def full() -> Iterator[str]:
    """A listener whose queue is full: the kernel drops further attempts, as a dead host does."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for item in fill:
            item.setblocking(False)
            item.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for item in fill:
            item.close()


def test_the_default_is_two_seconds() -> None:
    from downstage.client.options import Options

    assert Options().connect_s == 2.0


@pytest.mark.parametrize("flavour", sorted(CALLS))
@pytest.mark.parametrize("where", ["refusing", "silent", "full"])
def test_nobody_waits_for_a_dead_server(
    request: pytest.FixtureRequest, where: str, flavour: str
) -> None:
    url = f"omniverse://{request.getfixturevalue(where)}/a"
    call: Callable[..., Any] = CALLS[flavour]
    began = time.monotonic()
    assert call("stat", url)[0] is Result.ERROR_CONNECTION
    assert time.monotonic() - began < CONNECT_S + SLACK_S
    began = time.monotonic()
    for _ in range(5):
        assert call("write_file", url, b"x") is Result.ERROR_CONNECTION
    assert time.monotonic() - began < CONNECT_S


def test_a_dead_server_is_tried_again_later(refusing: str) -> None:
    options = default_client().options
    before, options.closed_s = options.closed_s, 0.2
    try:
        url = f"http://{refusing}/x"
        assert client.stat(url)[0] is Result.ERROR_CONNECTION
        port = int(refusing.rpartition(":")[2])
        with ThreadingHTTPServer(("127.0.0.1", port), Flaky) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            assert client.stat(url)[0] is Result.ERROR_CONNECTION
            time.sleep(0.25)
            Flaky.answers = [200]
            assert client.stat(url)[0] is Result.OK
            server.shutdown()
            thread.join()
    finally:
        options.closed_s = before


class Flaky(BaseHTTPRequestHandler):
    """Answers as the list says; what is asked is kept."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[list[int]] = []
    asked: ClassVar[list[tuple[str, str, Any]]] = []
    target: ClassVar[str] = ""

    def _answer(self) -> None:
        self.asked.append((self.command, self.path, self.headers))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.target)
        body = b"" if status == 302 else b"body"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = _answer  # noqa: N815 - the names are the library's
    do_GET = _answer  # noqa: N815 - the same

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def flaky() -> Iterator[str]:
    Flaky.answers, Flaky.asked = [200], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_only_reads_is_repeated(flaky: str) -> None:
    Flaky.answers = [503, 502, 200]
    assert bytes(client.read_file(f"{flaky}/a")[2]) == b"body"
    Flaky.answers, Flaky.asked = [503], []
    assert client.read_file(f"{flaky}/a")[0] is Result.ERROR_CONNECTION
    assert len(Flaky.asked) == 3
    client.set_retries(0)
    Flaky.asked = []
    assert client.stat(f"{flaky}/a")[0] is Result.ERROR_CONNECTION
    assert len(Flaky.asked) == 1
    with pytest.raises(ValueError, match="negative"):
        client.set_retries(-1)


def test_headers_stay_with_their_server(flaky: str, refusing: str) -> None:
    """A redirect must not carry a key to another server."""
    client.set_http_header("X-Api-Key", "geheim")
    other = flaky.replace("127.0.0.1", "localhost")
    Flaky.answers, Flaky.target = [302, 200], f"{other}/b"
    assert bytes(client.read_file(f"{flaky}/a")[2]) == b"body"
    assert [headers.get("X-Api-Key") for _, _, headers in Flaky.asked] == ["geheim", None]
    Flaky.answers, Flaky.target = [302, 200], "file:///etc/passwd"
    assert client.read_file(f"{flaky}/a")[0] is Result.ERROR_ACCESS_DENIED
    Flaky.answers, Flaky.target = [302], f"{flaky}/again"
    assert client.read_file(f"{flaky}/a")[0] is Result.ERROR_CONNECTION
    client.set_http_header("X-Api-Key", "")
    Flaky.answers, Flaky.asked = [200], []
    assert client.read_file(f"{flaky}/a")[0] is Result.OK
    assert Flaky.asked[0][2].get("X-Api-Key") is None
    with pytest.raises(ValueError, match="one line"):
        client.set_http_header("A", "b\r\nC: d")
    del refusing
