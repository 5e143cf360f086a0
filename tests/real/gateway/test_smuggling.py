"""Requests that may be read in two ways: what is decided about is what is served."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]

ENOUGH_S = 30
REFUSED = {400, 401, 403, 404, 405}


class Wire:
    """Bytes to the gateway's port, and what came back."""

    def __init__(self, house: Any, session_id: str, token: str) -> None:
        self.house, self.session_id, self.token = house, session_id, token

    async def say(self, *pieces: bytes) -> bytes:
        """All that is answered until the gateway closes."""
        answer = b""
        port = int(self.house.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            with anyio.fail_after(ENOUGH_S):
                try:
                    for piece in pieces:
                        await stream.send(piece)
                    while True:
                        answer += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return answer

    async def get(self, target: str, *, token: str | None = None, host: str = "x") -> bytes:
        """One request for *target*, as it stands."""
        bearer = f"Authorization: Bearer {token}\r\n" if token else ""
        head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{bearer}Connection: close\r\n\r\n"
        return await self.say(head.encode())

    @property
    def hidden(self) -> bytes:
        """A request that ends the session, to be hidden in another."""
        return (
            f"DELETE /v1/sessions/{self.session_id} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\n\r\n"
        ).encode()

    async def is_untouched(self) -> bool:
        return (await self.house.get(self.session_id))["state"] == "starting"


@pytest.fixture
async def wire(house: Any) -> Wire:
    """With a session of Anna's that nobody may touch."""
    created = await house.create("anna")
    return Wire(house, created["id"], await house.token("anna"))


def status(answer: bytes) -> int:
    """Of the first answer; a connection that is closed without any is a refusal, too."""
    return int(answer.split()[1]) if answer else 400


def is_led_on(answer: bytes) -> bool:
    """To the path without its last slash, wherever that is asked for."""
    return status(answer) == 307 and b"\r\nlocation: /v1/sessions/" in answer


SMUGGLING = {
    "CL and TE": (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "TE and CL": (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
    "two CL": (b"Content-Length: 0\r\nContent-Length: 60\r\n", b""),
    "two CL in one": (b"Content-Length: 0, 60\r\n", b""),
    "two TE": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "TE that is none": (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "TE not last": (b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"),
    "TE in disguise": (b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
    "space before colon": (b"Content-Length : 60\r\n", b""),
    "obs-fold": (b"Content-Length: 0\r\n 60\r\n", b""),
    "obs-fold of TE": (b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "bare LF": (b"Content-Length: 0\nTransfer-Encoding: chunked\n", b""),
    "bare CR": (b"A: b\rContent-Length: 60\r\n", b""),
    "sign": (b"Content-Length: +0\r\n", b""),
    "hexadecimal": (b"Content-Length: 0x0\r\n", b""),
    "too large a number": (b"Content-Length: 18446744073709551616\r\n", b""),
    "chunk size with a sign": (b"Transfer-Encoding: chunked\r\n", b"-1\r\n"),
    "chunk with a bare LF": (b"Transfer-Encoding: chunked\r\n", b"1\na\n0\n\n"),
}


async def test_T07_what_is_hidden_in_a_request_is_not_carried_out(wire: Wire) -> None:
    start = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for name, (headers, body) in SMUGGLING.items():
        answer = await wire.say(start + headers + b"\r\n" + body + wire.hidden)
        assert status(answer) == 400, (name, answer)
        assert answer.count(b"HTTP/1.1 ") <= 1, (name, answer)
        assert await wire.is_untouched(), name


PATHS = [
    "/v1%2fsessions/{id}",
    "/v1/sessions%2f{id}",
    "/v1/sessions%2F{id}",
    "/v1/sessions/%2e%2e%2fsessions%2f{id}",
    "/v1/sessions/x/..%2f{id}",
    "/v1/sessions/x/%2e%2e/{id}",
    "/v1/sessions/x/../{id}",
    "/v1/x/..%2fsessions/{id}",
    "/webclient/%2e%2e%2fv1/sessions/{id}",
    "/webclient/..%2f..%2fv1/sessions/{id}",
    "/healthcheck/%2e%2e%2fv1%2fsessions%2f{id}",
    "/v1/sessions/{id}%2f",
    "/v1/sessions/{id}%2flinks",
    "/v1/sessions/{id}/",
    "/v1//sessions/{id}",
    "//v1/sessions/{id}",
    "/./v1/sessions/{id}",
    "/%76%31/sessions/{id}",
    "/V1/sessions/{id}",
    "/v1/sessions/{id};x",
    "/v1/sessions\\{id}",
    "/v1/sessions/{id}%00",
    "/v1/sessions/%00{id}",
    "/v1/sessions/{id}%0d%0ax:%20y",
    "/v1/sessions/{id}%23",
    "/v1/sessions/{id}%3f",
    "/1.0/sessions%2f{id}",
    "/1.0/../v1/sessions/{id}",
]


async def test_T07_a_path_in_disguise_leads_nowhere_without_the_right(wire: Wire) -> None:
    ben = await wire.house.token("ben")
    for path in PATHS:
        target = path.format(id=wire.session_id)
        for token in (None, ben):
            answer = await wire.get(target, token=token, host="evil.example")
            assert status(answer) in REFUSED or is_led_on(answer), (path, token is None, answer)
            assert b'"revision"' not in answer, path
        # Who may is answered by the same route as under the plain path, or by none.
        own = await wire.get(target, token=wire.token)
        assert status(own) in {*REFUSED, 200} or is_led_on(own), (path, own)
        assert status(own) != 200 or wire.session_id.encode() in own, path
    assert await wire.is_untouched()


async def test_T07_a_whole_address_in_the_request_line_is_no_way_around(wire: Wire) -> None:
    path = f"/v1/sessions/{wire.session_id}"
    ben = await wire.house.token("ben")
    for target in (
        f"http://evil.example{path}",
        f"{wire.house.url}{path}",
        f"https://x{path}",
        f"http://x@evil.example{path}",
        f"file://{path}",
        f"javascript:{path}",
        f"x{path}",
        "*",
    ):
        for token in (None, ben, wire.token):
            answer = await wire.get(target, token=token)
            assert status(answer) == 400, (target, answer)
            assert b"evil" not in answer.partition(b"\r\n\r\n")[0]
    connect = await wire.say(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n")
    assert status(connect) == 400


async def test_T07_whatever_host_is_named_the_same_is_decided(wire: Wire) -> None:
    path = f"/v1/sessions/{wire.session_id}"
    for junk in ("a b", "x/v1", "x@evil.example", "x:y", "x\r\nHost: y", "\xff", "[::1"):
        for token in (None, wire.token):
            assert status(await wire.get(path, token=token, host=junk)) == 400, junk
    for other in ("evil.example", "evil.example:80", "127.0.0.1:8602", "localhost", ""):
        assert status(await wire.get(path, host=other)) == 401
        answer = await wire.get(path, token=wire.token, host=other)
        assert status(answer) == 200, other
        assert b"evil" not in answer, "nothing is built from what a caller says"
    head = f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {wire.token}\r\n\r\n".encode()
    assert status(await wire.say(head)) == 400


async def test_T07_heads_have_an_end_and_what_follows_is_not_read(wire: Wire) -> None:
    line = b"A: " + b"x" * (70 << 10) + b"\r\n"
    many = b"".join(b"A%d: x\r\n" % number for number in range(20_000))
    for headers in (line, many, b"A\x00B: c\r\n", b"A: b\x00c\r\n", b": b\r\n", b"A B: c\r\n"):
        start = b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"
        answer = await wire.say(start + wire.hidden)
        assert status(answer) in {400, 431}, answer[:200]
        assert answer.count(b"HTTP/1.1 ") <= 1
    assert await wire.is_untouched()
