"""A whole round trip of a client that behaves as the stock one does."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]


def pack(data: Any, streams: Any = (), ids: Any = ()) -> tuple[str, bytes]:
    """Header and body as the stock client sends them: offsets say where entries end."""
    ends: list[int] = []
    for item in data:
        ends.append((ends[-1] if ends else 0) + len(item))
    header: Any = ends
    if streams and ids:
        header = list(zip(streams, ids, ends, strict=True))
    elif streams:
        header = list(zip(streams, ends, strict=True))
    return json.dumps(header), b"".join(data)


def unpack(offsets: list[Any], content: bytes) -> list[tuple[str, str, bytes]]:
    """Entries as the stock client reads them: offsets say where they begin."""
    bounds = [*(row[2] for row in offsets), len(content)]
    rows = zip(offsets, bounds, bounds[1:], strict=False)
    return [(row[0], row[1], content[start:end]) for row, start, end in rows]


async def pulled(socket: Any) -> list[tuple[str, str, bytes]]:
    with anyio.fail_after(10):
        offsets = json.loads(await socket.recv())
        content = await socket.recv()
    assert isinstance(content, bytes)
    return unpack(offsets, content)


async def test_what_is_pushed_is_pulled_and_read_again(stock: Any) -> None:
    """Batches with END offsets, acknowledged; booleans of Python; the token in the header."""
    sent = [b"one", b"", b"three" * 50]
    async with (
        stock.socket("data", "trip", "pull", last_entry_id="-", ack=True, latest=False) as pull,
        stock.socket("data", "trip", "push", batch=True, ack=True) as push,
    ):
        assert push.protocol.extensions == []  # compression is refused
        header, body = pack(sent)
        await push.send(header)
        await push.send(body)
        with anyio.fail_after(10):
            ids = str(await push.recv()).split(",")
        assert len(ids) == 3
        got: list[tuple[str, str, bytes]] = []
        while len(got) < 3:
            got += await pulled(pull)
            await pull.send(b"")
        assert got == [("trip", id_, data) for id_, data in zip(ids, sent, strict=True)]
    again = await stock.data("trip", last_entry_id="0", count=10)
    assert again == got
    assert "trip" in await stock.get("streams/")
    assert (await stock.get("streams", "trip"))["last-entry"] == ids[-1]


async def test_several_streams_with_times_of_their_own(stock: Any) -> None:
    async with stock.socket("data", "*", "push", batch=True, ack=True) as push:
        for header, body in (
            pack([b"a1", b"b1"], ["trip-a", "trip-b"], ["1700000000000-0", "1700000000001-0"]),
            pack([b"a2"], ["trip-a"]),
        ):
            await push.send(header)
            await push.send(body)
            with anyio.fail_after(10):
                assert await push.recv()
    found = await stock.data("trip-a+trip-b", last_entry_id="0", count=9)
    assert [(sid, data) for sid, _, data in found] == [
        ("trip-a", b"a1"), ("trip-a", b"a2"), ("trip-b", b"b1"),
    ]  # fmt: skip
    assert found[0][1] == "1700000000000-0"


async def test_plain_pushes_and_a_pull_of_what_comes(stock: Any) -> None:
    async with (
        stock.socket("data", "plain-trip", "push") as push,
        stock.socket("data", "plain-trip", "pull", last_entry_id="0", timeout=2000) as pull,
    ):
        for number in range(5):
            await push.send(b"%d" % number)
        got: list[bytes] = []
        while len(got) < 5:
            got += [data for _, _, data in await pulled(pull)]
        assert got == [b"%d" % number for number in range(5)]


async def test_without_a_token_no_socket_opens(demo: Any, clients: Any) -> None:
    from websockets.exceptions import InvalidStatus

    client = clients(demo.url)
    for kind in ("push", "pull"):
        with pytest.raises(InvalidStatus) as refused:
            async with client.socket("data", "x", kind):
                pass
        assert refused.value.response.status_code == 401


async def test_a_day_of_the_dashboard(stock: Any) -> None:
    """Recipes, the running session, its events over a socket."""
    await stock.call("POST", "recipes", json={"_id": "mug", "name": "Mug cake", "tools": ["mug"]})
    names = "event:recipe:id+event:recipe:step"
    async with stock.socket("data", names, "pull", last_entry_id="$", latest=False) as pull:
        await stock.put("sessions", "recipe", "mug")
        await stock.put("sessions/recipe/step", 2)
        got: list[tuple[str, bytes]] = []
        while len(got) < 3:
            got += [(sid, data) for sid, _, data in await pulled(pull)]
    assert sorted(got) == [
        ("event:recipe:id", b"mug"), ("event:recipe:step", b"0"), ("event:recipe:step", b"2"),
    ]  # fmt: skip
    assert (await stock.get("sessions/recipe", info=True))["name"] == "Mug cake"
    assert (await stock.delete("sessions", "recipe"))[:3] == [1, 1, 1]
