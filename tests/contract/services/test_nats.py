"""What ``nats://`` promises beyond other transports: names, replicas, silence, hostile frames."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import nats
import pytest

from downstage.bus.nats_options import NatsOptions
from downstage.bus.nats_pool import close_connections, connection
from downstage.services.errors import (
    ServiceNotFoundError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from downstage.services.nats_service import serve_nats
from downstage.services.transports import Call, create
from downstage.services.transports.nats_frames import (
    AnswerHead,
    CallHead,
    CreditHead,
    FailHead,
    Kind,
    PieceHead,
    kind_of,
    pack,
    pack_bare,
    unpack,
)
from downstage.services.transports.nats_names import SUBJECT
from downstage.testing.nats import NatsServer

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

MIB = 1024 * 1024
REPLICA = Path(__file__).parent / "programs" / "nats_replica.py"


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    await close_connections()


class Handlers:
    """An application, and what it noticed."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.cancelled = anyio.Event()
        self.release = anyio.Event()
        self.scopes: list[dict[str, Any]] = []
        self.sent = 0
        self.at_once = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.at_once += 1
        try:
            await getattr(self, scope["path"].split("/")[1])(scope, receive, send)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.at_once -= 1

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = await whole(receive)
        await answer(send, scope["path"].encode() + b"?" + scope["query_string"] + b":" + body)

    async def digest(self, scope: Any, receive: Any, send: Any) -> None:
        digest, size = hashlib.sha256(), 0
        while True:
            message = await receive()
            assert message["type"] == "http.request", message
            digest.update(message["body"])
            size += len(message["body"])
            if not message["more_body"]:
                break
        await answer(send, f"{size} {digest.hexdigest()}".encode())

    async def big(self, scope: Any, receive: Any, send: Any) -> None:
        await answer(send, pattern(int(scope["query_string"].strip(b"="))))

    async def endless(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            self.sent += 65536

    async def never(self, scope: Any, receive: Any, send: Any) -> None:
        self.started.set()
        await self.release.wait()
        await answer(send, b"late")

    async def silent(self, scope: Any, receive: Any, send: Any) -> None:
        """A head, and then nothing."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.started.set()
        await self.release.wait()
        await send({"type": "http.response.body", "body": b"at last"})

    async def crash(self, scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a defect")

    async def broken(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise RuntimeError("a defect")

    async def mute(self, scope: Any, receive: Any, send: Any) -> None:
        return

    async def after(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers, and then works on."""
        await answer(send, b"done")
        await self.release.wait()
        self.started.set()


async def whole(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"X-Pid", str(os.getpid()).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def pattern(size: int) -> bytes:
    block = bytes(range(256)) * 256 + b"odd"
    return (block * (size // len(block) + 1))[:size]


@pytest.fixture
async def app(nats_server: NatsServer) -> AsyncIterator[Handlers]:
    handlers = Handlers()
    async with serve_nats(handlers, f"{nats_server.url}/svc", drain_s=0.2):
        yield handlers
        handlers.release.set()


@pytest.fixture
async def outside(nats_server: NatsServer) -> AsyncIterator[Any]:
    client = await nats.connect(nats_server.url)
    yield client
    await client.close()


def get(path: str, **more: Any) -> Call:
    return Call("GET", path, **{"timeout_s": 10, **more})


# --- one message there, one back ---------------------------------------------------------------


async def test_a_small_call_is_one_message_there_and_one_back(
    nats_server: NatsServer, app: Handlers, outside: Any
) -> None:
    seen = list[str]()

    async def note(message: Any) -> None:
        seen.append(message.subject)

    for subject in (f"{SUBJECT}>", "_INBOX.>"):
        await outside.subscribe(subject, cb=note)
    await outside.flush()
    mine = outside._resp_sub_prefix
    transport = create(f"{nats_server.url}/svc")
    reply = await transport.request(Call("POST", "/echo/a%20b", (("q", "ü"),), {"X-Y": "z"}, b"hi"))
    await outside.flush()
    assert reply.body == b"/echo/a b?q=%C3%BC:hi"
    assert reply.headers == {"x-pid": str(os.getpid())}
    assert len(seen) == 2, (seen, mine)


async def test_the_scope_is_that_of_http(nats_server: NatsServer, app: Handlers) -> None:
    transport = create(f"{nats_server.url}/svc/echo")
    await transport.request(Call("PUT", "/%2Fx", (("a", "1"), ("a", "2")), {"A": "b"}, b"123"))
    scope = app.scopes[0]
    assert scope["client"] == ("nats", 0)
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("PUT", "/echo//x", b"/echo/%2Fx")
    assert scope["query_string"] == b"a=1&a=2"
    assert sorted(scope["headers"]) == [(b"a", b"b"), (b"content-length", b"3"), (b"host", b"svc")]


@pytest.mark.parametrize("how", ["crash", "mute"])
async def test_a_crash_is_500(nats_server: NatsServer, app: Handlers, how: str) -> None:
    reply = await create(f"{nats_server.url}/svc").request(get(f"/{how}"))
    assert (reply.status, reply.body) == (500, b"Internal Server Error")


async def test_an_answer_that_breaks_off_is_an_error(
    nats_server: NatsServer, app: Handlers
) -> None:
    with pytest.raises(ServiceUnavailableError, match="broke off"):
        await create(f"{nats_server.url}/svc").request(get("/broken"))


async def test_work_after_the_answer_goes_on(nats_server: NatsServer, app: Handlers) -> None:
    reply = await create(f"{nats_server.url}/svc").request(get("/after", timeout_s=0.2))
    assert reply.body == b"done"
    await anyio.sleep(0.5)
    app.release.set()
    with anyio.fail_after(2):
        await app.started.wait()
    assert not app.cancelled.is_set()


# --- nobody there ------------------------------------------------------------------------------


async def test_a_name_that_nobody_serves_is_not_found_at_once(nats_server: NatsServer) -> None:
    transport = create(f"{nats_server.url}/nobody-here")
    await anyio.sleep(0)
    began = anyio.current_time()
    for _ in range(2):
        with pytest.raises(ServiceNotFoundError, match="nobody serves nobody-here") as caught:
            await transport.request(get("/x"))
    assert caught.value.status is None
    assert anyio.current_time() - began < 1


async def test_a_server_that_is_away_is_unavailable_and_shows_no_secret() -> None:
    transport = create("nats://anna:s3cret@127.0.0.1:9/svc")
    with pytest.raises(ServiceUnavailableError, match="cannot be reached") as caught:
        await transport.request(get("/x"))
    assert not isinstance(caught.value, ServiceNotFoundError)
    assert "s3cret" not in str(caught.value) + caught.value.url
    assert caught.value.url == "nats://127.0.0.1:9/svc/x"


@pytest.mark.parametrize(
    "uri", ["nats://h", "nats://h/", "nats://h/a.b", "nats://h/*", "nats://h/a%20b", "nats:///>"]
)
async def test_ill_formed_names_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="names a service"):
        create(uri)


async def test_no_host_needs_a_configured_server() -> None:
    with pytest.raises(ValueError, match=r"bus\.url"):
        await create("nats:///svc").request(get("/x"))


async def test_websockets_are_not_carried(nats_server: NatsServer) -> None:
    with pytest.raises(NotImplementedError, match="no WebSockets"):
        create(f"{nats_server.url}/svc").socket(get("/x"))


# --- large bodies ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 500_000, 600_000, MIB, 8 * MIB + 1])
async def test_bodies_arrive_whole(nats_server: NatsServer, app: Handlers, size: int) -> None:
    transport = create(f"{nats_server.url}/svc")
    body = pattern(size)
    wanted = f"{size} {hashlib.sha256(body).hexdigest()}"
    reply = await transport.request(Call("POST", "/digest", body=body, timeout_s=30))
    assert reply.body.decode() == wanted
    reply = await transport.request(Call("GET", "/big", ((str(size), ""),), timeout_s=30))
    assert reply.body == body


async def test_a_streamed_body_arrives_in_order(nats_server: NatsServer, app: Handlers) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(300):
            yield b"" if number % 7 == 0 else str(number).encode() * 100
            if number % 100 == 0:
                await anyio.sleep(0.01)

    body = b"".join([piece async for piece in pieces()])
    reply = await create(f"{nats_server.url}/svc").request(Call("POST", "/digest", body=pieces()))
    assert reply.body.decode() == f"{len(body)} {hashlib.sha256(body).hexdigest()}"


async def test_a_body_that_fails_is_the_callers_own_error(
    nats_server: NatsServer, app: Handlers
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError("the file is gone")

    with pytest.raises(LookupError, match="the file is gone"):
        await create(f"{nats_server.url}/svc").request(Call("POST", "/digest", body=pieces()))
    with anyio.fail_after(1):
        await app.cancelled.wait()


async def test_memory_stays_flat_with_64_mib_both_ways(
    nats_server: NatsServer, app: Handlers
) -> None:
    transport = create(f"{nats_server.url}/svc")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * MIB

    tracemalloc.start()
    try:
        reply = await transport.request(Call("POST", "/digest", body=pieces(), timeout_s=50))
        assert reply.body.startswith(str(64 * MIB).encode())
        read = 0
        async with transport.stream(get("/endless")) as stream:
            async for piece in stream:
                read += len(piece)
                if read > 64 * MIB:
                    break
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 * MIB


async def test_an_endless_answer_waits_for_its_reader(
    nats_server: NatsServer, app: Handlers
) -> None:
    async with create(f"{nats_server.url}/svc").stream(get("/endless")) as stream:
        first = await anext(aiter(stream))
        await anyio.sleep(0.5)
        assert len(first) + app.sent < 2 * MIB
    with anyio.fail_after(1):
        await app.cancelled.wait()


async def test_the_head_comes_before_the_body(nats_server: NatsServer, app: Handlers) -> None:
    with anyio.fail_after(2):
        async with create(f"{nats_server.url}/svc").stream(get("/silent")) as stream:
            assert stream.status == 200
            app.release.set()
            assert b"".join([piece async for piece in stream]) == b"at last"


async def test_a_silent_answer_is_given_up(nats_server: NatsServer, app: Handlers) -> None:
    with pytest.raises(ServiceTimeoutError, match=r"silent for 0\.2 s"):
        await create(f"{nats_server.url}/svc").request(get("/silent", read_timeout_s=0.2))


# --- ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.0, 0.1, 0.5])
async def test_the_handler_sees_a_cancellation_within_a_second(
    nats_server: NatsServer, app: Handlers, after: float
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create(f"{nats_server.url}/svc").request, get("/never"))
        await app.started.wait()
        await anyio.sleep(after)
        tasks.cancel_scope.cancel()
    with anyio.fail_after(1):
        await app.cancelled.wait()


async def test_a_deadline_ends_both_sides(nats_server: NatsServer, app: Handlers) -> None:
    with pytest.raises(ServiceTimeoutError, match=r"no answer within 0\.2 s"):
        await create(f"{nats_server.url}/svc").request(get("/never", timeout_s=0.2))
    with anyio.fail_after(1):
        await app.cancelled.wait()


async def test_the_handler_is_ended_although_the_caller_does_not_say_so(
    nats_server: NatsServer, app: Handlers, outside: Any
) -> None:
    head = CallHead("GET", "/never", "", [], deadline_ms=300)
    await outside.subscribe("_INBOX.me.1")
    await outside.publish(f"{SUBJECT}svc", pack(Kind.CALL, head), "_INBOX.me.1")
    with anyio.fail_after(1.5):
        await app.cancelled.wait()


async def test_a_long_call_lives_as_long_as_both_do(nats_server: NatsServer, app: Handlers) -> None:
    """Longer than the silence that is the end of a dead one."""

    async def release() -> None:
        await anyio.sleep(6)
        app.release.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(release)
        reply = await create(f"{nats_server.url}/svc").request(get("/never", timeout_s=None))
    assert reply.body == b"late"


async def test_a_caller_that_vanishes_is_noticed(nats_server: NatsServer, app: Handlers) -> None:
    client = await nats.connect(nats_server.url)
    await client.subscribe("_INBOX.me.2")
    head = CallHead("GET", "/never", "", [])
    await client.publish(f"{SUBJECT}svc", pack(Kind.CALL, head), "_INBOX.me.2")
    await client.flush()
    with anyio.fail_after(2):
        await app.started.wait()
    await client.close()
    with anyio.fail_after(3):
        await app.cancelled.wait()


async def test_a_caller_that_falls_silent_is_noticed(
    nats_server: NatsServer, app: Handlers, outside: Any
) -> None:
    await outside.subscribe("_INBOX.me.3")  # it listens, and says nothing
    head = CallHead("GET", "/never", "", [])
    await outside.publish(f"{SUBJECT}svc", pack(Kind.CALL, head), "_INBOX.me.3")
    with anyio.fail_after(9):
        await app.cancelled.wait()


async def test_a_lost_connection_ends_calls_and_the_next_ones_work() -> None:
    with NatsServer() as server:
        handlers = Handlers()
        transport = create(f"{server.url}/svc")
        async with serve_nats(handlers, f"{server.url}/svc", drain_s=0.1):
            async with anyio.create_task_group() as tasks:

                async def one() -> None:
                    with pytest.raises(ServiceUnavailableError, match="NATS broke"):
                        await transport.request(get("/never"))

                tasks.start_soon(one)
                await handlers.started.wait()
                server.kill()
            with anyio.fail_after(2):
                await handlers.cancelled.wait()
            with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
                await transport.request(get("/echo"))
            server.start()
            with anyio.fail_after(10):
                while True:
                    try:
                        reply = await transport.request(get("/echo"))
                    except ServiceUnavailableError:
                        await anyio.sleep(0.05)
                    else:
                        break
            assert reply.body == b"/echo?:"


async def test_the_end_of_a_service_lets_calls_finish(nats_server: NatsServer) -> None:
    handlers = Handlers()
    transport = create(f"{nats_server.url}/drained")
    replies = list[bytes]()

    async def one() -> None:
        replies.append((await transport.request(get("/never"))).body)

    async with (
        anyio.create_task_group() as tasks,
        serve_nats(handlers, f"{nats_server.url}/drained"),
    ):
        tasks.start_soon(one)
        await handlers.started.wait()
        tasks.start_soon(_set_later, handlers.release, 0.3)
    assert replies == [b"late"]
    with pytest.raises(ServiceNotFoundError):
        await transport.request(get("/echo"))


async def _set_later(event: anyio.Event, delay_s: float) -> None:
    await anyio.sleep(delay_s)
    event.set()


async def test_calls_that_do_not_finish_are_told_of_the_end(nats_server: NatsServer) -> None:
    handlers = Handlers()
    async with anyio.create_task_group() as tasks:

        async def one() -> None:
            with pytest.raises(ServiceUnavailableError, match="the service is stopping"):
                await create(f"{nats_server.url}/ended").request(get("/never"))

        async with serve_nats(handlers, f"{nats_server.url}/ended", drain_s=0.1):
            tasks.start_soon(one)
            await handlers.started.wait()
    assert handlers.cancelled.is_set()


# --- many --------------------------------------------------------------------------------------


async def test_a_thousand_calls_at_once_are_not_mixed_up(
    nats_server: NatsServer, app: Handlers
) -> None:
    transport = create(f"{nats_server.url}/svc")

    async def one(number: int) -> None:
        body = str(number).encode() * (1 + number % 50)
        reply = await transport.request(Call("POST", f"/echo/{number}", body=body))
        assert reply.body == f"/echo/{number}?:".encode() + body

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for number in range(1000):
                tasks.start_soon(one, number)


async def test_more_than_it_can_take_is_503(nats_server: NatsServer) -> None:
    handlers = Handlers()
    transport = create(f"{nats_server.url}/small")
    async with serve_nats(handlers, f"{nats_server.url}/small", concurrency=2, drain_s=0.1):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(transport.request, get("/never"))
            while handlers.at_once < 2:
                await anyio.sleep(0.01)
            reply = await transport.request(get("/echo"))
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert b'"code": "unavailable"' in reply.body
            handlers.release.set()
        assert (await transport.request(get("/echo"))).status == 200


# --- hostile frames ----------------------------------------------------------------------------

GOOD = CallHead("GET", "/echo", "", [])


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        pytest.param(b"", "cut short", id="empty"),
        pytest.param(b"\x01", "cut short", id="short"),
        pytest.param(b"\x02" + pack(Kind.CALL, GOOD)[1:], "version 2", id="version"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "version 71", id="http"),
        pytest.param(b"\x01\x63\0\0\0\0", "unknown kind 99", id="kind"),
        pytest.param(b"\x01\x01\xff\xff\xff\xff", "larger than", id="oversized head"),
        pytest.param(b"\x01\x01\0\0\0\x09abc", "reaches past", id="cut head"),
        pytest.param(b"\x01\x01\0\0\0\x03abc", "out of form", id="garbage head"),
        pytest.param(b"\x01\x01\0\0\xff\0" + b"\x91" * 0xFF00, "out of form", id="nesting bomb"),
        pytest.param(pack_bare(Kind.CANCEL), "not how a call begins", id="cancel"),
        pytest.param(pack(Kind.PIECE, PieceHead(1), b"x"), "not how a call begins", id="piece"),
        pytest.param(pack(Kind.CALL, CallHead("GET", "x", "", [])), "path", id="relative path"),
    ],
)
async def test_frames_out_of_form_are_refused_in_words(
    nats_server: NatsServer, app: Handlers, outside: Any, frame: bytes, why: str
) -> None:
    reply = await outside.request(f"{SUBJECT}svc", frame, timeout=5)
    assert kind_of(reply.data) is Kind.FAIL
    assert why in unpack(reply.data, FailHead)[0].why
    reply = await create(f"{nats_server.url}/svc").request(get("/echo"))
    assert reply.status == 200


@pytest.mark.parametrize("inbox", ["", f"{SUBJECT}other", "_INBOX", "_INBOX.", "$JS.API.x.y"])
async def test_answers_go_to_inboxes_only(
    nats_server: NatsServer, app: Handlers, outside: Any, inbox: str
) -> None:
    await outside.publish(f"{SUBJECT}svc", pack(Kind.CALL, GOOD), inbox)
    await outside.flush()
    assert (await create(f"{nats_server.url}/svc").request(get("/echo"))).status == 200
    assert len(app.scopes) == 1


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        pytest.param([pack(Kind.PIECE, PieceHead(2), b"x")], "piece 2 came where 1", id="gap"),
        pytest.param([pack(Kind.PIECE, PieceHead(1), b"x" * 600_000)] * 2, "came", id="twice"),
        pytest.param(
            [pack(Kind.PIECE, PieceHead(n), b"x" * 600_000) for n in (1, 2)],
            "more pieces came",
            id="over the window",
        ),
        pytest.param([pack(Kind.CREDIT, CreditHead(1))], "out of turn", id="credit"),
        pytest.param([b"\x01\x05\0\0\0\x01\xc1"], "out of turn", id="garbage"),
    ],
)
async def test_a_caller_out_of_form_loses_its_call_alone(
    nats_server: NatsServer, app: Handlers, outside: Any, frames: list[bytes], why: str
) -> None:
    inbox = await outside.subscribe("_INBOX.me.4")
    head = CallHead("POST", "/never", "", [], more=True)
    await outside.publish(f"{SUBJECT}svc", pack(Kind.CALL, head), "_INBOX.me.4")
    accept = await inbox.next_msg(5)
    assert kind_of(accept.data) is Kind.ACCEPT
    for frame in frames:
        await outside.publish(accept.reply, frame)
    fail = await inbox.next_msg(5)
    while kind_of(fail.data) is Kind.BEAT or kind_of(fail.data) is Kind.ACCEPT:
        fail = await inbox.next_msg(5)
    assert why in unpack(fail.data, FailHead)[0].why
    with anyio.fail_after(1):
        await app.cancelled.wait()
    assert (await create(f"{nats_server.url}/svc").request(get("/echo"))).status == 200


