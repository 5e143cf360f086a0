"""Sockets that pull: where they begin, how they go on, what they are sent."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from .wire import Wire, name

pytestmark = [pytest.mark.real, pytest.mark.anyio]

OWN = "/v1/streams"


async def filled(wire: Wire, count: int = 5) -> tuple[str, list[str], list[bytes]]:
    stream = name()
    payloads = [b"entry %d" % number for number in range(count)]
    return stream, await wire.put(stream, *payloads), payloads


async def test_from_the_beginning(wire: Wire) -> None:
    stream, ids, payloads = await filled(wire)
    async with wire.pull(stream, last_entry_id=0) as pull:
        for id_, data in zip(ids, payloads, strict=True):
            assert await pull.pair() == ([[stream, id_, 0]], data)  # one at a time is the default


async def test_count_is_honoured(wire: Wire) -> None:
    stream, ids, payloads = await filled(wire)
    async with wire.pull(stream, last_entry_id=0, count=3) as pull:
        header, body = await pull.pair()
        assert header == [[stream, ids[0], 0], [stream, ids[1], 7], [stream, ids[2], 14]]
        assert body == b"".join(payloads[:3])
        assert [row[1] for row in (await pull.pair())[0]] == ids[3:]


async def test_C09_a_huge_count_is_cut(wire: Wire) -> None:
    stream, ids, _ = await filled(wire)
    async with wire.pull(stream, last_entry_id="0-0", count=10**9) as pull:
        assert [row[1] for row in (await pull.pair())[0]] == ids


async def test_only_what_is_new(wire: Wire) -> None:
    stream, _, _ = await filled(wire)
    async with wire.pull(stream) as pull:
        assert await pull.is_silent()
        (id_,) = await wire.put(stream, b"new")
        assert await pull.entries() == [(stream, id_, b"new")]


async def test_the_newest_at_once(wire: Wire) -> None:
    stream, ids, payloads = await filled(wire)
    for place in ("-", "*"):
        async with wire.pull(stream, last_entry_id=place) as pull:
            assert await pull.entries() == [(stream, ids[-1], payloads[-1])]
            assert await pull.is_silent(0.1)


async def test_a_full_id_resumes_without_loss(wire: Wire) -> None:
    stream, ids, payloads = await filled(wire, 20)
    async with wire.pull(stream, last_entry_id=ids[4]) as pull:
        found = await pull.take(15)
    assert found == [(stream, id_, data) for id_, data in zip(ids[5:], payloads[5:], strict=True)]


async def test_a_bare_time_and_an_id_for_each_stream(wire: Wire) -> None:
    one, two = name("a"), name("b")
    await wire.put(one, b"1", b"2", ids=["10-0", "20-0"])
    await wire.put(two, b"3", b"4", ids=["10-0", "20-0"])
    async with wire.pull(f"{one}+{two}", last_entry_id="10+0", count=9) as pull:
        found = {(stream, data) for stream, _, data in await pull.take(3)}
        assert found == {(one, b"2"), (two, b"3"), (two, b"4")}
    async with wire.pull(f"{one}+{two}", last_entry_id="10", count=9) as pull:
        header, body = await pull.pair()
        assert header == [[one, "20-0", 0], [two, "20-0", 1]]  # sorted by stream
        assert body == b"24"


async def test_a_stream_that_is_not_there_yet(wire: Wire) -> None:
    stream = name()
    async with wire.pull(stream) as pull:
        assert await pull.is_silent(0.1)
        await wire.put(stream, b"first")
        assert (await pull.entries())[0][2] == b"first"


async def test_T03_silence_ends_with_1000(wire: Wire) -> None:
    stream = name()
    async with wire.pull(stream, timeout=400) as pull:
        await anyio.sleep(0.2)
        await wire.put(stream, b"x")
        await pull.entries()
        began = anyio.current_time()
        assert await pull.closed() == (1000, "timeout")
        assert anyio.current_time() - began > 0.3


async def test_one_by_one(wire: Wire) -> None:
    one, two = name("a"), name("b")
    await wire.put(one, b"1")
    await wire.put(two, b"2")
    async with wire.pull(f"{one}+{two}", last_entry_id=0, onebyone=True) as pull:
        found = [await pull.entries(), await pull.entries()]
    assert sorted((stream, data) for ((stream, _, data),) in found) == [(one, b"1"), (two, b"2")]


async def test_an_ack_asks_for_the_next(wire: Wire) -> None:
    stream, ids, _ = await filled(wire, 3)
    async with wire.pull(stream, last_entry_id=0, ack=True) as pull:
        for number, answer in enumerate(("ok", b"", "x")):
            assert (await pull.entries())[0][1] == ids[number]
            assert await pull.is_silent(0.1)
            await pull.send(answer)
        (id_,) = await wire.put(stream, b"live")
        assert (await pull.entries())[0][1] == id_
        await wire.put(stream, b"later")
        assert await pull.is_silent(0.1)


async def test_rate_limit_stalls_nobody(wire: Wire) -> None:
    stream, ids, _ = await filled(wire, 4)
    began = anyio.current_time()
    async with (
        wire.pull(stream, last_entry_id=0, rate_limit=0.4) as slow,
        wire.pull(stream, last_entry_id=0) as fast,
    ):
        assert [row[1] for row in await fast.take(4)] == ids
        (id_,) = await wire.put(stream, b"x")
        assert (await fast.entries())[0][1] == id_
        assert [row[1] for row in await slow.take(3)] == ids[:3]
        assert anyio.current_time() - began > 0.75


async def test_no_header(wire: Wire) -> None:
    stream, _, payloads = await filled(wire, 2)
    async with wire.pull(stream, last_entry_id=0, header=0) as pull:
        assert [await pull.receive(), await pull.receive()] == payloads


async def test_frames_a_second(wire: Wire) -> None:
    stream = name()
    await wire.put(stream, *[b"x"] * 30, ids=[f"{1000 + 10 * n}-0" for n in range(30)])
    async with wire.pull(stream, last_entry_id=0, max_fps=10, count=99) as pull:
        times = [int(row[1].split("-")[0]) for row in await pull.take(3)]
    assert times[1] - times[0] >= 100
    assert times[2] - times[1] >= 100


async def test_all_go_to_the_time_of_one(wire: Wire) -> None:
    leader, other = name("a"), name("b")
    await wire.put(leader, b"L", ids=["500-0"])
    await wire.put(other, b"1", b"2", b"3", ids=["100-0", "400-0", "600-0"])
    for said in (leader, "0"):
        async with wire.pull(f"{leader}+{other}", last_entry_id=0, time_sync_id=said) as pull:
            found = await pull.take(2)
            assert [row[2] for row in found] == [b"L", b"1"]
            assert (await pull.entries())[0][2] == b"3"  # 400-0 was before the leader's


@pytest.mark.parametrize(
    ("query", "end"),
    [
        ({"last_entry_id": "garbage"}, (1008, "bad-id")),
        ({"last_entry_id": "1-2-3"}, (1008, "bad-id")),
        ({"last_entry_id": "+"}, (1008, "invalid-field")),
        ({"count": "0"}, (1008, "invalid-field")),
        ({"count": "abc"}, (1008, "invalid-field")),
        ({"timeout": "-1"}, (1008, "invalid-field")),
        ({"timeout": "nan"}, (1008, "invalid-field")),
        ({"rate_limit": "inf"}, (1008, "invalid-field")),
        ({"max_fps": "0"}, (1008, "invalid-field")),
        ({"time_sync_id": "nobody"}, (1008, "invalid-field")),
        ({"latest": "maybe"}, (1008, "invalid-field")),
        ({"output": "avi"}, (1003, "unsupported-media")),
    ],
)
async def test_options_out_of_form_are_told(
    wire: Wire, query: dict[str, Any], end: tuple[int, str]
) -> None:
    async with wire.pull(name(), **query) as pull:
        assert await pull.closed() == end


async def test_C09_too_many_streams(wire: Wire) -> None:
    async with wire.pull("+".join(f"s{n}" for n in range(2000))) as pull:
        assert await pull.closed() == (1008, "invalid-field")


async def test_who_may_not_read_is_not_let_in(wire: Wire) -> None:
    assert await wire.refused(f"/data/{name()}/pull", None) == 401


async def test_C09_reconnecting_loses_and_repeats_nothing(wire: Wire) -> None:
    """Producers go on all the time; the reader leaves and comes back by its last id."""
    stream = name()
    total = 600
    found: list[int] = []

    async def produce() -> None:
        async with wire.push(stream) as push:
            for number in range(total):
                await push.send(b"%d" % number)
                if number % 20 == 0:
                    await anyio.sleep(0.005)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(produce)
        last = "0"
        with anyio.fail_after(30):
            while len(found) < total:
                async with wire.pull(stream, last_entry_id=last, count=7) as pull:
                    for _ in range(5):
                        if len(found) == total:
                            break
                        rows = await pull.entries()
                        found += [int(data) for _, _, data in rows]
                        last = rows[-1][1]
    assert found == list(range(total))


async def test_pictures_are_converted(wire: Wire) -> None:
    from io import BytesIO

    from PIL import Image

    stream = name()
    buffer = BytesIO()
    Image.new("RGB", (8, 6), (200, 10, 10)).save(buffer, "PNG")
    await wire.put(stream, buffer.getvalue(), buffer.getvalue())
    async with wire.pull(stream, last_entry_id=0, output="jpg") as pull:
        for _ in range(2):
            ((_, _, data),) = await pull.entries()
            assert Image.open(BytesIO(data)).format == "JPEG"
    await wire.put(stream, b"no picture")
    async with wire.pull(stream, last_entry_id="-", output="jpg") as pull:
        assert await pull.closed() == (1003, "unsupported-media")


# Our own API.


async def test_streams_by_pattern(wire: Wire) -> None:
    prefix = name("p")
    await wire.put(f"{prefix}.a", b"1")
    async with wire.pull(f"{prefix}.*", at=OWN, last_entry_id=0) as pull:
        assert (await pull.entries())[0][2] == b"1"
        await wire.put(f"{prefix}.b", b"2")
        assert (await pull.entries())[0][:3:2] == (f"{prefix}.b", b"2")
    async with wire.pull(f"{prefix}.*") as pull:  # not at the data server's path
        assert await pull.closed() == (1008, "invalid-field")


def test_headers_are_plain_json() -> None:
    from downstage.streams.delivery import encode
    from downstage.streams.reading import Delivery

    delivery = Delivery((("a", b"1-0", b"xy"), ("b", b"2-0", b"z")))
    packet = encode(delivery)
    assert json.loads(packet.messages[0][1][0]) == [["a", "1-0", 0], ["b", "2-0", 2]]
    assert encode(delivery) is packet
    assert len(encode(delivery, header=False).messages) == 1
