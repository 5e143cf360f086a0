"""A lane without a socket: what leaves, who is told what, and in which order."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from typing import Any, cast

import anyio
import pytest

from downstage.kernel.errors import PlatformError, StoreFull
from downstage.streams.engine import Lane, Lost, Moved, NotReady, encode

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Pipe(asyncio.Transport):
    """Keeps what is written, one list for each `writelines`."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.written.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


def connected(high: int = 1 << 20) -> tuple[Lane, Pipe]:
    lane, pipe = Lane(high=high), Pipe()
    lane.connection_made(pipe)
    return lane, pipe


def answer(lane: Lane, data: bytes) -> None:
    view = lane.get_buffer(-1)
    for start in range(0, len(data), len(view)):
        piece = data[start : start + len(view)]
        view[: len(piece)] = piece
        lane.buffer_updated(len(piece))


async def test_a_turn_of_the_loop_leaves_in_one_write() -> None:
    lane, pipe = connected()
    for number in range(3):
        lane.send([b"a%d" % number, memoryview(b"b")], 1, lambda _: None)
    assert pipe.written == []
    await asyncio.sleep(0)
    assert pipe.written == [b"a0ba1ba2b"]


async def test_replies_go_to_the_trains_in_order_whatever_the_cut() -> None:
    stream = b"$3\r\n1-0\r\n+OK\r\n*2\r\n:7\r\n$-1\r\n$2\r\n\r\n\r\n"
    for cut in range(1, len(stream)):
        lane, _ = connected()
        got: list[Any] = []
        lane.send([b"x"], 2, lambda r, got=got: got.append(("first", r)))
        lane.send([b"y"], 1, lambda r, got=got: got.append(("second", r)))
        lane.send([b"z"], 1, lambda r, got=got: got.append(("third", r)))
        answer(lane, stream[:cut])
        answer(lane, stream[cut:])
        assert got == [
            ("first", [b"1-0", b"OK"]),
            ("second", [[7, None]]),
            ("third", [b"\r\n"]),
        ]


async def test_an_error_among_replies_is_one_of_them() -> None:
    lane, _ = connected()
    got: list[Any] = []
    lane.send([b"x"], 3, got.extend)
    answer(lane, b"$3\r\n1-0\r\n-OOM command not allowed\r\n$3\r\n2-0\r\n")
    assert got[0] == b"1-0"
    assert isinstance(got[1], StoreFull)
    assert got[2] == b"2-0"


async def test_a_callback_may_send() -> None:
    lane, pipe = connected()
    got: list[Any] = []
    lane.send([b"x"], 1, lambda _: lane.send([b"y"], 1, got.extend))
    answer(lane, b"+1\r\n")
    await asyncio.sleep(0)
    answer(lane, b"+2\r\n")
    assert got == [b"2"]
    assert pipe.written == [b"xy"]


async def test_what_breaks_is_told_to_everybody_once() -> None:
    lane, _ = connected()
    told: list[list[Any]] = []
    ends: list[int] = []
    lane.on_lost.add(lambda _: ends.append(len(told)))
    lane.send([b"x"], 3, told.append)
    lane.send([b"y"], 1, told.append)
    answer(lane, b"$3\r\n1-0\r\n")
    lane.connection_lost(OSError("gone"))
    assert [len(replies) for replies in told] == [3, 1]
    assert told[0][0] == b"1-0"
    unknown = [reply for replies in told for reply in replies[-2:] if reply != b"1-0"]
    assert all(isinstance(reply, Lost) and reply.sent for reply in unknown)
    assert ends == [2]
    assert lane.in_flight == 0


async def test_what_is_sent_without_a_connection_surely_never_left() -> None:
    lane, pipe = connected()
    pipe.closing = True
    told: list[Any] = []
    lane.send([b"x"], 2, told.extend)
    assert told == []
    await asyncio.sleep(0)
    assert [(type(reply), reply.sent) for reply in told] == [(Lost, False)] * 2
    with pytest.raises(Lost):
        await lane.call("PING")


