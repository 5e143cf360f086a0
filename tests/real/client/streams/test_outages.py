"""Server and engine are killed in the middle: publishers and readers lose and repeat nothing."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from downstage import client
from downstage.client.streams import Pull
from downstage.client.streams.wire import Broken, Wire
from downstage.kernel.errors import Lagged, Unavailable
from downstage.streams import Client, Gap, Receipt
from downstage.testing.streams import StreamsProcess

from .conftest import kill_engine, unique

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

LONG_S = 60
TOTAL = 1200


@pytest.fixture
def mortal() -> Iterator[StreamsProcess]:
    """A server to kill."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    with StreamsProcess(folder / "data", overrides={"streams.keep_count": 100_000}) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def opened(mortal: StreamsProcess) -> Iterator[Client]:
    """A client of it."""
    client.initialize()
    with Client(mortal.url, token=mortal.tokens["alice"], patience_s=LONG_S) as found:
        yield found
    client.shutdown()


def restart(server: StreamsProcess) -> None:
    server.kill()
    server.start()


def drain(pull: Pull) -> None:
    while True:
        pull.take()


class Producer(threading.Thread):
    """Pushes numbers, in order, and keeps the receipts."""

    def __init__(self, opened: Client, stream: str) -> None:
        super().__init__()
        self.ids = list[str]()
        self.repeated = 0
        self.failed: BaseException | None = None
        self._opened = opened
        self._stream = stream

    def _told(self, receipt: Receipt) -> None:
        self.ids += receipt.ids
        self.repeated += receipt.repeated

    def run(self) -> None:
        try:
            with self._opened.push(self._stream, batch=8, on_receipt=self._told) as push:
                for number in range(TOTAL):
                    push.send(b"%d" % number)
                    if number % 8 == 7:
                        time.sleep(0.005)
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.failed = error


