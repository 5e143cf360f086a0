"""Sockets that push: every form of a batch, and what becomes of a bad one."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from .wire import Wire, name

pytestmark = [pytest.mark.real, pytest.mark.anyio]

OWN = "/v1/streams"


async def test_each_message_is_an_entry(wire: Wire) -> None:
    stream = name()
    payloads = [b"one", b"", bytes(1000), bytes(100_000)]
    async with wire.push(stream) as push:
        await push.send(*payloads)
        await until_stored(wire, stream, payloads)


async def test_ids_are_told_where_they_are_asked_for(wire: Wire) -> None:
    stream = name()
    async with wire.push(stream, ack=True) as push:
        told = list[str]()
        for data in (b"a", b"b", b"c"):
            await push.send(data)
            told.append(await push.text())
    async with wire.pull(stream, last_entry_id=0, count=9) as pull:
        found = await pull.take(3)
    assert [(id_, data) for _, id_, data in found] == list(
        zip(told, (b"a", b"b", b"c"), strict=True)
    )


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([["{}", 3], ["{}", 5]], id="ends"),
        pytest.param([["{}", 0], ["{}", 3]], id="starts"),
        pytest.param([["{}", "*", 3], ["{}", "*", 5]], id="with ids"),
        pytest.param([3, 5], id="ends alone"),
        pytest.param([0, 3], id="starts alone"),
        pytest.param([["another", 3], ["yet-another", 5]], id="the path wins"),
    ],
)
async def test_batches_of_one_stream(wire: Wire, rows: list[Any]) -> None:
    stream = name()
    async with wire.push(stream, batch="True", ack="True") as push:
        await push.batch(json.dumps(rows).replace("{}", stream), b"abcde")
        assert len((await push.text()).split(",")) == 2
    assert await wire.stored(stream) == [b"abc", b"de"]


async def test_batches_of_many_streams(wire: Wire) -> None:
    one, two = name("a"), name("b")
    async with wire.push("*", ack=1) as push:
        await push.batch([[one, 1], [two, 2], [one, 3]], b"123")
        assert len((await push.text()).split(",")) == 3
        await push.batch([], b"")
        assert await push.text() == ""
    async with wire.push(f"{one}+{two}") as push:
        await push.batch([[two, 1], [one, 2]], b"45")
        await push.batch([1, 2], b"67")
    await until_stored(wire, one, [b"1", b"3", b"5", b"6"])
    await until_stored(wire, two, [b"2", b"4", b"7"])


async def test_starts_and_ends_may_be_said(wire: Wire) -> None:
    stream = name()
    async with wire.push(stream, batch=1, ack=1, offsets="start") as push:
        await push.batch([0, 5], b"abcde")
        await push.text()
    assert await wire.stored(stream) == [b"abcde", b""]


async def test_ids_may_be_given(wire: Wire) -> None:
    stream = name()
    async with wire.push(stream, batch=1, ack=1) as push:
        await push.batch([[stream, "5", 1], [stream, "5-7", 2], [stream, "9-*", 3]], b"123")
        assert await push.text() == "5-0,5-7,9-0"


REFUSED = [
    pytest.param(["{"], (1007, "bad-frame"), id="no JSON"),
    pytest.param(["[" * 100_000], (1007, "bad-frame"), id="C08 nesting bomb"),
    pytest.param(['[["s", 9]]', b"12"], (1007, "bad-frame"), id="C08 past the message"),
    pytest.param(['[["s", 2], ["s", 1]]', b"12"], (1007, "bad-frame"), id="C08 decreasing"),
    pytest.param(['[["s", -1]]', b"12"], (1007, "bad-frame"), id="C08 negative"),
    pytest.param(['[["s", true]]', b"12"], (1007, "bad-frame"), id="C08 bool"),
    pytest.param(['[["s", 2.0]]', b"12"], (1007, "bad-frame"), id="C08 float"),
    pytest.param([json.dumps([0] * 4097)], (1007, "bad-frame"), id="C08 4,097 entries"),
    pytest.param(['[["s", "2-2", 1], ["s", "1-1", 2]]', b"12"], (1007, "bad-id"), id="older"),
    pytest.param(['[["s", 1.5, 2]]', b"12"], (1007, "bad-id"), id="a float for an id"),
    pytest.param([b"12"], (1003, "bad-message"), id="no header"),
    pytest.param(["[1]", "[1]"], (1003, "bad-message"), id="two headers"),
]


@pytest.mark.parametrize(("messages", "end"), REFUSED)
async def test_a_bad_batch_closes_with_a_reason(
    wire: Wire, messages: list[str | bytes], end: tuple[int, str]
) -> None:
    stream = name()
    async with wire.push(stream, batch=1) as push:
        await push.batch([1], b"1")
        await push.send(*messages)
        assert await push.closed() == end
    assert await wire.stored(stream) == [b"1"]  # and nothing of the bad one


async def test_the_old_ids_of_a_stream_are_refused_whole(wire: Wire) -> None:
    stream, other = name(), name()
    await wire.put(stream, b"there", ids=["100-1"])
    async with wire.push("*") as push:
        await push.batch([[other, 1], [stream, "100-1", 2]], b"12")
        assert await push.closed() == (1007, "bad-id")
    assert (await wire.stored(stream), await wire.stored(other)) == ([b"there"], [])


async def test_text_where_entries_are_due(wire: Wire) -> None:
    async with wire.push(name()) as push:
        await push.send("text")
        assert await push.closed() == (1003, "bad-message")


async def test_T04_a_message_above_the_limit(wire: Wire) -> None:
    stream = name()
    async with wire.push(stream) as push:
        await push.send(bytes(1 << 20))
        await push.send(bytes((1 << 20) + 1))
        assert await push.closed() == (1009, "too-large")
    assert [len(data) for data in await wire.stored(stream)] == [1 << 20]


async def test_C10_names_out_of_form_are_refused(wire: Wire) -> None:
    for ids in ("..", "a/b", "a\n", "-a", "\0", "+", "x" * 129, "a+*", "ä"):
        async with wire.push(ids) as push:
            assert await push.closed() == (1008, "invalid-field"), ids
    async with wire.push("*") as push:
        await push.batch([["../x", 1]], b"1")
        assert await push.closed() == (1008, "invalid-field")


async def test_who_may_not_push_is_not_let_in(wire: Wire) -> None:
    stream = name()
    assert await wire.refused(f"/data/{stream}/push", None) == 401
    assert await wire.refused(f"/data/{stream}/push?token=forged", None) == 401


async def test_options_out_of_form_are_told(wire: Wire) -> None:
    for query in ({"batch": "perhaps"}, {"ack": "2"}, {"offsets": "middle"}):
        async with wire.push(name(), **query) as push:
            assert await push.closed() == (1008, "invalid-field")


async def test_paths_may_end_with_a_slash(wire: Wire) -> None:
    stream = name()
    async with wire.push(stream, slash="/", ack=1) as push:
        await push.send(b"x")
        assert (await push.text()).endswith("-0")


# Our own API.


async def test_our_own_acks_say_what_was_promised(wire: Wire) -> None:
    stream = name()
    async with wire.push(stream, at=OWN, ack=1, batch=1) as push:
        await push.batch([1, 2], b"12")
        told = await push.json()
    assert (len(told["ids"]), told["durability"]) == (2, "everysec")


async def test_our_own_sockets_go_on_after_a_refusal(wire: Wire) -> None:
    stream = name()
    async with wire.push(stream, at=OWN, ack=1, batch=1) as push:
        for rows, code in (
            ("{", "bad-frame"), ([3], "bad-frame"), ([[stream, "1.5", 1]], "bad-id"),
        ):  # fmt: skip
            await push.batch(rows, b"x")
            told = await push.json()
            assert set(told) == {"error"}
            assert told["error"]["code"] == code
            assert len(told["error"]["detail"]) > 5
        await push.batch([[stream, "7-7", 1]], b"y")
        assert (await push.json())["ids"] == ["7-7"]
        await push.batch([[stream, "7-7", 1]], b"z")
        assert (await push.json())["error"]["code"] == "bad-id"
    async with wire.push(stream, at=OWN, batch=1) as push:
        await push.batch([3], b"x")
        assert await push.closed() == (1007, "bad-frame")
    assert await wire.stored(stream) == [b"y"]


async def test_a_key_stores_once(wire: Wire) -> None:
    stream = name()
    header = {"entries": [1, 2], "key": name("key")}
    async with wire.push(stream, at=OWN, ack=1, batch=1) as push:
        await push.batch(header, b"12")
        first = await push.json()
        await push.batch(header, b"12")
        again = await push.json()
    assert again["ids"] == first["ids"]
    assert again["repeated"] is True
    assert await wire.stored(stream) == [b"1", b"2"]


async def until_stored(wire: Wire, stream: str, payloads: list[bytes]) -> None:
    with anyio.fail_after(20):
        while await wire.stored(stream) != payloads:
            await anyio.sleep(0.01)
