"""What processes of the data plane tell each other, who takes a socket, how figures add up."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from downstage.bus import MemoryBus
from downstage.kernel.settings import Settings, load
from downstage.streams.model import Caller, Grant, Right
from downstage.streams.service import Streams
from downstage.streams.stats import StreamFigures, Totals
from downstage.streams.workers.board import COUNTERS, Board
from downstage.streams.workers.channel import MAX_PACKET, Channel, pair
from downstage.streams.workers.messages import (
    Close,
    Ended,
    Hint,
    Message,
    Open,
    Teller,
    Told,
    Who,
    hello_of,
    settings_of,
)
from downstage.streams.workers.pool import OF_ONE, Pool, least_loaded, without_proof
from downstage.streams.workers.remote import Remote
from downstage.streams.workers.worker import LinkedBus

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CALLER = Caller(
    "u-1",
    "Ann",
    "main",
    (Grant("cam-*", Right.READ | Right.WRITE), Grant("*", Right.READ, of_sessions=True)),
)


def test_callers_arrive_as_they_are() -> None:
    assert Who.of(CALLER).caller() == CALLER


def test_settings_arrive_with_their_secrets() -> None:
    settings = load(
        environment={},
        overrides={
            "streams.url": "redis://me:pass@127.0.0.1:1/0",
            "streams.keep_age": "PT90S",
            "streams.workers": 3,
            "log.level": "debug",
        },
    )
    found = settings_of(hello_of(1, settings, "/f"))
    assert found.streams == settings.streams
    assert found.streams.url is not None
    assert "pass" in found.streams.url.get_secret_value()
    assert (found.log.level, found.platform) == ("debug", Settings().platform)


class End:
    """One end of a line, and what it heard."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[tuple[Message, int | None]] = []
        self.is_lost = asyncio.Event()
        self.more = asyncio.Event()
        self.channel = Channel(sock, self._hear, self.is_lost.set)

    def _hear(self, message: Message, handle: int | None) -> None:
        self.heard.append((message, handle))
        self.more.set()

    async def until(self, count: int) -> list[tuple[Message, int | None]]:
        with anyio.fail_after(10):
            while len(self.heard) < count:
                self.more.clear()
                await self.more.wait()
        return self.heard


async def test_messages_and_connections_come_in_order() -> None:
    ours, theirs = (End(sock) for sock in pair())
    read, write = os.pipe()
    order = Open(7, "ptg-push", "/data/a/push", b"ack=1", Who.of(CALLER), 1, 2.0, b"101", b"e", "r")
    sent: list[Message] = [Hint("streams.index", {"a": 1}), order, Close(7, 1008, "x"), Ended(7)]
    for message in sent:
        assert ours.channel.send(message, write if message is order else None)
    os.close(write)
    found = await theirs.until(len(sent))
    assert [message for message, _ in found] == sent
    handles = [handle for _, handle in found]
    assert [handle is None for handle in handles] == [True, False, True, True]
    handle = cast("int", handles[1])
    assert not os.get_inheritable(handle)
    os.write(handle, b"here")
    os.close(handle)
    assert os.read(read, 9) == b"here"
    assert os.read(read, 9) == b"", "no copy is left"
    os.close(read)
    ours.channel.close()
    with anyio.fail_after(10):
        await theirs.is_lost.wait()
    assert not theirs.channel.send(Ended(1))
    assert theirs.channel.is_busy


async def test_whoever_does_not_read_is_waited_for_and_nothing_is_lost() -> None:
    ours_sock, theirs_sock = pair()
    ours = End(ours_sock)
    while not ours.channel.is_busy:
        assert ours.channel.send(Hint("streams.x", {"text": "x" * 1000}))
    assert not ours.channel.send(Hint("streams.x", {"text": "x" * MAX_PACKET}))
    ours.channel.send(Ended(9))
    theirs = End(theirs_sock)
    with anyio.fail_after(10):
        while not theirs.heard or theirs.heard[-1][0] != Ended(9):
            theirs.more.clear()
            await theirs.more.wait()
    assert not ours.channel.is_busy
    ours.channel.close()
    theirs.channel.close()