@asynccontextmanager
async def pretending(client: Any, reply: Callable[[Any], Awaitable[None]]) -> AsyncIterator[None]:
    """Somebody who serves ``liar`` by his own rules."""
    subscription = await client.subscribe(f"{SUBJECT}liar", cb=reply)
    await client.flush()
    yield
    await subscription.unsubscribe()


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        pytest.param([b"hello there"], "version 104", id="garbage"),
        pytest.param([b"\x02\x03\0\0\0\0"], "version 2", id="version"),
        pytest.param([pack(Kind.PIECE, PieceHead(1), b"x")], "out of turn", id="piece first"),
        pytest.param([pack(Kind.CALL, GOOD)], "out of turn", id="call"),
        pytest.param(
            [
                pack(Kind.ANSWER, AnswerHead(200, [], more=True)),
                pack(Kind.PIECE, PieceHead(2, more=False)),
            ],
            "piece 2 came where 1",
            id="gap",
        ),
        pytest.param(
            [pack(Kind.ANSWER, AnswerHead(200, [], more=True))] * 2, "second answer", id="twice"
        ),
    ],
)
async def test_a_service_out_of_form_is_an_error_in_words(
    nats_server: NatsServer, outside: Any, frames: list[bytes], why: str
) -> None:
    async def reply(message: Any) -> None:
        for frame in frames:
            await outside.publish(message.reply, frame)

    async with pretending(outside, reply):
        with pytest.raises(ServiceUnavailableError, match=why):
            await create(f"{nats_server.url}/liar").request(get("/x"))


