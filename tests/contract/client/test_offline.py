"""A server that is not there, or says nothing: an error within two seconds, then at once."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from downstage import client
from downstage.client import Result
from downstage.client.client import default_client

from .kinds import CALLS

pytestmark = pytest.mark.contract

CONNECT_S = 0.5
"""What the tests set; the default is two seconds."""
SLACK_S = 10.0
"""For a machine that does other things too; without a deadline it would be for ever."""
TIMES = 20
"""Calls that together would take `TIMES` * `CONNECT_S`, if each tried the dead server."""


@pytest.fixture(autouse=True)
def deadlines(fresh: None) -> Iterator[None]:
    del fresh
    options = default_client().options
    before = options.connect_s, options.retries, options.closed_s
    options.connect_s, options.closed_s = CONNECT_S, 60.0
    client.set_retries(2, 10, 0)
    yield
    options.connect_s, options.retries, options.closed_s = before


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
    for _ in range(TIMES):
        assert call("write_file", url, b"x") is Result.ERROR_CONNECTION
    assert time.monotonic() - began < TIMES * CONNECT_S / 2


def test_a_dead_server_is_tried_again_later(refusing: str) -> None:
    options = default_client().options
    before, options.closed_s = options.closed_s, 1.5
    try:
        url = f"http://{refusing}/x"
        assert client.stat(url)[0] is Result.ERROR_CONNECTION
        port = int(refusing.rpartition(":")[2])
        with ThreadingHTTPServer(("127.0.0.1", port), Flaky) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            assert client.stat(url)[0] is Result.ERROR_CONNECTION
            time.sleep(1.6)
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


@contextmanager
def _serving(host: str, handler: type[BaseHTTPRequestHandler] = Flaky) -> Iterator[str]:
    with ThreadingHTTPServer((host, 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def flaky() -> Iterator[str]:
    Flaky.answers, Flaky.asked = [200], []
    with _serving("127.0.0.1") as url:
        yield url


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


@pytest.mark.parametrize("scheme", ["http", "https", "s3", "ours-by-http", "by-password"])
def test_a_machine_that_takes_connections_and_says_nothing(
    silent: str, scheme: str, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connecting works there: only the first answer tells that nobody is in."""
    del served  # starts what obstore never ends
    options = default_client().options
    before, options.answer_s = options.answer_s, CONNECT_S
    url = f"{scheme}://{silent}/a"
    if scheme == "s3":
        url = "s3://bucket/a"
        client.set_s3_configuration(
            "s3://*", "", "us-east-1", "k", "s", endpoint=f"http://{silent}", allow_http=True
        )
    elif scheme == "ours-by-http":
        url = f"http://{silent}/v1/files/a"
    elif scheme == "by-password":
        url = f"omniverse://{silent}/a"
        monkeypatch.setenv("DOWNSTAGE_CONTENT_HOST", silent)
        monkeypatch.setenv("OMNI_USER", "alice")
        monkeypatch.setenv("OMNI_PASS", "secret")
    try:
        began = time.monotonic()
        wrote = client.write_file(url, b"x") if scheme == "s3" else client.stat(url)[0]
        assert wrote is Result.ERROR_CONNECTION
        assert time.monotonic() - began < CONNECT_S + SLACK_S
        began = time.monotonic()
        for _ in range(TIMES):
            assert client.stat(url)[0] is Result.ERROR_CONNECTION
        assert time.monotonic() - began < TIMES * CONNECT_S / 2
    finally:
        options.answer_s = before


def test_a_name_that_nobody_answers_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Looking up many of them leaves the threads for files of this machine alone."""
    go = threading.Event()

    def slow(*_: Any, **__: Any) -> Any:
        go.wait(20)
        raise OSError("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        began = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            urls = [f"omniverse://h{number}.invalid/a" for number in range(16)]
            found = [result for result, _ in pool.map(client.stat, urls)]
        assert set(found) == {Result.ERROR_CONNECTION}
        assert client.write_file(str(tmp_path / "x"), b"1") is Result.OK
        assert time.monotonic() - began < CONNECT_S + SLACK_S
    finally:
        go.set()


def test_A11_a_socket_is_not_led_to_another_server(flaky: str) -> None:
    """aiohttp would follow by itself, with every header but one."""
    client.set_http_header("X-Api-Key", "geheim")
    other = flaky.replace("127.0.0.1", "localhost")
    Flaky.answers, Flaky.target = [302, 200], f"{other}/v1/files-socket"
    assert client.stat(flaky.replace("http", "omniverse", 1) + "/a")[0] is not Result.OK
    assert len(Flaky.asked) == 1


def test_addresses_that_name_no_server() -> None:
    for url in (
        "http://a..b/x", "omniverse://[::1/x", f"omniverse://{'a' * 70}.com/x", "http:///x",
        "omniverse://h:99999/x", "http://h:0/", "omniverse://127.0.0.1:9/%FF",
    ):  # fmt: skip
        assert client.stat(url)[0] in {Result.ERROR_BAD_REQUEST, Result.ERROR_CONNECTION}, url


def test_A11_proxies_are_named_by_the_environment_and_netrc_by_nobody(
    flaky: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A token for a server that stands in ~/.netrc too; a proxy that wants a password."""
    port = flaky.rpartition(":")[2]
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password netrc-secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://me:pa%40ss@127.0.0.1:{port}")
    Flaky.answers = [200]
    assert bytes(client.read_file("http://files.invalid/a")[2]) == b"body"
    command, target, headers = Flaky.asked[-1]
    assert (command, target) == ("GET", "http://files.invalid/a")
    assert headers["Proxy-Authorization"] == "Basic " + b64encode(b"me:pa@ss").decode()
    assert headers.get("Authorization") is None
    monkeypatch.delenv("http_proxy")
    Flaky.answers, Flaky.asked = [401, 200], []
    # Of this machine, yet not one of its names: as if it were another.
    with (
        _serving("127.0.0.2") as other,
        client.register_authorize_callback(lambda _: "token"),
    ):
        assert client.read_file(f"{other}/a")[0] is Result.OK
    sent = [headers.get("Authorization") for _, _, headers in Flaky.asked]
    assert sent == [None, "Bearer token"]


def test_what_stands_before_our_server_and_cannot_reach_it(flaky: str) -> None:
    """It must not be taken for a server of others, once and for all."""
    client.set_retries(0)
    Flaky.answers = [502]
    assert client.stat(f"{flaky}/v1/files/a")[0] is Result.ERROR_CONNECTION
    assert default_client().known_provider(default_client().place(f"{flaky}/v1/files/a")) is None


def test_a_server_that_packs_its_answers(tmp_path: Path) -> None:
    """Such a one tells neither length nor version of what it packs; it is asked not to."""
    asked = list[Any]()

    class Packing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Accept-Encoding"))
            body = gzip.compress(b"x" * 10_000) if "always" in self.path else b"x" * 10_000
            self.send_response(200)
            if "always" in self.path:
                self.send_header("Content-Encoding", "gzip")
            if "unsaid" not in self.path or self.command == "GET":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the same

        def log_message(self, *_: Any) -> None:
            pass

    with _serving("127.0.0.1", Packing) as url:
        assert client.stat(f"{url}/a")[1].size == 10_000
        assert client.stat(f"{url}/unsaid")[1].size == 10_000
        assert client.read_file(f"{url}/always")[2] == b"x" * 10_000
        assert client.copy(f"{url}/always", str(tmp_path / "x")) is Result.OK
    assert (tmp_path / "x").read_bytes() == b"x" * 10_000
    assert set(asked) == {"identity"}