async def test_pressure_is_told_at_the_marks_alone() -> None:
    lane, _ = connected(high=100)
    told: list[bool] = []
    lane.pressure.add(told.append)
    for _ in range(4):
        lane.send([bytes(30)], 1, lambda _: None)
    assert (told, lane.in_flight) == ([True], 120)
    answer(lane, b"+OK\r\n+OK\r\n")
    assert told == [True]
    answer(lane, b"+OK\r\n")
    assert (told, lane.in_flight) == ([True, False], 30)


async def test_pressure_ends_with_the_connection() -> None:
    lane, _ = connected(high=100)
    told: list[bool] = []
    lane.pressure.add(told.append)
    lane.send([bytes(101)], 1, lambda _: None)
    lane.connection_lost(None)
    assert told == [True, False]


async def test_the_size_may_be_given() -> None:
    lane, _ = connected()
    lane.send([b"12345"], 1, lambda _: None, size=1000)
    assert lane.in_flight == 1000


async def test_a_call_has_a_deadline_and_its_late_answer_is_nobodys() -> None:
    lane, _ = connected()
    with pytest.raises(NotReady, match="did not answer"):
        await lane.call("SLOW", deadline_s=0.001)
    second = cast("asyncio.Future[Any]", lane.call("PING"))
    answer(lane, b"+late\r\n+PONG\r\n")
    assert await second == b"PONG"


async def test_a_call_may_be_cancelled() -> None:
    lane, _ = connected()
    with anyio.move_on_after(0.001):
        await lane.call("SLOW")
    answer(lane, b"+late\r\n")
    assert lane.in_flight == 0


async def test_an_answer_to_nothing_breaks_the_connection() -> None:
    lane, pipe = connected()
    answer(lane, b"+OK\r\n")
    assert pipe.closing


async def test_nonsense_breaks_the_connection() -> None:
    lane, pipe = connected()
    lane.send([b"x"], 1, lambda _: None)
    answer(lane, b"?what\r\n")
    assert pipe.closing


async def test_a_callback_that_fails_breaks_the_connection() -> None:
    lane, pipe = connected()

    def fail(_: list[Any]) -> None:
        raise KeyError

    lane.send([b"x"], 1, fail)
    with pytest.raises(KeyError):
        answer(lane, b"+OK\r\n")
    assert pipe.closing


async def test_a_large_reply_comes_in_pieces() -> None:
    lane, _ = connected()
    got: list[Any] = []
    lane.send([b"x"], 1, got.extend)
    body = bytes(range(256)) * 4096
    answer(lane, b"$%d\r\n%b\r\n" % (len(body), body))
    assert got == [body]


async def test_moves_are_told_where_they_matter() -> None:
    lane, _ = connected()
    told: list[PlatformError] = []
    lane.on_trouble = told.append
    lane.send([b"x"], 3, lambda _: None)
    answer(lane, b"-MOVED 3999 127.0.0.1:6381\r\n-ERR no\r\n-READONLY You can't write\r\n")
    assert [type(error) for error in told] == [Moved, NotReady]


async def test_stalled_counts_while_something_waits() -> None:
    lane, _ = connected()
    assert lane.stalled_s == 0.0
    lane.send([b"x"], 1, lambda _: None)
    await asyncio.sleep(0.001)
    assert lane.stalled_s > 0.0
    answer(lane, b"+OK\r\n")
    assert lane.stalled_s == 0.0


def test_commands_are_encoded() -> None:
    assert encode("XADD", b"k", 5, memoryview(b"\r\n")) == (
        b"*4\r\n$4\r\nXADD\r\n$1\r\nk\r\n$1\r\n5\r\n$2\r\n\r\n\r\n"
    )


async def test_a_call_that_nobody_awaits_any_more_leaves_no_error_behind() -> None:
    lane, _ = connected()
    left_behind = list[dict[str, Any]]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, what: left_behind.append(what))
    first, second = lane.call("PING"), lane.call("PING")
    lane.connection_lost(None)
    with pytest.raises(Lost):
        await first  # so that the second is never awaited
    del second
    gc.collect()
    loop.set_exception_handler(None)
    assert left_behind == []
