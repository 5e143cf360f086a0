"""The bus of one process: order, patterns, gaps, endings."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.bus import MemoryBus
from downstage.bus.memory import QUEUE, fits

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

parts = st.lists(st.sampled_from(["a", "b", "sessions", "1"]), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("pattern", "subject", "does"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a", False),
        ("a", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a", False),
        ("*.b", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a.b", True),
        ("a.>.c", "a.b.c", False),
        ("a.bc", "a.b", False),
    ],
)
def test_patterns(pattern: str, subject: str, does: bool) -> None:
    assert fits(pattern, subject) is does


@given(parts, st.data())
def test_a_star_stands_for_any_one_part(subject: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(subject) - 1))
    text = ".".join(subject)
    assert fits(".".join([*subject[:at], "*", *subject[at + 1 :]]), text)
    assert fits(".".join([*subject[:at], ">"]), text)
    assert not fits(text + ".*", text)


async def test_messages_come_in_order_to_all_who_listen() -> None:
    bus = MemoryBus()
    async with bus.subscribe("a.*") as first, bus.subscribe("a.>") as second:
        for number in range(10):
            bus.publish("a.b", {"n": number})
        bus.publish("b.b", {"n": -1})
        for messages in (first, second):
            got = [await anext(messages) for _ in range(10)]
            assert [m.payload["n"] for m in got] == list(range(10))
            assert not any(m.gap for m in got)


async def test_a_slow_listener_loses_the_oldest_and_learns_of_it() -> None:
    bus = MemoryBus()
    async with bus.subscribe("a") as messages:
        for number in range(QUEUE + 3):
            bus.publish("a", {"n": number})
        first, second = await anext(messages), await anext(messages)
        assert (first.payload["n"], first.gap) == (3, True)
        assert (second.payload["n"], second.gap) == (4, False)


async def test_a_listener_wakes_when_something_comes() -> None:
    bus = MemoryBus()
    got = list[object]()

    async def listen() -> None:
        async for message in messages:
            got.append(message.payload["n"])
            if message.payload["n"] == 2:
                return

    async with bus.subscribe("a") as messages, anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        for number in range(3):
            await anyio.wait_all_tasks_blocked()
            bus.publish("a", {"n": number})
    assert got == [0, 1, 2]


async def test_a_cancelled_listener_leaves_nothing_and_loses_nothing() -> None:
    bus = MemoryBus()
    async with bus.subscribe("a") as messages:
        with anyio.move_on_after(0):
            await anext(messages)
        bus.publish("a", {"n": 1})
        with anyio.fail_after(1):
            assert (await anext(messages)).payload["n"] == 1
    assert not bus._subscriptions


async def test_nobody_listens_and_nothing_happens() -> None:
    bus = MemoryBus()
    bus.publish("a", {})
    async with bus.subscribe("a") as messages:
        with pytest.raises(TimeoutError), anyio.fail_after(0):
            await anext(messages)


async def test_a_publisher_may_change_its_payload_afterwards() -> None:
    bus = MemoryBus()
    payload: dict[str, object] = {"n": 1}
    async with bus.subscribe("a") as messages:
        bus.publish("a", payload)
        payload["n"] = 2
        assert (await anext(messages)).payload["n"] == 1
