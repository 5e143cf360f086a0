"""What ``nats://`` promises beyond other transports: names, silence, ends, identity."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import nats
import pytest

from downstage.bus.nats_options import NatsOptions
from downstage.bus.nats_pool import connection
from downstage.services import nats_served
from downstage.services.errors import (
    ServiceNotFoundError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from downstage.services.nats_service import serve_nats
from downstage.services.transports import Call, create
from downstage.services.transports.nats_frames import (
    CallHead,
    Kind,
    pack,
)
from downstage.services.transports.nats_names import SUBJECT
from downstage.testing.nats import NatsServer

from .nats_probe import Handlers, app, closed, endless_patience, get, nats_server, outside, pattern
from .own_time import within
from .transport_suite import LIMITS_S

__all__ = ["app", "closed", "endless_patience", "nats_server", "outside"]  # fixtures

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

MIB = 1024 * 1024


# --- one message there, one back ---------------------------------------------------------------


async def test_a_small_call_is_one_message_there_and_one_back(
    nats_server: NatsServer, app: Handlers, outside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_served, "ACCEPT_TICKS", 10**9)  # where the answer is long in coming
    seen = list[str]()

    async def note(message: Any) -> None:
        seen.append(message.subject)

    for subject in (f"{SUBJECT}>", "_INBOX.>"):
        await outside.subscribe(subject, cb=note)
    await outside.flush()
    mine = outside._resp_sub_prefix
    transport = create(f"{nats_server.url}/svc")
    reply = await transport.request(Call("POST", "/echo/a%20b", (("q", "ü"),), {"X-Y": "z"}, b"hi"))
    with anyio.fail_after(20):
        while len(seen) < 2:
            await anyio.sleep(0.005)
    await outside.flush()  # all has come, and waits for its subscription's task
    await anyio.wait_all_tasks_blocked()
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
    assert sorted(scope["headers"]) == [
        (b"a", b"b"),
        (b"accept", b"*/*"),
        (b"content-length", b"3"),
        (b"host", b"svc"),
    ]


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
    transport = create(f"{nats_server.url}/svc")
    for limit_s in LIMITS_S:
        app.cancelled = anyio.Event()
        try:
            assert (await transport.request(get("/after", timeout_s=limit_s))).body == b"done"
        except ServiceTimeoutError:
            continue
        await anyio.sleep(2 * limit_s)
        break
    app.release.set()
    await within(2, app.started)
    assert not app.cancelled.is_set()


# --- nobody there ------------------------------------------------------------------------------


async def test_a_name_that_nobody_serves_is_not_found_at_once(nats_server: NatsServer) -> None:
    """The server tells: no time-out ends it."""
    transport = create(f"{nats_server.url}/nobody-here")
    for _ in range(2):
        with (
            pytest.raises(ServiceNotFoundError, match="nobody serves nobody-here") as caught,
            anyio.fail_after(10),
        ):
            await transport.request(get("/x", timeout_s=None))
    assert caught.value.status is None


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


@pytest.mark.usefixtures("endless_patience")
async def test_a_body_that_fails_is_the_callers_own_error(
    nats_server: NatsServer, app: Handlers
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError("the file is gone")

    with pytest.raises(LookupError, match="the file is gone"):
        await create(f"{nats_server.url}/svc").request(Call("POST", "/digest", body=pieces()))
    await within(1, app.cancelled)


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


@pytest.mark.usefixtures("endless_patience")
async def test_an_endless_answer_waits_for_its_reader(
    nats_server: NatsServer, app: Handlers
) -> None:
    async with create(f"{nats_server.url}/svc").stream(get("/endless")) as stream:
        first = await anext(aiter(stream))
        await anyio.sleep(0.5)
        assert len(first) + app.sent < 2 * MIB
    await within(1, app.cancelled)


async def test_the_head_comes_before_the_body(nats_server: NatsServer, app: Handlers) -> None:
    with anyio.fail_after(10):
        async with create(f"{nats_server.url}/svc").stream(get("/silent")) as stream:
            assert stream.status == 200
            app.release.set()
            assert b"".join([piece async for piece in stream]) == b"at last"


async def test_a_silent_answer_is_given_up(nats_server: NatsServer, app: Handlers) -> None:
    with pytest.raises(ServiceTimeoutError, match=r"nothing came for 0\.2 s"):
        await create(f"{nats_server.url}/svc").request(get("/silent", read_timeout_s=0.2))


# --- ends --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("endless_patience")
@pytest.mark.parametrize("after", [0.0, 0.1, 0.5])
async def test_the_handler_sees_a_cancellation_within_a_second(
    nats_server: NatsServer, app: Handlers, after: float
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create(f"{nats_server.url}/svc").request, get("/never"))
        await app.started.wait()
        await anyio.sleep(after)
        tasks.cancel_scope.cancel()
    await within(1, app.cancelled)


@pytest.mark.usefixtures("endless_patience")
async def test_a_deadline_ends_both_sides(nats_server: NatsServer, app: Handlers) -> None:
    for limit_s in LIMITS_S:
        with pytest.raises(ServiceTimeoutError, match=f"no answer within {limit_s:g} s"):
            await create(f"{nats_server.url}/svc").request(get("/never", timeout_s=limit_s))
        if app.started.is_set():
            break
    with anyio.fail_after(20):
        await app.cancelled.wait()


@pytest.mark.usefixtures("endless_patience")
async def test_the_handler_is_ended_although_the_caller_does_not_say_so(
    nats_server: NatsServer, app: Handlers, outside: Any
) -> None:
    head = CallHead("GET", "/never", "", [], deadline_ms=300)
    await outside.subscribe("_INBOX.me.1")
    await outside.publish(f"{SUBJECT}svc", pack(Kind.CALL, head), "_INBOX.me.1")
    await within(1.5, app.cancelled)


async def test_a_long_call_lives_as_long_as_both_do(nats_server: NatsServer, app: Handlers) -> None:
    """Longer than the silence that is the end of a dead one."""

    async def release() -> None:
        await anyio.sleep(6)
        app.release.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(release)
        reply = await create(f"{nats_server.url}/svc").request(get("/never", timeout_s=None))
    assert reply.body == b"late"


@pytest.mark.usefixtures("endless_patience")
async def test_a_caller_that_vanishes_is_noticed(nats_server: NatsServer, app: Handlers) -> None:
    client = await nats.connect(nats_server.url)
    await client.subscribe("_INBOX.me.2")
    head = CallHead("GET", "/never", "", [])
    await client.publish(f"{SUBJECT}svc", pack(Kind.CALL, head), "_INBOX.me.2")
    await client.flush()
    await within(2, app.started)
    await client.close()
    await within(3, app.cancelled)


async def test_a_caller_that_falls_silent_is_noticed(
    nats_server: NatsServer, app: Handlers, outside: Any
) -> None:
    await outside.subscribe("_INBOX.me.3")  # it listens, and says nothing
    head = CallHead("GET", "/never", "", [])
    await outside.publish(f"{SUBJECT}svc", pack(Kind.CALL, head), "_INBOX.me.3")
    with anyio.fail_after(20):
        await app.cancelled.wait()


@pytest.mark.usefixtures("endless_patience")
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
            await within(2, handlers.cancelled)
            with pytest.raises(ServiceUnavailableError, match="cannot be reached"):
                await transport.request(get("/echo"))
            server.start()
            with anyio.fail_after(20):
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
        serve_nats(handlers, f"{nats_server.url}/drained", drain_s=20),
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
