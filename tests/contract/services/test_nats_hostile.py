"""``nats://`` among those who wish no good, and on a server that stalls: nothing leaks or hangs."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from downstage.bus.nats_options import NatsOptions
from downstage.bus.nats_pool import close_connections, configured, connection, options_for
from downstage.services.client.propagation import deadline, remaining_s
from downstage.services.errors import ServiceTimeoutError, ServiceUnavailableError
from downstage.services.nats_service import serve_nats
from downstage.services.transports import Call, create
from downstage.services.transports.nats_frames import AnswerHead, CallHead, Kind, kind_of, pack
from downstage.services.transports.nats_names import SUBJECT
from downstage.testing.nats import NatsServer

from .nats_probe import Handlers, app, closed, endless_patience, get, nats_server, outside
from .own_time import within

__all__ = ["app", "closed", "endless_patience", "nats_server", "outside"]  # fixtures

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

MIB = 1024 * 1024


async def test_refused_calls_leave_nothing_behind(nats_server: NatsServer) -> None:
    handlers = Handlers()
    uri = f"{nats_server.url}/full"
    transport = create(uri)
    shared = await connection(options_for(uri)[0])
    async with (
        serve_nats(handlers, uri, concurrency=1, drain_s=0.1),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(transport.request, get("/never"))
        await handlers.started.wait()
        before = len(shared._peers)
        for _ in range(20):
            assert (await transport.request(get("/echo"))).status == 503
        assert len(shared._peers) == before
        handlers.release.set()


async def test_a_served_call_knows_nothing_of_who_opened_the_connection(
    nats_server: NatsServer,
) -> None:
    """Its deadline, its trace, its extension."""
    left = list[float | None]()

    async def look(scope: Any, receive: Any, send: Any) -> None:
        left.append(remaining_s())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    uri = f"{nats_server.url}/look"
    with deadline(0.001):
        await (await connection(options_for(uri)[0])).ready()
    async with serve_nats(look, uri, drain_s=0):
        await create(uri).request(get("/x"))
    assert left == [None]


async def test_one_inbox_does_not_tell_the_next(
    nats_server: NatsServer, app: Handlers, outside: Any
) -> None:
    """Else a caller could speak for others, and answer in the name of others."""
    inboxes = list[str]()
    subscription = await outside.subscribe("_INBOX.me.*")
    for number in range(3):
        await outside.publish(
            f"{SUBJECT}svc",
            pack(Kind.CALL, CallHead("GET", "/never", "", [])),
            f"_INBOX.me.{number}",
        )
        message = await subscription.next_msg(5)
        assert kind_of(message.data) is Kind.ACCEPT
        inboxes.append(message.reply.rpartition(".")[2])
    assert all(re.fullmatch(r"[0-9a-f]{16,}", inbox) for inbox in inboxes)
    assert len({inbox[:4] for inbox in inboxes} | {inbox[-4:] for inbox in inboxes}) == 6


@pytest.mark.usefixtures("endless_patience")
async def test_an_upload_can_be_given_up_while_the_server_stalls(app: Handlers) -> None:
    go = anyio.Event()
    started = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal started
        yield b"x"
        started += 1
        await go.wait()
        while True:
            yield b"y" * MIB

    with NatsServer() as server:
        uri = f"{server.url}/svc"
        transport = create(uri)
        async with serve_nats(app, uri, drain_s=0):
            with anyio.move_on_after(45) as whole:
                async with anyio.create_task_group() as tasks:
                    for _ in range(32):
                        call = Call("POST", "/digest", body=pieces(), timeout_s=None)
                        tasks.start_soon(transport.request, call)
                    with anyio.fail_after(20):
                        while started < 32:
                            await anyio.sleep(0.05)
                    server.pause()
                    try:
                        go.set()
                        await anyio.sleep(0.5)
                        with pytest.raises(ServiceTimeoutError), anyio.fail_after(10):
                            await transport.request(get("/echo", timeout_s=1))
                        began = anyio.current_time()
                        tasks.cancel_scope.cancel()
                    finally:
                        server.resume()
            assert not whole.cancelled_caught
            assert anyio.current_time() - began < 10
        await close_connections()


@pytest.mark.parametrize(
    "head",
    [
        AnswerHead(200, [(b"x", b"1\r\nset-cookie: mine")]),
        AnswerHead(200, [(b"x: 1\r\nset-cookie", b"mine")]),
        AnswerHead(200, [(b"", b"1")]),
        AnswerHead(-1, []),
        AnswerHead(100, []),
        AnswerHead(10**9, []),
    ],
)
async def test_an_answer_that_http_could_not_carry_is_refused(
    nats_server: NatsServer, outside: Any, head: AnswerHead
) -> None:
    async def reply(message: Any) -> None:
        await message.respond(pack(Kind.ANSWER, head, b"body"))

    await outside.subscribe(f"{SUBJECT}bad", cb=reply)
    await outside.flush()
    with pytest.raises(ServiceUnavailableError, match="cannot be read"):
        await create(f"{nats_server.url}/bad").request(get("/x"))


@pytest.mark.usefixtures("endless_patience")
async def test_a_handler_that_swallows_a_cancellation_is_cancelled_again() -> None:
    """Also where the connection broke, and nobody is there to be told."""
    started, over = anyio.Event(), anyio.Event()

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            started.set()
            await asyncio.sleep(60)
        try:
            await asyncio.sleep(60)
        finally:
            over.set()

    with NatsServer() as server:
        uri = f"{server.url}/stubborn"
        async with serve_nats(stubborn, uri, drain_s=0), anyio.create_task_group() as tasks:

            async def one() -> None:
                with pytest.raises(ServiceUnavailableError):
                    await create(uri).request(get("/x"))

            tasks.start_soon(one)
            await started.wait()
            server.kill()
            await within(6, over)


async def test_a_head_that_cannot_be_sent_holds_up_no_other(nats_server: NatsServer) -> None:
    """Heads that go alone leave together."""
    release = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"x", object())] if scope["path"] == "/odd" else []
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await release.wait()
        await send({"type": "http.response.body", "body": b"body"})

    uri = f"{nats_server.url}/heads"
    statuses = list[int]()

    async def odd() -> None:
        statuses.append((await create(uri).request(get("/odd"))).status)

    async with serve_nats(app, uri, drain_s=0.1), anyio.create_task_group() as tasks:
        tasks.start_soon(odd)
        with anyio.fail_after(10):
            async with create(uri).stream(get("/good")) as stream:
                assert stream.status == 200
                release.set()
    assert statuses == [500]


@pytest.mark.usefixtures("endless_patience")
async def test_a_body_that_does_not_end_holds_nobody(
    nats_server: NatsServer, app: Handlers
) -> None:
    begun, over = anyio.Event(), anyio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            begun.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await over.wait()

    transport = create(f"{nats_server.url}/svc")
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(transport.request, Call("POST", "/digest", body=pieces()))
            await begun.wait()
            tasks.cancel_scope.cancel()
    over.set()
    await anyio.sleep(0.05)


@pytest.mark.usefixtures("endless_patience")
async def test_a_stalled_server_does_not_hold_calls_beyond_their_time() -> None:
    late = 0
    with NatsServer() as server:
        transport = create(f"{server.url}/svc")
        await (await connection(options_for(server.url)[0])).ready()
        server.pause()
        try:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:

                    async def one() -> None:
                        nonlocal late
                        with pytest.raises(ServiceTimeoutError):
                            await transport.request(
                                Call("POST", "/digest", body=bytes(MIB // 2), timeout_s=1)
                            )
                        late += 1

                    for _ in range(60):
                        tasks.start_soon(one)
        finally:
            server.resume()
        await close_connections()
    assert late == 60


async def test_a_name_in_the_address_keeps_the_encryption_of_the_settings() -> None:
    settled = NatsOptions(("a:4222",), token="t", is_encrypted=True)
    with configured(settled):
        mine = options_for("nats://ben:p@a/x")[0]
        assert (mine.user, mine.password, mine.token) == ("ben", "p", "")
        assert mine.is_encrypted
        assert not options_for("nats://ben:p@b/x")[0].is_encrypted
    with configured(NatsOptions(("a:4222",), user="anna", password="pw")):
        assert options_for("tls://a/x")[0] == NatsOptions(
            ("a:4222",), user="anna", password="pw", is_encrypted=True
        )


@pytest.mark.parametrize("path", ["/a?b", "/a#b", "/a b", "a", "*", "/a\x7f"])
async def test_a_path_that_http_could_not_carry_is_refused(
    nats_server: NatsServer, app: Handlers, outside: Any, path: str
) -> None:
    subscription = await outside.subscribe("_INBOX.me.p")
    await outside.publish(
        f"{SUBJECT}svc", pack(Kind.CALL, CallHead("GET", path, "", [])), "_INBOX.me.p"
    )
    assert kind_of((await subscription.next_msg(5)).data) is Kind.FAIL
    assert app.scopes == []
