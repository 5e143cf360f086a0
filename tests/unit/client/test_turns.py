"""Handing work to a loop of another thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from downstage.client.turns import Turns

pytestmark = pytest.mark.unit


@pytest.mark.anyio
async def test_everything_runs_in_order_and_wakes_the_loop_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, woken, seen, ended = asyncio.get_running_loop(), list[int](), list[int](), asyncio.Event()
    turns = Turns(loop)
    wake = loop.call_soon_threadsafe
    monkeypatch.setattr(
        loop, "call_soon_threadsafe", lambda *what: (woken.append(1), wake(*what))[1]
    )

    def work() -> None:
        for number in range(1000):
            turns.put(lambda number=number: seen.append(number))
        turns.put(ended.set)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # the loop is held meanwhile: all of it comes within one turn
    await asyncio.wait_for(ended.wait(), 10)
    assert seen == list(range(1000))
    assert len(woken) == 1


def test_a_loop_that_has_ended_says_so() -> None:
    loop = asyncio.new_event_loop()
    turns = Turns(loop)
    loop.close()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            turns.put(lambda: None)
