"""Time that unit tests do not wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import anyio.to_thread
import pytest


class LeapingClock:
    """Stands still while anything runs, and leaps to the next timer once everything waits.

    So a pause takes no time, and a deadline is never missed because the machine was busy: what a
    test says about seconds is true on any machine. It does not leap while one of anyio's threads
    works; threads of other limiters are not seen.
    """

    def __init__(self) -> None:
        self._now = time.monotonic()

    def monotonic(self) -> float:
        """In place of ``time.monotonic``, which the loop reads, too."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """In place of ``time.sleep``: as if whoever runs took so long."""
        self._now += seconds


@pytest.fixture
async def leaping_clock(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LeapingClock]:
    """The test's loop, ``time.monotonic`` and ``time.sleep`` follow a clock that leaps."""
    assert anyio_backend == "asyncio"
    clock = LeapingClock()
    selector = cast("Any", asyncio.get_running_loop())._selector
    select, threads = selector.select, anyio.to_thread.current_default_thread_limiter()

    def leap(timeout: float | None = None) -> Any:
        if threads.borrowed_tokens:
            return select(0 if timeout is not None and timeout <= 0 else None)
        if timeout is None or timeout <= 0:
            return select(timeout)
        ready = select(0)
        if not ready:
            clock.sleep(timeout)
        return ready

    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", clock.monotonic)
        patch.setattr(time, "sleep", clock.sleep)
        patch.setattr(selector, "select", leap, raising=False)
        yield clock
