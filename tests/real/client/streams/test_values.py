"""The blocking client, and the other one: values there and back, and all that a server offers."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from downstage.contracts.arrays import NDARRAY
from downstage.kernel.errors import (
    BadId,
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from downstage.streams import AsyncClient, Client, Entry, Receipt
from downstage.testing.streams import StreamsProcess

from .conftest import unique

pytestmark = pytest.mark.real

CLOUD = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"x": 1.5, "names": ["ü"]}, "application/json"),
        ([1, 2, 3], "application/json"),
        (42, "application/json"),
        (None, "application/json"),
        ("text – with more", "text/plain; charset=utf-8"),
        (b"\x00\xffbytes", None),
        (b"", None),
    ],
)
def test_values_there_and_back(streams: Client, value: Any, kind: str | None) -> None:
    stream = unique()
    with streams.push(stream) as push:
        push.send(value)
        push.send(value)
    found = list(streams.pull(stream, last="0", count=2))
    assert [entry.value for entry in found] == [value, value]
    assert {entry.content_type for entry in found} == {kind}
    assert found[0].id < found[1].id
    assert abs(found[0].time - datetime.now(UTC)) < timedelta(minutes=5)


def test_arrays_keep_shape_and_type(streams: Client) -> None:
    stream = unique("cloud")
    with streams.push(stream) as push:
        push.send(CLOUD)
        push.send(np.array([[True, False]]))
        with pytest.raises(InvalidInput):
            push.send(np.array([object()]))
    first, second = streams.pull(stream, last="0", count=2).values()
    assert (first.dtype, first.shape) == (np.float32, (4, 6))
    np.testing.assert_array_equal(first, CLOUD)
    assert second.dtype == np.bool_
    assert streams.info(stream).content_type == NDARRAY


def test_pictures_of_opencv_and_pillow(streams: Client) -> None:
    stream = unique("cam")
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[:, :, 0] = 255  # as OpenCV has it
    with streams.push(stream) as push:
        push.send_image(blue, quality=95)
        push.send_image(blue[:, :, ::-1], order="RGB", form="image/png")
        push.send(Image.new("RGB", (64, 48), (0, 0, 255)))
        with pytest.raises(InvalidInput):
            push.send_image(np.zeros((4, 4, 7), np.uint8))
    found = list(streams.pull(stream, last="0", count=3))
    for entry in found:
        pixels = entry.value
        assert pixels.shape == (48, 64, 3)
        assert pixels[20, 20, 2] > 240
        assert pixels[20, 20, 0] < 20
        assert entry.array("BGR")[20, 20, 0] > 240
        assert entry.image().size == (64, 48)
    assert Image.open(io.BytesIO(found[0].data)).format == "JPEG"
    assert streams.info(stream).content_type == "image/jpeg"


def test_receipts_say_ids_and_what_is_promised(streams: Client) -> None:
    stream, told = unique(), list[Receipt]()
    with streams.push(stream, on_receipt=told.append, batch=10) as push:
        for number in range(35):
            push.send(number)
        push.flush(30)
        last = push.store("last")
        assert (push.sent, push.stored, push.dropped) == (36, 36, 0)
    ids = [id_ for receipt in told for id_ in receipt.ids]
    assert ids[-1:] == list(last.ids)
    assert (last.streams, last.durability, last.repeated) == ((stream,), "everysec", False)
    assert [entry.id for entry in streams.range(stream)] == ids


def test_ids_and_times_of_ones_own(streams: Client) -> None:
    stream = unique()
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    with streams.push(stream) as push:
        assert push.store(b"a", id="1000-5").ids == ("1000-5",)
        assert push.store(b"b", time=2.5).ids == ("2500-0",)
        assert push.store(b"c", time=at).ids[0].endswith("000-0")
        with pytest.raises(BadId):
            push.store(b"older", id="7-7")
        push.send(b"older", id="8-8")
        with pytest.raises(BadId):
            push.flush()
        push.store(b"d")  # and it goes on
    assert [entry.data for entry in streams.range(stream)] == [b"a", b"b", b"c", b"d"]
    found = streams.at(at, stream, how="previous")[stream]
    assert found is not None
    assert (found.data, found.time) == (b"c", at)
    assert streams.at(10, stream, tolerance_ms=5) == {stream: None}


def test_a_loop_that_was_left_goes_on_where_it_was(streams: Client) -> None:
    stream = unique()
    with streams.push(stream) as push:
        for number in range(200):
            push.send(number)
    pull, found = streams.pull(stream, last="0", count=200), list[int]()
    for wanted in (1, 70, 150, 200):
        for entry in pull:
            found.append(entry.json())
            if len(found) == wanted:
                break
    assert found == list(range(200))
    assert not list(pull)
    with streams.pull(stream, last=pull.last_ids, timeout=0.1) as later:
        assert not list(later)


def test_one_publisher_of_many_streams(streams: Client) -> None:
    one, two = unique("a"), unique("b")
    with streams.push() as push:
        for number in range(6):
            push.send({"n": number}, stream=(one, two)[number % 2])
        with pytest.raises(InvalidInput):
            push.send(b"where to?")
    found = list(streams.pull([one, two], last="0", count=6))
    assert sorted(entry.json()["n"] for entry in found if entry.stream == one) == [0, 2, 4]


def test_ranges_go_on_over_pages(streams: Client) -> None:
    stream = unique()
    with streams.push(stream, batch=1000) as push:
        for number in range(2300):
            push.send(b"%d" % number)
    whole = [int(entry.data) for entry in streams.range(stream)]
    assert whole == list(range(2300))
    newest = [int(entry.data) for entry in streams.range(stream, newest_first=True, count=1500)]
    assert newest == list(range(2299, 799, -1))
    entries = list(streams.range(stream, count=3))
    part = streams.range(stream, entries[1].id, entries[2].id)
    assert [entry.data for entry in part] == [b"1", b"2"]
    last = streams.newest(stream)
    assert last is not None
    assert last.data == b"2299"
    assert streams.newest(unique()) is None


def test_streams_are_described_listed_and_deleted(streams: Client) -> None:
    stream = unique("listed")
    with streams.push(stream, retention={"count": 5}, schema={"type": "object"}) as push:
        for number in range(20):
            push.send({"n": number})
    info = streams.describe(stream, description="A test.", meta={"by": "tests"})
    assert (info.retention.count, info.schema) == (5, {"type": "object"})
    assert (info.content_type, info.description) == ("application/json", "A test.")
    assert stream in streams.list("listed-*")
    assert [found.name for found in streams.infos(stream)] == [stream]
    assert streams.trim(stream, keep=1) >= 0
    assert streams.info(stream).length == 1
    streams.delete(stream)
    with pytest.raises(NotFound):
        streams.info(stream)
    assert streams.ticket("pull").ticket


def test_a_consumer_gives_again_what_is_not_acknowledged(streams: Client) -> None:
    stream, name = unique(), unique("worker")
    with streams.push(stream) as push:
        for number in range(5):
            push.send({"n": number})
    consumer = streams.consumer(name, stream, start="0", ack_wait=1)
    first = consumer.fetch(3)
    assert [taken.json()["n"] for taken in first] == [0, 1, 2]
    assert consumer.ack(*first[:2]) == 2
    rest = consumer.fetch(5)
    assert [taken.json()["n"] for taken in rest][-2:] == [3, 4]
    end = time.monotonic() + 30
    while not (again := consumer.fetch(1, wait_s=5)):
        assert time.monotonic() < end
    assert (again[0].json()["n"], again[0].deliveries >= 2) == (2, True)
    assert name in [found.name for found in streams.consumers()]
    streams.delete_consumer(name)


def test_recordings_are_made_replayed_carried(streams: Client, tmp_path: Path) -> None:
    stream, name = unique("rec"), unique("take")
    recording = streams.recordings.start(stream, name=name)
    with streams.push(stream) as push:
        for number in range(20):
            push.send({"n": number})
    end = time.monotonic() + 30
    while sum(one.entries for one in streams.recordings.info(name).streams) < 20:
        assert time.monotonic() < end
    recording = streams.recordings.stop(name)
    assert (recording.state, recording.streams[0].entries) == ("stored", 20)
    replay = streams.recordings.replay(name, prefix="again-", speed=0)
    *_, over = streams.recordings.follow(replay, 0.05)
    assert (over.state, sum(over.counts.values())) == ("ended", 20)
    found = [entry.json()["n"] for entry in streams.range(f"again-{stream}")]
    assert found == list(range(20))
    steps = list[int]()
    size = streams.recordings.export(name, tmp_path / "a.mcap", progress=steps.append)
    assert (tmp_path / "a.mcap").stat().st_size == size == steps[-1]
    again = streams.recordings.import_(tmp_path / "a.mcap", name=f"{name}-2")
    assert again.streams[0].entries == 20
    streams.recordings.export(name, tmp_path / "a.zip", streams=[stream])
    assert (tmp_path / "a.zip").read_bytes().startswith(b"PK")
    assert {one.name for one in streams.recordings.list(f"{name}*")} == {name, f"{name}-2"}
    streams.recordings.change(name, hidden=True)
    assert [one.name for one in streams.recordings.list(f"{name}*")] == [f"{name}-2"]
    streams.recordings.delete(name)
    streams.recordings.delete(f"{name}-2")


@pytest.mark.anyio
async def test_in_an_event_loop(server: StreamsProcess) -> None:
    stream = unique()
    async with Client(server.url, token=server.tokens["alice"]) as client:
        assert isinstance(client, AsyncClient)
        async with client.push(stream) as push:
            await push.send(CLOUD)
            await push.send_image(np.zeros((8, 8, 3), np.uint8))
            receipt = await push.store({"x": 1})
        found = list[Entry]()
        async for entry in client.pull(stream, last="0", count=3, decode=True):
            found.append(entry)
        assert [entry.id for entry in found][-1:] == list(receipt.ids)
        np.testing.assert_array_equal(found[0].value, CLOUD)
        assert found[1].array().shape == (8, 8, 3)
        assert found[2].json() == {"x": 1}
        assert [entry.id async for entry in client.range(stream)] == [one.id for one in found]
        pull, ids = client.pull(stream, last="0", count=3), list[str]()
        for _ in found:
            async for entry in pull:
                ids.append(entry.id)
                break
        assert ids == [one.id for one in found]


@pytest.mark.anyio
async def test_a_blocking_call_in_a_loop_says_so(server: StreamsProcess) -> None:
    from downstage import client

    client.initialize()
    opened = Client(server.url, token=server.tokens["alice"])
    with pytest.warns(RuntimeWarning, match="use AsyncClient"):
        opened.list()
    with pytest.warns(RuntimeWarning):
        opened.close()
    client.shutdown()


def test_a_wrong_token_is_told_at_once(server: StreamsProcess, streams: Client) -> None:
    del streams  # its threads
    with Client(server.url, token="nonsense") as stranger:
        for work in (
            stranger.list,
            lambda: stranger.pull("cam").take(),
            lambda: stranger.push("cam", ack=False).__enter__().flush(),
        ):
            with pytest.raises(Unauthenticated):
                work()
    with Client(server.url) as nobody, pytest.raises(Unauthenticated, match="DOWNSTAGE_TOKEN"):
        nobody.list()


def test_tokens_of_the_environment(
    server: StreamsProcess, streams: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del streams
    file = tmp_path / "token"
    file.write_text(server.tokens["bob"] + "\n")
    monkeypatch.setenv("DOWNSTAGE_TOKEN_FILE", str(file))
    with Client(server.url) as bob:
        bob.list()
    monkeypatch.setenv("DOWNSTAGE_TOKEN", "wrong")
    with Client(server.url) as client, pytest.raises(Unauthenticated):
        client.list()
    with Client("http://192.0.2.1:8600") as far, pytest.raises(Forbidden, match="https"):
        far.list()


def test_a_wrong_address_is_told_at_once(streams: Client) -> None:
    del streams
    with Client("http://127.0.0.1:9", token="x") as client:
        for work in (
            client.list,
            lambda: client.pull("cam").take(),
            lambda: client.push("cam").__enter__().flush(),
        ):
            with pytest.raises(Unavailable, match="cannot be reached"):
                work()
