"""Streams cut anywhere give the same lines, objects and events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstage.services import (
    AsyncClient,
    BaseServiceError,
    Hook,
    ServiceNotFoundError,
    ServiceUnavailableError,
    register,
)
from downstage.services.client import Event, streaming
from downstage.services.transports import Call

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Pieces:
    """An answer in given pieces."""

    def __init__(self, pieces: list[bytes], status: int, breaks: bool) -> None:
        self._pieces, self._breaks = pieces, breaks
        self.status = status
        self.headers = {"content-type": "text/plain"}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._breaks:
            raise ServiceUnavailableError("the answer broke off")


class Nested:
    """A socket whose one message is more than any reader wants."""

    async def receive(self) -> str:
        return "[" * 100_000


class Streams:
    """A transport that streams what it was told, one answer after the other."""

    answers: list[Pieces]
    calls: list[Call]
    open = 0

    def __init__(self, uri: str, app: Any = None) -> None:
        del uri, app

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[Pieces]:
        kind = type(self)
        kind.calls.append(call)
        kind.open += 1
        try:
            yield kind.answers.pop(0)
        finally:
            kind.open -= 1

    @asynccontextmanager
    async def socket(self, call: Call, subprotocols: tuple[str, ...]) -> AsyncGenerator[object]:
        async with self.stream(call):
            yield Nested()


def client(*answers: bytes | Pieces, **options: Any) -> AsyncClient:
    register("streams", Streams)
    Streams.calls, Streams.open = [], 0
    Streams.answers = [Pieces([a], 200, False) if isinstance(a, bytes) else a for a in answers]
    return AsyncClient("streams://h", description=None, **options)


def cut(data: bytes, places: list[int]) -> Pieces:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return Pieces([data[a:b] for a, b in pairwise(marks) if b > a], 200, False)


@settings(max_examples=60)
@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 200)),
)
async def test_lines_survive_any_cut(lines: list[str], end: str, places: list[int]) -> None:
    data = "".join(line + end for line in lines).encode()
    async with client(cut(data, places)).x.get.stream() as stream:
        assert [line async for line in stream.lines()] == lines


@pytest.mark.parametrize("empty", [[], [b""]])
async def test_mixed_ends_lose_no_empty_line(empty: list[bytes]) -> None:
    pieces = Pieces([b"a\r", *empty, b"\n", *empty, b"\nb\r", *empty, b"\nc"], 200, False)
    async with client(pieces).x.get.stream() as stream:
        assert [line async for line in stream.lines()] == ["a", "", "b", "c"]


@pytest.mark.parametrize("kind", ["stream", "ws"])
async def test_what_a_hook_refuses_is_closed(kind: str) -> None:
    class Refusing(Hook):
        async def after(self, request: Any, answer: Any) -> bool:
            raise LookupError("not that")

    with pytest.raises(LookupError):
        async with getattr(client(b"x", hooks=[Refusing()]).x.get, kind)():
            pass
    assert len(Streams.calls) == 1
    assert Streams.open == 0


async def test_the_last_line_needs_no_end() -> None:
    async with client(b"a\n\nb").x.get.stream() as stream:
        assert [line async for line in stream.lines()] == ["a", "", "b"]
    async with client(b'{"a":1}\n\n[2]').x.get.stream() as stream:
        assert [item async for item in stream.ndjson()] == [{"a": 1}, [2]]
    async with client(b"{oops\n").x.get.stream() as stream:
        with pytest.raises(BaseServiceError, match="no JSON"):
            await anext(stream.ndjson())


EVENTS = (
    b"\xef\xbb\xbfevent: made\n: a comment\ndata: one\ndata:two\nid: 7\n\n"
    b"data\n\nid\ndata:  x\nretry: 1500\nretry: soon\nid: bad\0id\nodd: y\n\n"
    b"event: lost\n\ndata: not complete"
)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 200)), st.sampled_from([b"\n", b"\r\n", b"\r"]))
async def test_events_survive_any_cut(places: list[int], end: bytes) -> None:
    data = EVENTS.replace(b"\n", end)
    async with client(cut(data, places)).x.get.stream() as stream:
        assert [event async for event in stream.events()] == [
            Event("one\ntwo", "made", "7"), Event("", "message", "7"), Event(" x", "message", ""),
        ]  # fmt: skip


async def test_an_event_may_hold_json() -> None:
    async with client(b'data: {"a":\ndata: 1}\n\n').x.get.stream() as stream:
        assert (await anext(stream.events())).json() == {"a": 1}


async def test_it_comes_back_where_it_was() -> None:
    reader = client(
        Pieces([b"id: 1\nretry: 1\ndata: a\n\n"], 200, True),
        Pieces([b"id: 2\ndata: b\n\n"], 200, False),
        Pieces([], 204, False),
    )
    async with reader.x.get.stream() as stream:
        with anyio.fail_after(5):
            got = [event.data async for event in stream.events(reconnect=True)]
    assert got == ["a", "b"]
    assert [call.headers.get("last-event-id") for call in Streams.calls] == [None, "1", "2"]
    assert Streams.open == 0


@pytest.mark.parametrize("odd", ["a\x01b", "\0", "\x7f", "x" * 5000])
async def test_an_id_that_cannot_come_back_is_none(odd: str) -> None:
    sent = f"id: 1\ndata: a\nretry: 1\n\nid: {odd}\ndata: b\n\n".encode()
    reader = client(Pieces([sent], 200, True), Pieces([], 204, False))
    async with reader.x.get.stream() as stream:
        with anyio.fail_after(5):
            got = [event.id async for event in stream.events(reconnect=True)]
    assert got == ["1", "1"]
    assert [call.headers.get("last-event-id") for call in Streams.calls] == [None, "1"]


@pytest.mark.parametrize("line", [b'"\xff"', b"[" * 100_000, b"{"])
async def test_what_is_no_json_is_an_error_that_callers_know(line: bytes) -> None:
    async with client(line).x.get.stream() as stream:
        with pytest.raises(BaseServiceError, match="no JSON"):
            await anext(stream.ndjson())
    with pytest.raises(ValueError, match=r"."):
        Event(line.decode("latin-1").replace("\xff", "\\")).json()


async def test_a_message_that_is_nested_too_deeply_is_no_json() -> None:
    async with client(b"x").x.ws() as socket:
        with pytest.raises(ValueError, match="too deeply"):
            await socket.receive_json()


async def test_without_leave_it_does_not_come_back() -> None:
    async with client(Pieces([b"data: a\n\n"], 200, True)).x.get.stream() as stream:
        events = stream.events()
        assert (await anext(events)).data == "a"
        with pytest.raises(ServiceUnavailableError, match="broke off"):
            await anext(events)


async def test_it_gives_up_in_the_end() -> None:
    answers = [Pieces([b"retry: 1\n\n"], 200, True) for _ in range(9)]
    async with client(*answers).x.get.stream() as stream:
        with pytest.raises(ServiceUnavailableError), anyio.fail_after(5):
            async for _ in stream.events(reconnect=True):
                pass
    assert len(Streams.calls) == streaming.MOST_FAILURES


async def test_an_error_answer_is_raised_with_its_body() -> None:
    with pytest.raises(ServiceNotFoundError, match="gone") as caught:
        async with client(Pieces([b"go", b"ne"], 404, False)).x.get.stream():
            pass
    assert caught.value.body == "gone"
    assert Streams.open == 0
    lenient = client(Pieces([json.dumps("gone").encode()], 404, False), raise_for_status=False)
    async with lenient.x.get.stream() as stream:
        assert (stream.status, await stream.read()) == (404, b'"gone"')


async def test_a_stream_is_tried_again_until_its_head_came() -> None:
    reader = client(Pieces([], 503, False), b"ok")
    async with reader.x.get.stream() as stream:
        assert await stream.read() == b"ok"
        assert Streams.open == 1
    assert Streams.open == 0


async def test_a_line_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "MAX_MESSAGE", 8)
    async with client(Pieces([b"x" * 6] * 3, 200, False)).x.get.stream() as stream:
        with pytest.raises(ServiceUnavailableError, match="longer than 8"):
            await anext(stream.lines())


async def test_outside_of_the_stream_there_is_nothing() -> None:
    stream = client(b"x").x.get.stream()
    with pytest.raises(RuntimeError, match="enter"):
        _ = stream.status
    assert Streams.calls == []
