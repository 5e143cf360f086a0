"""Trains out, answers back, whatever an engine says to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from downstage.kernel.errors import BadId, PlatformError, StoreFull, Unavailable
from downstage.kernel.settings import Settings
from downstage.streams.engine import Buffer, Lost, NotReady
from downstage.streams.engine.resp import Replies
from downstage.streams.model import StreamSpec
from downstage.streams.outbox import HOLD_S, Answer, Outbox, Unit
from downstage.streams.outlet import Outlet
from downstage.streams.retention import bounds
from downstage.streams.stats import StreamFigures

pytestmark = [pytest.mark.unit, pytest.mark.anyio]
LOADING = NotReady("loading", "LOADING")
SENT, UNSENT = Lost("broke", sent=True), Lost("broke", sent=False)


class ScriptedWay:
    """Keeps trains; the test answers them."""

    is_open = True

    def __init__(self) -> None:
        self.trains: list[tuple[bytes, int, Replies]] = []

    def send(
        self, buffers: Sequence[Buffer], replies: int, on_replies: Replies, *, size: int = 0
    ) -> None:
        self.trains.append((b"".join(buffers), replies, on_replies))

    def answer(self, *replies: Any) -> bytes:
        """Answer the oldest train; returns what it was."""
        sent, count, tell = self.trains.pop(0)
        assert len(replies) == count
        tell(list(replies))
        return sent


class ScriptedPart:
    """What an outlet asks of its part."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def outbox_of(self, spec: StreamSpec) -> Outbox:
        return self._outbox


