"""Frames out of form, from either side: an error in words, and nobody else is harmed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from downstage.services.errors import (
    ServiceUnavailableError,
)
from downstage.services.transports import create
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

from .nats_probe import Handlers, app, closed, endless_patience, get, nats_server, outside
from .own_time import within

__all__ = ["app", "closed", "endless_patience", "nats_server", "outside"]  # fixtures

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

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
        pytest.param(b"\x01\x01\0\0\0\x03\x91\xa1\x80", "out of form", id="not utf-8"),
        pytest.param(b"\x01\x01\0\0\xff\0" + b"\x91" * 0xFF00, "out of form", id="nesting bomb"),
        pytest.param(pack_bare(Kind.CANCEL), "not how a call begins", id="cancel"),
        pytest.param(pack(Kind.PIECE, PieceHead(1), b"x"), "not how a call begins", id="piece"),
        *(
            pytest.param(pack(Kind.CALL, head), why, id=what)
            for head, why, what in (
                (CallHead("GET", "x", "", []), "path", "relative path"),
                (CallHead("GET", "", "", []), "path", "no path"),
                (CallHead("GET", "/x y", "", []), "path", "space in the path"),
                (CallHead("GET", "/x", "a b\r\n", []), "path", "lines in the query"),
                (CallHead("", "/echo", "", []), "method", "no method"),
                (CallHead("GET /x HTTP/1.1\r\n", "/echo", "", []), "method", "lines in the method"),
                (CallHead("GET", "/echo", "", [(b"A", b"b")]), "header", "capitals"),
                (CallHead("GET", "/echo", "", [(b"a", b"b\r\nc: d")]), "header", "lines"),
                (CallHead("GET", "/echo", "", [(b"", b"b")]), "header", "no name"),
            )
        ),
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


@pytest.mark.usefixtures("endless_patience")
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
    await within(1, app.cancelled)
    assert (await create(f"{nats_server.url}/svc").request(get("/echo"))).status == 200


@pytest.mark.usefixtures("endless_patience")
async def test_credit_for_what_was_not_sent_is_refused(
    nats_server: NatsServer, app: Handlers, outside: Any
) -> None:
    inbox = await outside.subscribe("_INBOX.me.5")
    frame = pack(Kind.CALL, CallHead("GET", "/silent", "", []))
    await outside.publish(f"{SUBJECT}svc", frame, "_INBOX.me.5")
    answer = await inbox.next_msg(5)
    assert kind_of(answer.data) is Kind.ANSWER
    await outside.publish(answer.reply, pack(Kind.CREDIT, CreditHead(1 << 40)))
    with anyio.fail_after(10):
        await app.cancelled.wait()
        while kind_of((fail := await inbox.next_msg(5)).data) is not Kind.FAIL:
            pass
    assert "more was credited" in unpack(fail.data, FailHead)[0].why


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
        assert anyio.current_time() - began < 30
