"""Parts of the client of streams that need no server."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import anyio
import numpy as np
import pytest
from PIL import Image

import downstage.streams
from downstage.client.streams.address import server_url
from downstage.client.streams.buffer import Buffer
from downstage.client.streams.model import Entry, Receipt, StreamInfo
from downstage.client.streams.outgoing import Item, Outgoing, Sizes
from downstage.client.streams.places import Places, before, id_of
from downstage.client.streams.pushing import entry_id_of
from downstage.client.streams.values import array_of, decode, encode, encode_image, image_of
from downstage.kernel.errors import (
    BadId,
    InvalidField,
    InvalidInput,
    TooLarge,
    UnsupportedMedia,
)

pytestmark = pytest.mark.unit


def info(name: str, first: str | None, last: str | None, **more: Any) -> StreamInfo:
    return StreamInfo(name=name, first_id=first, last_id=last, **more)


# --- places --------------------------------------------------------------------------------------


def test_what_is_new_begins_after_what_is_there() -> None:
    places = Places.of(["cam", "pose+new"], "$")
    places.settle([info("cam", "1-0", "9-3"), info("pose", None, None)])
    assert places.address() == ("cam+pose+new", "9-3+0-0+0-0")
    places.passed("pose", "11-0")
    assert places.address()[1] == "9-3+11-0+0-0"


def test_the_newest_is_the_first_that_comes() -> None:
    places = Places.of(["cam", "none"], "-")
    places.settle([info("cam", "1-0", "9-3")])
    assert places.address() == ("cam+none", "9-2+0-0")


def test_a_pattern_comes_back_with_a_place_for_each_stream() -> None:
    places = Places.of(["cam-*", "pose"], "$")
    places.settle([info("cam-1", "1-0", "5-0"), info("pose", "1-0", "7-7")])
    places.passed("cam-2", "8-0")
    assert places.address() == ("cam-1+pose+cam-2+cam-*", "5-0+7-7+8-0+0-0")


def test_places_of_ones_own() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    places = Places.of(["a", "b"], {"a": "4-4", "b": "$"})
    places.settle([info("a", "1-0", "9-0"), info("b", "1-0", "6-0")])
    assert places.address()[1] == "4-4+6-0"
    assert id_of(at) == "1777593600000"
    assert id_of(5) == "5"
    for wrong in ("x", "1-2-3", "", "1.5"):
        with pytest.raises(BadId):
            id_of(wrong)
    with pytest.raises(InvalidField):
        Places.of([], "$")


def test_what_may_be_missing() -> None:
    places = Places.of(["a", "b", "c"], "0")
    places.settle([])
    for name in "abc":
        places.passed(name, "100-0")
    kept = [
        info("a", "90-0", "200-0", added=50, length=20),  # ours is still there
        info("b", "101-0", "200-0", added=50, length=20),  # it is not
        info("c", "101-0", "200-0", added=20, length=20),  # made anew: nothing was removed
    ]
    assert places.missing(kept) == ["b"]


@pytest.mark.parametrize(
    ("entry_id", "found"), [("5-3", "5-2"), ("5-0", f"4-{2**64 - 1}"), ("0-0", "0-0")]
)
def test_the_id_before(entry_id: str, found: str) -> None:
    assert before(entry_id) == found


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "data", "kind"),
    [
        ({"a": [1, None]}, b'{"a":[1,null]}', "application/json"),
        ("ü", "ü".encode(), "text/plain; charset=utf-8"),
        (b"\0", b"\0", None),
        (bytearray(b"x"), b"x", None),
        (memoryview(b"xy")[1:], b"y", None),
        ({"n": np.float32(0.5), "a": np.arange(2)}, b'{"n":0.5,"a":[0,1]}', "application/json"),
        (b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0", "image/jpeg"),
    ],
)
def test_values_as_bytes(value: Any, data: bytes, kind: str | None) -> None:
    assert encode(value) == (data, kind)


@pytest.mark.parametrize("value", [object(), {1, 2}, {"a": object()}, np.array([{}])])
def test_what_an_entry_cannot_hold(value: Any) -> None:
    with pytest.raises(InvalidInput):
        encode(value)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"{", "application/json"),
        (b"\x93NUMPY", "application/vnd.downstage.ndarray"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"no picture", "image/png"),
        (b"\x80\x04", "application/vnd.downstage.ndarray"),
    ],
)
def test_what_is_not_what_it_says_is_refused(data: bytes, kind: str) -> None:
    with pytest.raises(UnsupportedMedia):
        decode(data, kind)


def test_arrays_of_objects_are_not_unpickled() -> None:
    made = io.BytesIO()
    np.save(made, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnsupportedMedia):
        array_of(made.getvalue())


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    made = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(made, "PNG")
    with pytest.raises(TooLarge):
        image_of(made.getvalue())


def test_pictures_keep_their_colours() -> None:
    red = np.zeros((20, 30, 3), np.uint8)
    red[:, :, 0] = 255
    for data in (
        encode_image(red, order="RGB"),
        encode_image(red[:, :, ::-1], order="BGR"),
        encode_image(Image.fromarray(red)),
        encode_image(red, form="image/png"),
    ):
        assert decode(data, None)[10, 10].tolist()[0] > 240
    assert decode(encode_image(red[:, :, 0]), None).ndim == 2
    with_alpha = np.dstack([red, np.full((20, 30), 7, np.uint8)])
    assert decode(encode_image(with_alpha, form="image/png"), None).shape == (20, 30, 4)
    assert array_of(encode_image(with_alpha, order="RGB"), "BGR").shape == (20, 30, 3)
    with pytest.raises(InvalidInput):
        encode_image(red.astype(float))


# --- what waits ----------------------------------------------------------------------------------


def test_batches_are_bounded_and_do_not_mix_ids() -> None:
    out = Outgoing(Sizes(entries=3, bytes=1000))
    for data, id_ in (
        (b"1", None), (b"2", None), (b"3", None), (b"4", None), (b"5", "9-9"),
        (bytes(5000), "10-0"), (b"7", None),
    ):  # fmt: skip
        out.add(Item("s", data, id_))
    sizes = list[list[int]]()
    while out.waiting:
        batch = out.next_batch()
        sizes.append([len(item.data) for item in batch.items])
    assert sizes == [[1, 1, 1], [1], [1], [5000], [1]]
    keys = list(out.pending)
    assert len(set(keys)) == 5
    assert out.bytes == sum(batch.size for batch in out.pending.values())
    for batch in list(out.pending.values()):
        out.done(batch)
        out.done(batch)
    assert (out.bytes, out.is_empty) == (0, True)


def test_a_batch_says_where_entries_end() -> None:
    out = Outgoing(Sizes())
    out.add(Item("a", b"12"))
    out.add(Item("b", memoryview(b"345")))
    batch = out.next_batch()
    assert batch.header(keyed=False) == '{"entries":[["a",2],["b",5]],"offsets":"end"}'
    assert f'"key":"{batch.key}"' in batch.header(keyed=True)
    assert bytes(batch.body()) == b"12345"


@pytest.mark.anyio
async def test_a_full_buffer_holds_up_who_fills_it() -> None:
    buffer = Buffer(latest=False)
    for number in range(3):
        await buffer.put(Entry("s", f"{number}-0", bytes(8 << 20)))
    with anyio.move_on_after(0.05) as scope:
        await buffer.put(Entry("s", "3-0", b"x"))
    assert scope.cancelled_caught
    assert [entry.id for entry in await buffer.take(2)] == ["0-0", "1-0"]
    await buffer.put(Entry("s", "3-0", b"x"))


@pytest.mark.anyio
async def test_the_latest_of_each_stream_is_kept() -> None:
    buffer = Buffer(latest=True)
    for number in range(5):
        await buffer.put(Entry("ab"[number % 2], f"{number}-0", b"x"))
    assert [entry.id for entry in await buffer.take(9)] == ["3-0", "4-0"]
    assert buffer.skipped == 3
    buffer.end(None)
    assert await buffer.take(1) == []


# --- words ---------------------------------------------------------------------------------------


def test_ids_of_times() -> None:
    assert entry_id_of("5-5", None) == "5-5"
    assert entry_id_of(None, 1.5) == "1500-*"
    assert entry_id_of(None, datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)) == "2000-*"
    with pytest.raises(InvalidField):
        entry_id_of("5", 5.0)


def test_which_server_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("DOWNSTAGE_PLATFORM__DATA", str(tmp_path))
    assert server_url(None) == "http://localhost:8600"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "platform.json").write_text('{"url": "http://127.0.0.1:1234/"}')
    assert server_url(None) == "http://127.0.0.1:1234"
    assert server_url("localhost:9") == "http://localhost:9"
    assert server_url("example.com") == "https://example.com"
    assert server_url("wss://example.com/x/y") == "https://example.com"
    monkeypatch.setenv("DOWNSTAGE_CONTENT_HOST", "files.lab:8600")
    assert server_url(None) == "https://files.lab:8600"


def test_what_an_entry_looks_like() -> None:
    entry = Entry("cam", "1000-2", b'{"a": 1}', "application/json")
    assert (entry.ms, entry.time.second, entry.text(), len(entry)) == (1000, 1, '{"a": 1}', 8)
    assert repr(entry) == "<Entry cam 1000-2 application/json 8 B>"
    assert bytes(entry) == entry.data
    assert Entry("x", f"{2**64 - 1}-0", b"").time.year == 9999
    assert Receipt(("a",), ("1-0",), "always").repeated is False


def test_it_loads_without_the_service() -> None:
    heavy = "fastapi, pydantic, uvicorn, hiredis, numpy, PIL, rich, av, cv2, mcap"
    program = f"""
import sys
from downstage.streams import AsyncClient, Client
names = "{heavy}".split(", ") + ["downstage.services", "downstage.streams.service"]
print([name for name in names if name in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"
    with pytest.raises(AttributeError):
        getattr(downstage.streams, "Klient")  # noqa: B009