def test_nothing_is_lost_or_repeated(mortal: StreamsProcess, opened: Client) -> None:
    stream, gaps = unique(), list[Gap]()
    producer = Producer(opened, stream)
    found = list[tuple[str, int]]()
    blows: list[tuple[int, Callable[[StreamsProcess], None]]] = [
        (TOTAL // 5, restart),
        (TOTAL * 2 // 5, kill_engine),
        (TOTAL * 3 // 5, restart),
        (TOTAL * 4 // 5, kill_engine),
    ]
    with opened.pull(
        stream, f"{stream}-*", count=TOTAL, timeout=LONG_S, on_gap=gaps.append
    ) as pull:
        producer.start()
        for entry in pull:
            found.append((entry.id, int(entry.data)))
            if blows and len(found) >= blows[0][0]:
                blows.pop(0)[1](mortal)
    producer.join(LONG_S)
    assert producer.failed is None
    assert [number for _, number in found] == list(range(TOTAL))
    assert [id_ for id_, _ in found] == producer.ids
    assert not gaps
    assert len(list(opened.range(stream))) == TOTAL


def test_what_was_stored_and_not_acknowledged_is_not_stored_again(
    streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks between the store and the answer."""
    stream, told, lost = unique(), list[Receipt](), list[str | bytes]()
    receive = Wire.receive

    async def lossy(self: Wire) -> str | bytes:
        message = await receive(self)
        if len(lost) < 2:
            lost.append(message)
            raise Broken("The answer was lost.")
        return message

    with streams.push(stream, batch=4, on_receipt=told.append) as push:
        push.store(b"first")
        monkeypatch.setattr(Wire, "receive", lossy)
        for number in range(12):
            push.send(b"%d" % number)
        push.flush(LONG_S)
    assert len(lost) == 2
    assert any(receipt.repeated for receipt in told)
    stored = list(streams.range(stream))
    assert [entry.data for entry in stored] == [b"first", *(b"%d" % n for n in range(12))]
    assert [entry.id for entry in stored] == [id_ for receipt in told for id_ in receipt.ids]


def test_what_comes_before_the_first_entry_is_not_lost(streams: Client) -> None:
    """A reader of what is new, of a pattern, that had nothing yet when the server went away."""
    stream, other = unique("quiet"), unique("quiet")
    with streams.push(stream) as push:
        push.send(b"old")
    with streams.pull("quiet-*", timeout=LONG_S, count=2) as pull:
        pull.close()  # as if the connection had gone
        with streams.push() as push:
            push.send(b"new", stream=stream)
            push.send(b"first", stream=other)
        assert {(entry.stream, entry.data) for entry in pull} == {
            (stream, b"new"),
            (other, b"first"),
        }


def test_what_is_no_longer_kept_is_told_as_a_gap(streams: Client) -> None:
    stream, gaps = unique(), list[Gap]()
    with streams.push(stream, retention={"count": 10}) as push:
        push.store(b"0")
        with streams.pull(stream, last="0", timeout=LONG_S, on_gap=gaps.append) as pull:
            (first,) = pull.take(1)
            pull.close()
            for number in range(1, 500):
                push.send(b"%d" % number)
            push.flush(LONG_S)
            streams.trim(stream, keep=10)
            found = [int(entry.data) for entry in pull.take(64)]
        assert found[:1] == [490]
        assert gaps == [Gap(stream, first.id, None)]


def test_C09_a_slow_reader_skips_if_it_wants_to(streams: Client) -> None:
    stream = unique()
    with streams.push(stream) as push, streams.pull(stream, latest=True, timeout=LONG_S) as pull:
        for number in range(300):
            push.send(b"%d" % number + bytes(100_000))
        push.flush(LONG_S)
        end = time.monotonic() + LONG_S
        seen = list[int]()
        while not seen or seen[-1] != 299:
            assert time.monotonic() < end
            time.sleep(0.02)
            seen += [int(entry.data.rstrip(b"\0")) for entry in pull.take(1)]
        assert seen == sorted(set(seen))
        assert len(seen) + pull.skipped == 300
        assert pull.skipped > 0


def test_C09_a_slow_reader_gets_all_that_is_kept(streams: Client) -> None:
    stream = unique()
    with streams.push(stream) as push, streams.pull(stream, timeout=LONG_S, count=300) as pull:
        for number in range(300):
            push.send(b"%d" % number + bytes(200_000))  # 60 MB: more than may wait anywhere
        push.flush(LONG_S)
        assert [int(entry.data.rstrip(b"\0")) for entry in pull] == list(range(300))


def test_C09_a_reader_that_fell_behind_is_told(streams: Client) -> None:
    stream, gaps = unique(), list[Gap]()
    size = 200_000
    with (
        streams.push(stream, retention={"count": 10}) as push,
        streams.pull(stream, timeout=LONG_S) as strict,
        streams.pull(stream, timeout=LONG_S, on_gap=gaps.append) as lenient,
    ):
        for number in range(300):
            push.send(b"%d" % number + bytes(size))
        push.flush(LONG_S)
        streams.trim(stream, keep=10)
        with pytest.raises(Lagged):
            drain(strict)
        found = list[int]()
        while not found or found[-1] != 299:
            found += [int(entry.data.rstrip(b"\0")) for entry in lenient.take()]
    assert found == sorted(set(found))
    assert found[-10:] == list(range(290, 300))
    assert {gap.stream for gap in gaps} == {stream}


def test_live_pictures_give_way_until_the_server_is_given_up(
    mortal: StreamsProcess, opened: Client
) -> None:
    stream = unique()
    with opened.push(stream, when_full="drop", in_flight=100_000) as push:
        push.store(b"before")
        mortal.kill()
        for _ in range(100):
            push.send(bytes(10_000))
        mortal.start()
        push.send(b"after")
        push.flush(LONG_S)
        assert push.dropped > 50
    stored = [len(entry) for entry in opened.range(stream)]
    assert (stored[0], stored[-1]) == (6, 5)
    with Client(mortal.url, token=mortal.tokens["alice"], patience_s=0.5) as impatient:
        push = impatient.push(stream)
        push.__enter__()
        with impatient.pull(stream, last="0") as pull:
            assert pull.take()
            mortal.kill()
            push.send(b"lost")
            with pytest.raises(Unavailable):
                drain(pull)
        with pytest.raises(Unavailable):
            push.flush(LONG_S)
        with pytest.raises(Unavailable):
            push.send(b"3")
    mortal.start()  # its engine outlived it, and is ended as it should
