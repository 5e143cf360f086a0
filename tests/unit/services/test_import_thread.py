"""The thread in which packages are imported, and a loop that does not wait for it."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from downstage.services.extensions.actor import in_thread

pytestmark = pytest.mark.unit


async def _given_up(let_go: threading.Event) -> None:
    with anyio.move_on_after(0.001):
        await in_thread(let_go.wait)


@pytest.mark.parametrize("is_closed", [False, True])
def test_it_ends_though_the_loop_has_run_its_last_turn(*, is_closed: bool) -> None:
    let_go, loop = threading.Event(), asyncio.new_event_loop()
    try:
        before = set(threading.enumerate())
        loop.run_until_complete(_given_up(let_go))
        (thread,) = set(threading.enumerate()) - before
        if is_closed:
            loop.close()
        let_go.set()
        thread.join(5)
        assert not thread.is_alive()
    finally:
        loop.close()


def test_what_it_raises_is_raised_where_it_was_asked_for() -> None:
    def bad() -> None:
        raise SystemExit("not today")

    async def ask() -> str:
        with pytest.raises(SystemExit) as caught:
            await in_thread(bad)
        return str(caught.value)

    assert asyncio.run(ask()) == "not today"