async def test_what_cannot_be_read_deafens_nobody() -> None:
    ours_sock, theirs_sock = pair()
    theirs = End(theirs_sock)
    ours_sock.send(b"\xff\x00")
    read, write = os.pipe()
    socket.send_fds(ours_sock, [b"\x01"], [write])
    os.close(write)
    ours = End(ours_sock)
    ours.channel.send(Ended(1))
    assert (await theirs.until(1))[0][0] == Ended(1)
    assert os.read(read, 1) == b"", "a connection that came with it is closed"
    os.close(read)
    ours.channel.close()
    theirs.channel.close()


async def test_hints_do_not_come_back() -> None:
    told = list[Message]()
    bus = LinkedBus(told.append)
    async with bus.subscribe("streams.>") as messages:
        bus.publish("streams.index", {"process": "here"})
        bus.hear(Hint("streams.index", {"process": "there"}))
        heard = [(await anext(messages)).payload["process"] for _ in range(2)]
    assert heard == ["here", "there"]
    assert told == [Hint("streams.index", {"process": "here"})]


class Fake:
    """What the pool looks at, and tells."""

    def __init__(self, number: int, count: int, moved: int = 0, *, is_ready: bool = True) -> None:
        self.number, self.count, self.moved, self.is_ready = number, count, moved, is_ready
        self.origin = f"process-{number}"
        self.hints = list[Hint]()

    def hint(self, hint: Hint) -> None:
        self.hints.append(hint)

    async def run(self) -> None:
        await anyio.sleep_forever()


async def test_hints_go_to_all_but_whom_they_are_of() -> None:
    bus, fakes = MemoryBus(), [Fake(1, 0), Fake(2, 0)]
    settings = load(environment={}, overrides={"streams.workers": 2})

    async def at_once() -> None:
        return

    pool = Pool(settings, Path("/f"), bus, cast("Streams", None), at_once)
    pool.remotes = cast("list[Remote]", fakes)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.run)
        await anyio.wait_all_tasks_blocked()
        for process in ("process-1", "the first one"):
            pool.heard(cast("Remote", fakes[0]), Hint("streams.index", {"process": process}))
        pool.heard(cast("Remote", fakes[0]), Hint("sessions.ended", {"process": "process-1"}))
        bus.publish("sessions.ended", {})
        await anyio.wait_all_tasks_blocked()
        await pool.stop()
    heard = [[hint.payload["process"] for hint in fake.hints] for fake in fakes]
    assert heard == [["the first one"], ["process-1", "the first one"]]


@pytest.mark.parametrize(
    ("remotes", "chosen"),
    [
        pytest.param([], None, id="none"),
        pytest.param([Fake(1, 0, is_ready=False)], None, id="none is ready"),
        pytest.param([Fake(1, 0), Fake(2, 0)], 1, id="the first of those alike"),
        pytest.param([Fake(1, 3), Fake(2, 2), Fake(3, 4)], 2, id="the fewest sockets"),
        pytest.param([Fake(1, 0, is_ready=False), Fake(2, 9)], 2, id="of those ready"),
        pytest.param([Fake(1, 1, 5 * OF_ONE), Fake(2, 5)], 2, id="bytes count, too"),
    ],
)
def test_who_takes_the_next(remotes: list[Any], chosen: int | None) -> None:
    found = least_loaded(cast("list[Remote]", remotes))
    assert (None if found is None else found.number) == chosen


def test_what_proved_who_asks_stays_here() -> None:
    assert without_proof(b"ack=1&a=%20&b=") == b"ack=1&a=%20&b="
    assert without_proof(b"token=s3cret&ack=1&%74oken=again&b=") == b"ack=1&b="