async def test_a_service_cannot_make_us_speak_elsewhere(
    nats_server: NatsServer, outside: Any
) -> None:
    heard = list[Any]()

    async def note(message: Any) -> None:
        heard.append(message)

    async def reply(message: Any) -> None:
        await outside.publish(message.reply, pack_bare(Kind.ACCEPT), "downstage.victim")

    await outside.subscribe("downstage.victim", cb=note)
    async with pretending(outside, reply):
        with pytest.raises(ServiceUnavailableError, match="no inbox"):
            await create(f"{nats_server.url}/liar").request(get("/x"))
        await outside.flush()
    assert not heard


async def test_a_service_that_falls_silent_is_given_up(
    nats_server: NatsServer, outside: Any
) -> None:
    async def reply(message: Any) -> None:
        del message

    async with pretending(outside, reply):
        began = anyio.current_time()
        with pytest.raises(ServiceUnavailableError, match="fell silent"):
            await create(f"{nats_server.url}/liar").request(get("/x", timeout_s=None))
        assert anyio.current_time() - began < 9


# --- replicas ----------------------------------------------------------------------------------


@contextmanager
def replica(uri: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(REPLICA), uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(5)
        process.stdout.close()


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert any(line == "ready\n" for line in process.stdout), "it did not start"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
async def test_replicas_share_the_work_and_one_may_die(
    nats_server: NatsServer, end: signal.Signals
) -> None:
    uri = f"{nats_server.url}/twins-{end.name}"
    transport = create(uri)
    with replica(uri) as first, replica(uri) as second:
        for process in (first, second):
            await anyio.to_thread.run_sync(wait_ready, process)
        pids = [int((await transport.request(get("/x"))).body) for _ in range(60)]
        assert {first.pid, second.pid} == set(pids)
        assert min(pids.count(first.pid), pids.count(second.pid)) >= 10
        outcomes = list[str]()

        async def one() -> None:
            try:
                await transport.request(get("/never", timeout_s=12))
            except ServiceTimeoutError:
                outcomes.append("late")
            except ServiceUnavailableError:
                outcomes.append("unavailable")

        async with anyio.create_task_group() as tasks:
            for _ in range(16):
                tasks.start_soon(one)
            await anyio.sleep(0.6)
            first.send_signal(end)
            with anyio.fail_after(8):
                while not outcomes:
                    await anyio.sleep(0.05)
            await anyio.sleep(0.3)
            assert 1 <= len(outcomes) < 16
            assert set(outcomes) == {"unavailable"}
            if end is signal.SIGKILL:
                pids = [int((await transport.request(get("/x"))).body) for _ in range(10)]
                assert set(pids) == {second.pid}
            tasks.cancel_scope.cancel()


# --- who may -----------------------------------------------------------------------------------

USERS = 'authorization { users = [ { user: anna, password: "pw/1" } ] }'


async def test_user_and_password_in_the_address(app: Handlers) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(NatsServer(USERS))
        good = server.url.replace("//", "//anna:pw%2F1@")
        await stack.enter_async_context(serve_nats(app, f"{good}/svc", drain_s=0))
        assert (await create(f"{good}/svc").request(get("/echo"))).status == 200
        bad = server.url.replace("//", "//anna:wr0ng@")
        with pytest.raises(ServiceUnavailableError, match="cannot be reached") as caught:
            await create(f"{bad}/svc").request(get("/echo"))
        assert "wr0ng" not in str(caught.value)
        with pytest.raises(ServiceUnavailableError):
            await create(f"{server.url}/svc").request(get("/echo"))


async def test_options_do_not_show_secrets() -> None:
    options = NatsOptions(("h:1",), user="anna", password="pw", token="tok")
    assert "pw" not in repr(options) + options.shown
    assert "tok" not in repr(options) + options.shown
    shared = await connection(options)
    assert "pw" not in repr(shared)
