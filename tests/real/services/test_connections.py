"""Connections: heads without end, callers who say nothing, requests to be read in two ways."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import anyio
import pytest
from starlette.types import Receive, Scope, Send

from downstage.services import connections
from downstage.services.connections import MAX_HEAD
from downstage.services.server import Server, open_port

pytestmark = pytest.mark.real
DEADLINE_S = 10
SILENCE_S = 0.3


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without a look at the body, or with one; a socket is opened and closed."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 1000})
        return
    size = 0
    while scope["path"] == "/read":
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(autouse=True)
def _nothing_left() -> None:
    """The server lives as long as the module."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server in a thread of its own."""
    listening = open_port("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = Server(hello, [listening])
    thread = threading.Thread(target=anyio.run, args=(server.run,))
    patch = pytest.MonkeyPatch()
    patch.setattr(connections, "HEAD_S", SILENCE_S)
    thread.start()
    try:
        yield port
    finally:
        server.stop()
        thread.join(DEADLINE_S)
        patch.undo()


def said(port: int, *pieces: bytes) -> bytes:
    """All that the server says to *pieces*, until it closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as sock:
        try:
            for piece in pieces:
                sock.sendall(piece)
            while piece := sock.recv(65536):
                answer += piece
        except ConnectionError:
            pass
    return answer


def said_to(sock: socket.socket, end: bytes) -> bytes:
    """What the server says, up to *end*."""
    answer = b""
    while not answer.endswith(end):
        answer += sock.recv(65536)
    return answer


LARGE = b"x" * (MAX_HEAD + 1)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"A: " + LARGE + b"\r\n\r\n",
        HEAD + b"A: " + LARGE * 8,
        HEAD + LARGE * 8,
        HEAD + b"".join(b"a%d: b\r\n" % number for number in range(MAX_HEAD // 4)),
        b"GET /" + LARGE + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + LARGE * 8,
        b"\r\n" * MAX_HEAD * 2,
    ],
    ids=["value", "endless value", "endless name", "many", "address", "endless address", "lines"],
)
def test_A12_a_head_has_an_end(port: int, request_: bytes) -> None:
    answer = said(port, request_)
    assert answer == b"" or answer.split()[1] in (b"431", b"400"), answer


def test_A12_trailers_have_an_end_too(port: int) -> None:
    start = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    for trailers in (b"A: " + LARGE * 8, b"a: b\r\n" * MAX_HEAD, LARGE * 8):
        assert b" 200 " not in said(port, start + trailers)


def test_a_large_body_is_no_head(port: int) -> None:
    start = b"POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = said(port, start + b"Content-Length: 5000000\r\n\r\n", bytes(5_000_000))
    assert answer.endswith(b"5000000")
    chunks = b"".join(b"8000\r\n" + bytes(0x8000) + b"\r\n" for _ in range(40))
    answer = said(port, start + b"Transfer-Encoding: chunked\r\n\r\n", chunks + b"0\r\n\r\n")
    assert answer.endswith(str(0x8000 * 40).encode())


@pytest.mark.parametrize("start", [b"", b"GET / HT", HEAD + b"A: b\r\n"])
def test_T03_who_does_not_say_what_it_wants_is_sent_away(port: int, start: bytes) -> None:
    assert said(port, start) == b""


def test_T03_a_second_request_has_as_long_as_the_first(port: int) -> None:
    assert said(port, HEAD + b"\r\n" + HEAD).count(b"HTTP/1.1 200") == 1


def test_T03_the_rest_of_a_body_that_nobody_wants_has_an_end(port: int) -> None:
    address = ("127.0.0.1", port)
    with socket.create_connection(address, timeout=DEADLINE_S) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        for _ in range(200):
            try:
                sock.sendall(b"x")
            except ConnectionError:
                return
            time.sleep(0.05)
    pytest.fail("It listens for ever.")


def test_a_socket_opens_at_once_or_after_a_request(port: int) -> None:
    upgrade = (
        b"GET /s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    for before in ((), (HEAD + b"\r\n",)):
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as sock:
            for request_ in before:
                sock.sendall(request_)
                said_to(sock, b"\r\n\r\n0")
            sock.sendall(upgrade)
            assert said_to(sock, b"\x88\x02\x03\xe8").startswith(b"HTTP/1.1 101")
            sock.sendall(b"\x88\x82\x00\x00\x00\x00\x03\xe8")  # its close, answered


def test_a_body_that_nobody_wanted_is_passed_over(port: int) -> None:
    sent = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert said(port, sent, sent, last).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
        b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c: d\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"4 \r\nabcd\r\n0\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"4\nabcd\n0\n\n",
    ],
)
def test_T07_what_can_be_read_in_two_ways_is_refused(port: int, request_: bytes) -> None:
    answer = said(port, request_)
    assert b" 200 " not in answer, answer


@pytest.mark.parametrize(
    "hosts",
    [
        b"",
        b"Host: x\r\nHost: y\r\n",
        b"Host: x\r\nhost: x\r\n",
        b"Host: a b\r\n",
        b"Host: x/y\r\n",
        b"Host: x@evil.example\r\n",
        b"Host: x:port\r\n",
        b"Host: x, y:80:81\r\n",
        b"Host: [::1\r\n",
        b"Host: http://x\r\n",
        b"Host: \xc3\xa9\r\n",
        b"Host: x\\y\r\n",
        b"Host: <script>\r\n",
    ],
)
def test_T07_a_host_that_is_none_or_two_is_refused(port: int, hosts: bytes) -> None:
    answer = said(port, b"GET / HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400"), answer


@pytest.mark.parametrize(
    "line",
    [b"GET http://x/ ", b"GET https://x/a ", b"OPTIONS * ", b"CONNECT x:1 ", b"GET x ", b"GET ?a "],
)
def test_T07_a_target_that_is_no_path_is_refused(port: int, line: bytes) -> None:
    answer = said(port, line + b"HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400"), answer


@pytest.mark.parametrize(
    "host", [b"x", b"x:8600", b"127.0.0.1:1", b"[::1]:8600", b"[fe80::1]", b"a_b.example.", b""]
)
def test_a_host_that_is_one_is_let_in(port: int, host: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
    assert said(port, head).startswith(b"HTTP/1.1 200")
    assert said(port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_T07_who_was_not_asked_for_a_body_is_sent_away(port: int) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    length = b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(hidden)
    answer = said(port, b"POST / HTTP/1.1\r\nHost: x\r\n" + length, hidden)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in answer
    start = b"POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = said(port, start + length, hidden)
    assert answer.startswith(b"HTTP/1.1 100 Continue")
    assert answer.endswith(str(len(hidden)).encode())