class Figures:
    """A board, and what it said was stored."""

    def __init__(self) -> None:
        self.stored = Counter[str]()
        self.board = Board(self._stored)
        self.tellers = {1: Teller(), 2: Teller()}

    def _stored(self, tenant: str, stream: str, entries: int, size: int) -> None:
        assert size == 10 * entries
        self.stored[f"{tenant}/{stream}"] += entries

    def tell(self, worker: int, totals: Totals, **entries: int) -> list[Told]:
        figures = [
            StreamFigures("main", name, entries_in=n, bytes_in=10 * n, subscribers=1)
            for name, n in entries.items()
        ]
        messages = self.tellers[worker].tell(totals, figures)
        for message in messages:
            self.board.told(worker, message)
        return messages

    def shown(self, *own: StreamFigures) -> dict[str, tuple[int, int]]:
        found = self.board.figures(own)
        return {item.stream: (item.entries_in, item.subscribers) for item in found}


def test_figures_of_all_add_up() -> None:
    figures = Figures()
    figures.tell(1, Totals(entries_in=3, subscriptions=1), a=2, b=1)
    figures.tell(2, Totals(entries_in=5, subscriptions=2), a=5)
    own = StreamFigures("main", "a", entries_in=10, rate=7.0)
    assert figures.shown(own) == {"a": (17, 2), "b": (1, 1)}
    assert own.entries_in == 10, "it is the service's own"
    assert figures.board.figures([own])[0].rate == 7.0
    total = figures.board.totals(Totals(entries_in=10, subscriptions=1))
    assert (total.entries_in, total.subscriptions) == (18, 4)
    assert figures.stored == {"main/a": 7, "main/b": 1}


def test_only_what_changed_is_told_of_streams() -> None:
    figures = Figures()
    figures.tell(1, Totals(), a=2, b=1)
    (message,) = figures.tell(1, Totals(bytes_in=30), a=2, b=3)
    assert [row[1] for row in message.rows] == ["b"]
    assert message.moved == 30
    assert figures.shown() == {"a": (2, 1), "b": (3, 1)}
    many = figures.tell(1, Totals(bytes_in=30), **{f"s{n}": 1 for n in range(600)})
    assert len(many) == 3
    assert len(figures.shown()) == 602


def test_counters_never_fall_whoever_dies_and_gauges_do() -> None:
    figures = Figures()
    figures.tell(1, Totals(entries_in=3, gaps=1, producers=2, in_flight=9, live=1), a=3)
    figures.board.gone(1)
    figures.board.gone(1)  # told once more: nothing counts twice
    total = figures.board.totals(Totals())
    assert (total.entries_in, total.gaps) == (3, 1)
    assert (total.producers, total.in_flight, total.live) == (0, 0, 0)
    assert figures.shown() == {"a": (3, 0)}
    figures.tellers[1] = Teller()
    figures.tell(1, Totals(entries_in=1), a=1)  # the one that took its place
    assert figures.board.totals(Totals()).entries_in == 4
    assert figures.shown() == {"a": (4, 1)}
    assert figures.stored == {"main/a": 4}


def test_a_worker_that_forgot_an_idle_stream_begins_it_anew() -> None:
    figures = Figures()
    figures.tell(1, Totals(), a=5)
    figures.tell(1, Totals(), a=2)
    assert figures.shown() == {"a": (7, 1)}
    assert figures.stored == {"main/a": 7}


def test_every_figure_is_a_counter_or_ends_with_its_process() -> None:
    assert set(COUNTERS) == {
        "entries_in", "bytes_in", "entries_out", "bytes_out", "refused", "unknown", "repeated",
        "skipped", "lagged", "gaps", "slow",
    }  # fmt: skip


def test_rates_know_of_what_workers_stored() -> None:
    figures = StreamFigures("main", "a", entries_in=1, entries_elsewhere=9, entries_seen=4)
    for _ in range(100):
        figures.entries_elsewhere += 10
        figures.tick(1.0, 0.0)
    assert figures.rate == pytest.approx(10, rel=0.01)