class Bench:
    """An outbox with one stream."""

    def __init__(self, *, high: int = 1 << 20, waits: int = 0) -> None:
        self.way = ScriptedWay()
        self.outbox = Outbox(self.way, b"marker", high, waits=waits)
        self.troubles = 0
        self.outbox.on_trouble = self._trouble
        part: Any = ScriptedPart(self.outbox)
        spec = StreamSpec()
        self.outlet = Outlet(
            b"key",
            part,
            spec,
            bounds(spec.retention, Settings().streams),
            StreamFigures("tenant", "s"),
        )
        self.answers: dict[str, list[Answer]] = {}

    def _trouble(self) -> None:
        self.troubles += 1

    def push(self, *payloads: bytes, wants_answer: bool = False) -> None:
        """One unit; its answers come under its first payload."""
        name = payloads[0].decode()

        def tell(unit: Unit, got: list[Answer]) -> None:
            assert unit.count == len(got)
            self.answers.setdefault(name, []).extend(got)

        unit = self.outbox.begin(object(), tell, [self.outlet])
        for payload in payloads:
            unit.count += 1
            unit.size += len(payload)
            self.outbox.out += (self.outlet.head(len(payload)), payload, b"\r\n")
        if wants_answer:
            self.outbox.want_answer()

    async def turn(self) -> None:
        """Let the loop turn."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def exact(*results: Any) -> tuple[Any, ...]:
    """Replies to a train that somebody waits for."""
    return (b"OK", *[b"QUEUED"] * (len(results) + 1), [*results, b"OK"])


async def test_one_turn_is_one_train() -> None:
    bench = Bench()
    bench.push(b"a")
    bench.push(b"b", b"c")
    await bench.turn()
    sent = bench.way.answer(b"1-0", b"2-0", b"3-0")
    assert sent.count(b"XADD") == 3
    assert b"MULTI" not in sent
    assert bench.answers == {"a": [b"1-0"], "b": [b"2-0", b"3-0"]}
    assert bench.outbox.in_flight == 0


async def test_a_train_somebody_waits_for_is_one_transaction_with_a_marker() -> None:
    bench = Bench()
    bench.push(b"a")
    bench.push(b"b", wants_answer=True)
    await bench.turn()
    bad = BadId("id", "old")
    sent = bench.way.answer(*exact(b"1-0", bad))
    assert sent.startswith(b"*1\r\n$5\r\nMULTI")
    assert sent.endswith(b"*1\r\n$4\r\nEXEC\r\n")
    assert b"marker\r\n$1\r\n1\r\n" in sent
    assert bench.answers == {"a": [b"1-0"], "b": [bad]}


async def test_a_refused_transaction_refuses_all_of_it() -> None:
    bench = Bench()
    bench.push(b"a", b"b", wants_answer=True)
    await bench.turn()
    full = StoreFull("full")
    bench.way.answer(b"OK", full, full, b"QUEUED", PlatformError("EXECABORT"))
    assert bench.answers == {"a": [full, full]}


async def test_what_was_not_taken_goes_again_in_order() -> None:
    bench = Bench()
    for name in (b"a", b"b"):
        bench.push(name, wants_answer=True)
        await bench.turn()
    bench.way.answer(LOADING, LOADING, LOADING, LOADING)
    bench.way.answer(*[UNSENT] * 4)
    bench.push(b"c")
    await bench.turn()
    assert not bench.way.trains
    assert bench.troubles
    bench.outbox.resume(0, lambda train: [])
    sent = [train[0] for train in bench.way.trains]
    assert [next(name for name in b"abc" if b"\r\n%c\r\n" % name in each) for each in sent] == [
        *b"abc"
    ]


async def test_single_entries_that_were_not_taken_go_again() -> None:
    bench = Bench()
    bench.push(b"a", b"b")
    bench.push(b"c", b"d")
    await bench.turn()
    bench.way.answer(b"1-0", LOADING, SENT, LOADING)
    assert bench.outbox.lost == 1
    assert bench.answers == {"a": [b"1-0"], "c": [SENT]}
    bench.outbox.resume(0, lambda train: [])
    sent = bench.way.answer(b"2-0", b"4-0")
    assert [b"\r\n%b\r\n" % name in sent for name in (b"a", b"b", b"c", b"d")] == [
        False,
        True,
        False,
        True,
    ]
    assert bench.answers == {"a": [b"1-0", b"2-0"], "c": [SENT, b"4-0"]}
    assert bench.outbox.in_flight == 0


async def test_the_marker_says_which_trains_were_done() -> None:
    bench = Bench()
    for name in (b"a", b"b", b"c"):
        bench.push(name, wants_answer=True)
        await bench.turn()
    bench.way.answer(b"OK", SENT, SENT, SENT)
    bench.way.answer(*[SENT] * 4)
    bench.way.answer(*[SENT] * 4)
    assert [train.number for train in bench.outbox.unknown] == [1, 2, 3]
    bench.outbox.resume(2, lambda train: [b"%d-0" % train.number])
    assert bench.answers == {"a": [b"1-0"], "b": [b"2-0"]}
    sent = bench.way.answer(*exact(b"9-0"))
    assert b"marker\r\n$1\r\n3\r\n" in sent
    assert bench.answers["c"] == [b"9-0"]


async def test_what_waits_too_long_is_refused() -> None:
    bench = Bench()
    bench.push(b"a", wants_answer=True)
    await bench.turn()
    bench.way.answer(*[SENT] * 4)
    bench.push(b"b")
    await bench.turn()
    now = asyncio.get_running_loop().time()
    bench.outbox.expire(now)
    assert not bench.answers
    bench.outbox.expire(now + HOLD_S + 1)
    assert all(isinstance(got[0], Unavailable) for got in bench.answers.values())
    assert bench.answers.keys() == {"a", "b"}
    assert bench.outbox.in_flight == 0
    bench.outbox.resume(0, lambda train: [])
    assert not bench.way.trains


async def test_giving_up_answers_everybody() -> None:
    bench = Bench()
    bench.push(b"a", wants_answer=True)
    await bench.turn()
    bench.way.answer(*[SENT] * 4)
    bench.push(b"b")
    await bench.turn()
    bench.outbox.give_up()
    assert bench.answers.keys() == {"a", "b"}


async def test_pressure_is_told_at_the_mark_and_half_of_it() -> None:
    bench = Bench(high=1000)
    told: list[bool] = []
    bench.outbox.pressure.add(told.append)
    for _ in range(4):
        bench.push(bytes(400))
        await bench.turn()
    assert told == [True]
    bench.way.answer(b"1-0")
    bench.way.answer(b"2-0")
    assert told == [True]
    bench.way.answer(b"3-0")
    assert told == [True, False]


async def test_a_replica_is_waited_for() -> None:
    bench = Bench(waits=500)
    for copies, expected in ((1, bytes), (0, Unavailable)):
        bench.push(b"a")
        await bench.turn()
        sent = bench.way.answer(*exact(b"1-0"), copies)
        assert sent.endswith(b"WAIT\r\n$1\r\n1\r\n$3\r\n500\r\n")
        assert isinstance(bench.answers.pop("a")[0], expected)


async def test_one_who_raises_harms_nobody() -> None:
    bench = Bench()

    def tell(unit: Unit, got: list[Answer]) -> None:
        raise ValueError("a defect of the dialect")

    unit = bench.outbox.begin(object(), tell, [bench.outlet])
    unit.count = 1
    bench.outbox.out += (bench.outlet.head(1), b"x", b"\r\n")
    bench.push(b"b")
    await bench.turn()
    bench.way.answer(b"1-0", b"2-0")
    assert bench.answers == {"b": [b"2-0"]}
