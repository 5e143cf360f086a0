"""What every transport promises for calls; a backend gives ``serve`` and inherits the tests.

::

    class TestMine(TransportSuite):
        @asynccontextmanager
        async def serve(self, app): ...
            yield "mine://address"
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from downstage.services.errors import ServiceUnavailableError
from downstage.services.transports import MAX_ANSWER, Answer, Call, Transport, create

from .probe import Probe

PAGE = 4096
LIMITS_S = (0.2, 1.0, 5.0)
"""Time-outs to try in turn: on a busy machine the first may be over before the call has arrived."""


class Backend(ABC):
    """One way to reach an application."""

    @abstractmethod
    def serve(self, app: Any) -> AbstractAsyncContextManager[str]:
        """Serve *app* inside; gives its address."""

    nobody = ""
    """An address that nobody answers at."""

    @pytest.fixture
    def probe(self, anyio_backend: str) -> Probe:
        return Probe()

    @pytest.fixture
    async def address(self, probe: Probe) -> AsyncIterator[str]:
        async with self.serve(probe) as address:
            yield address
            probe.release.set()

    @pytest.fixture
    def transport(self, address: str) -> Transport:
        return create(address)


class TransportSuite(Backend):
    """Whole bodies, heads, many calls at once."""

    at_once = 1000
    large = MAX_ANSWER

    async def test_small_bodies_there_and_back(self, transport: Transport) -> None:
        for body in (b"", b"\0", b"text", bytes(range(256)) * 300):
            answer = await transport.request(Call("POST", "/echo", body=body))
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers["content-type"] == "text/plain"

    async def test_the_largest_body_there_and_back(self, transport: Transport) -> None:
        body = b"0123456789abcdef" * (self.large // 16)
        answer = await transport.request(Call("POST", "/echo", body=body))
        assert len(answer.body) == self.large
        assert answer.body == body

    async def test_a_larger_answer_is_refused(self, transport: Transport) -> None:
        size = (("size", str(MAX_ANSWER + 1)),)
        with pytest.raises(ServiceUnavailableError, match="larger than"):
            await transport.request(Call("GET", "/stream", size))

    async def test_many_calls_at_once_are_not_mixed_up(self, transport: Transport) -> None:
        answers = dict[int, bytes]()

        async def one(number: int) -> None:
            call = Call("GET", "/late", (("n", str(number)),))
            answers[number] = (await transport.request(call)).body

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(self.at_once):
                    tasks.start_soon(one, number)
        assert answers == {n: f"n={n}".encode() for n in range(self.at_once)}

    @pytest.mark.parametrize(
        ("path", "shown"),
        [
            ("/scope/a%20b", "/scope/a b"),
            ("/scope/%C3%A4%E2%82%AC", "/scope/ä€"),
            ("/scope/%FF%00", "/scope/\ufffd\0"),
            ("/scope/a%2Fb", "/scope/a/b"),
            ("/scope/..%2F..", "/scope/../.."),
            ("/scope//x/", "/scope//x/"),
            ("/scope/a:b@c;d=e,f!$'()*+~", "/scope/a:b@c;d=e,f!$'()*+~"),
        ],
    )
    async def test_paths_arrive_verbatim(self, transport: Transport, path: str, shown: str) -> None:
        scope = await self.scope(transport, Call("GET", path))
        assert (scope["raw_path"], scope["path"], scope["root_path"]) == (path, shown, "")

    async def test_queries_arrive_verbatim(self, transport: Transport) -> None:
        query = (("a", "1"), ("a", "ä &=+%"), ("", "x"), ("b", ""))
        scope = await self.scope(transport, Call("GET", "/scope", query))
        assert scope["query"] == "a=1&a=%C3%A4+%26%3D%2B%25&=x&b="

    async def test_headers_arrive_in_lower_case(self, transport: Transport) -> None:
        headers = {"X-Mark": "m, n", "Authorization": "Bearer t", "x-tab": "a\tb", "x-uni": "ä"}
        scope = await self.scope(transport, Call("POST", "/scope", headers=headers, body=b"b"))
        seen = dict(scope["headers"])
        assert seen["x-mark"] == "m, n"
        assert seen["authorization"] == "Bearer t"
        assert seen["x-tab"] == "a\tb"
        assert seen["x-uni"] == "ä".encode().decode("latin-1")
        assert seen["content-length"] == "1"
        assert seen["accept"] == "*/*"
        assert "content-type" not in seen
        assert all(name == name.lower() for name in seen)

    async def test_methods_arrive(self, transport: Transport) -> None:
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"):
            scope = await self.scope(transport, Call(method, "/scope"))
            assert (scope["method"], scope["version"]) == (method, "1.1")

    async def scope(self, transport: Transport, call: Call) -> dict[str, Any]:
        answer = await transport.request(call)
        assert answer.status == 200
        return json.loads(answer.body)

    @pytest.mark.parametrize(
        "call",
        [
            Call("GET", "/echo", headers={"x-a": "1\r\nx-b: 2"}),
            Call("GET", "/echo", headers={"x-a": "1\0"}),
            Call("GET", "/echo", headers={"x-a: 1\r\nx-b": "2"}),
            Call("GET", "/echo", headers={"": "2"}),
            Call("GET", "/echo x HTTP/1.1\r\nx: y"),
            Call("GET", "/echo?a=b"),
            Call("GET", "/echo#a"),
            Call("GET", "/ä"),
            Call("GET", "@elsewhere/"),
            Call("GET / HTTP/1.1\r\nx:", "/echo"),
            Call("", "/echo"),
        ],
    )
    async def test_no_call_becomes_two(
        self, transport: Transport, probe: Probe, call: Call
    ) -> None:
        with pytest.raises(ValueError, match=r"header|path|method"):
            await transport.request(call)
        with pytest.raises(ValueError, match=r"header|path|method"):
            async with transport.stream(call):
                pass
        assert probe.calls == 0

    async def test_answers_without_a_body(self, transport: Transport) -> None:
        for call in (
            Call("HEAD", "/status/200"),
            *(Call("GET", f"/status/{s}") for s in (204, 304)),
        ):
            answer = await transport.request(call)
            assert answer.body == b""
            async with transport.stream(call) as stream:
                assert [piece async for piece in stream] == []
        head = await transport.request(Call("HEAD", "/status/200"))
        assert head.headers["content-length"] == "4"

    async def test_error_answers_and_redirects_are_answers(
        self, transport: Transport, probe: Probe
    ) -> None:
        for status in (301, 307, 400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 503):
            answer = await transport.request(Call("GET", f"/status/{status}"))
            assert (answer.status, answer.body) == (status, b"body")
            assert (answer.headers["location"], answer.headers["retry-after"]) == ("/echo", "7")
        assert probe.calls == 13

    async def test_fields_of_answers(self, transport: Transport) -> None:
        answer = await transport.request(Call("GET", "/fields"))
        assert answer.headers["x-twice"] == "one, two"
        assert answer.headers["x-latin"] == "ä"

    async def test_a_compressed_answer_is_inflated(self, transport: Transport) -> None:
        answer = await transport.request(Call("GET", "/gzip"))
        assert answer.body == b"x" * 1_000_000
        async with transport.stream(Call("GET", "/gzip")) as stream:
            assert sum([len(piece) async for piece in stream]) == 1_000_000

    @pytest.mark.parametrize("how", ["twice", "bare", "whole"])
    async def test_compressed_in_other_ways(self, transport: Transport, how: str) -> None:
        call = Call("GET", "/packed", ((how, ""),))
        assert (await transport.request(call)).body == b"onetwo"
        async with transport.stream(call) as stream:
            assert b"".join([piece async for piece in stream]) == b"onetwo"

    async def test_the_address_may_have_a_path(self, address: str) -> None:
        base = self.below(address, "/scope")
        assert (await self.scope(create(base), Call("GET", "")))["path"] == "/scope"
        assert (await self.scope(create(base + "/"), Call("GET", "/x")))["path"] == "/scope/x"
        assert (await create(address).request(Call("GET", ""))).body == b"root"

    def below(self, address: str, path: str) -> str:
        """*address* with a base path."""
        return address + path

    async def test_a_handler_that_fails_is_500(self, transport: Transport) -> None:
        for path in ("/crash", "/nothing"):
            answer = await transport.request(Call("GET", path))
            assert (answer.status, answer.body) == (500, b"Internal Server Error")
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
            async with transport.stream(Call("GET", path)) as stream:
                assert stream.status == 500

    async def test_background_work_does_not_hold_up_the_answer(
        self, transport: Transport, probe: Probe
    ) -> None:
        with anyio.fail_after(20):
            answer: Answer = await transport.request(Call("GET", "/afterwards"))
            assert answer.body == b"answered"
            assert not probe.finished.is_set()
            async with transport.stream(Call("GET", "/afterwards")) as stream:
                assert [piece async for piece in stream] == [b"answered"]
            probe.release.set()
            await probe.finished.wait()

    async def test_an_early_answer_ends_the_upload(self, transport: Transport) -> None:
        async def body() -> AsyncIterator[bytes]:
            while True:
                yield b"u" * 65536
                await anyio.sleep(0)

        upload = body()
        async with aclosing(upload):
            with anyio.fail_after(20):
                answer = await transport.request(Call("POST", "/early", body=upload))
        assert answer.status == 413

    async def test_a_streamed_body_arrives_whole(self, transport: Transport) -> None:
        digest = hashlib.blake2b()

        async def body() -> AsyncIterator[bytes]:
            for number in range(300):
                piece = bytes([number % 256]) * (number * 37)  # the first one is empty
                digest.update(piece)
                yield piece

        answer = await transport.request(Call("POST", "/digest", body=body()))
        size = sum(number * 37 for number in range(300))
        assert answer.body.decode() == f"{size} {digest.hexdigest()}"

    async def test_nobody_there_is_unavailable(self) -> None:
        transport = create(self.nobody)
        for path in ("/echo", "/x"):
            with pytest.raises(ServiceUnavailableError) as caught, anyio.fail_after(20):
                await transport.request(Call("GET", path, timeout_s=3))
            assert caught.value.status is None
            assert "pw" not in str(caught.value) + caught.value.url
        with pytest.raises(ServiceUnavailableError):
            async with transport.stream(Call("GET", "/echo", timeout_s=3)):
                pass


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
