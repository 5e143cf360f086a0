"""The line: calls beside each other, slow readers, bad peers, ends of every kind."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from downstage.kernel.errors import PlatformError
from downstage.spawners.exec import CannotExec
from downstage.spawners.remote import line as lines
from downstage.spawners.remote.frames import MAX_PIECE, WINDOW, Frame, Kind, encode, json_of
from downstage.spawners.remote.line import Channel, Line
from downstage.spawners.remote.pipes import Pipes
from downstage.spawners.spawner import NodeUnreachable

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def answer(channel: Channel, asked: dict[str, Any]) -> None:
    """A peer that does as it is told."""
    match asked["do"]:
        case "echo":
            await channel.end(value=asked["value"])
        case "fail":
            raise CannotExec("It cannot.")
        case "break":
            raise ZeroDivisionError
        case "flood":
            for _ in range(10 * WINDOW):
                await channel.data(bytes(MAX_PIECE))
            await channel.end(value="done")
        case _:
            await anyio.sleep_forever()


@asynccontextmanager
async def both(served: Callable[..., Any] = answer) -> AsyncIterator[tuple[Line, Line]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        near = Line(Pipes(ours.fileno(), ours.fileno()))
        far = Line(Pipes(theirs.fileno(), theirs.fileno()), served, is_half=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(near.run)
            tasks.start_soon(far.run)
            with anyio.fail_after(30):
                yield near, far
            for end in (near, far):
                end.give_up("The test is over.")


@asynccontextmanager
async def alone() -> AsyncIterator[tuple[Line, socket.socket]]:
    """A line whose other end is the test's own."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        near = Line(Pipes(ours.fileno(), ours.fileno()))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(near.run)
            with anyio.fail_after(30):
                yield near, theirs
            near.give_up("The test is over.")


async def test_many_calls_at_once_each_get_their_own_answer() -> None:
    found = dict[int, int]()
    async with both() as (near, _), anyio.create_task_group() as tasks:

        async def ask(number: int) -> None:
            found[number] = await (await near.call("echo", value=number)).result()

        for number in range(50):
            tasks.start_soon(ask, number)
    assert found == {number: number for number in range(50)}


async def test_errors_keep_their_kind_and_faults_are_one_call_s_own() -> None:
    async with both() as (near, _):
        with pytest.raises(CannotExec, match="It cannot"):
            await (await near.call("fail")).result()
        with pytest.raises(PlatformError, match="ZeroDivisionError"):
            await (await near.call("break")).result()
        assert await (await near.call("echo", value="still there")).result() == "still there"


async def test_who_reads_slowly_holds_up_nobody_and_fills_nothing() -> None:
    async with both() as (near, _):
        slow = await near.call("flood")
        first = await slow.next()
        assert (first.kind, len(first.payload)) == (Kind.DATA, MAX_PIECE)
        for number in range(20):
            assert await (await near.call("echo", value=number)).result() == number
        count = 1
        while (frame := await slow.next()).kind is Kind.DATA:
            count += 1
        assert (count, frame.kind) == (10 * WINDOW, Kind.END)


async def test_who_has_enough_ends_what_is_served() -> None:
    ended = anyio.Event()

    async def serve(channel: Channel, asked: dict[str, Any]) -> None:
        try:
            await channel.item(begun=True)
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with both(serve) as (near, _):
        channel = await near.call("stay")
        await channel.next()
        await channel.leave()
        await ended.wait()
        with pytest.raises(NodeUnreachable):
            await channel.next()


async def test_an_end_of_the_stream_is_told_to_all_who_wait() -> None:
    cut = 0
    async with alone() as (near, theirs), anyio.create_task_group() as tasks:

        async def wait() -> None:
            nonlocal cut
            channel = await near.call("stay")
            with pytest.raises(NodeUnreachable):
                await channel.next()
            cut += 1

        for _ in range(3):
            tasks.start_soon(wait)
        data = b""
        while data.count(b"stay") < 3:
            await anyio.wait_readable(theirs)
            data += theirs.recv(4096)
        theirs.shutdown(socket.SHUT_WR)  # half-closed: they still read, and say nothing more
        await near.ended.wait()
    assert cut == 3
    with pytest.raises(NodeUnreachable):
        await near.call("echo")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        os.urandom(1) * 4096,
        encode(Frame(0, Kind.HELLO, b"[]")),
        encode(Frame(7, Kind.CALL, json_of({"do": "echo"}))),
        encode(Frame(1, Kind.END, b"no json")),
        encode(Frame(1, Kind.CREDIT, b"{")),
        encode(Frame(1, Kind.DATA)) * (WINDOW + lines.SLACK + 1),
    ],
    ids=["http", "noise", "hello", "call", "end", "credit", "flood"],
)
async def test_a_bad_peer_is_left(data: bytes) -> None:
    async with alone() as (near, theirs):
        channel = await near.call("stay")
        theirs.sendall(data)
        with pytest.raises(PlatformError):
            await channel.result()


async def test_a_silent_peer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SILENT_S", 0.2)
    async with alone() as (near, _):
        with pytest.raises(NodeUnreachable, match="said nothing"):
            await (await near.call("stay")).result()
