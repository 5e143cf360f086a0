"""Silence is told from quiet, from a busy listener, and borne for longer where it comes again."""

from __future__ import annotations

import time

import anyio
import pytest

from downstage.kernel.silence import Patience, Silence

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_it_is_told_after_the_last_word_and_never_before_the_first() -> None:
    silence = Silence(lambda: 0.2)
    with anyio.move_on_after(0.5) as unheard:
        await silence.wait()
    assert unheard.cancelled_caught
    assert not silence.is_on
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_talk, silence, 5)
        began = anyio.current_time()
        with anyio.fail_after(30):
            await silence.wait()
    # Whatever the machine does: not before the limit after the last of five words.
    assert anyio.current_time() - began > 5 * 0.1


async def _talk(silence: Silence, words: int) -> None:
    for _ in range(words):
        silence.heard()
        await anyio.sleep(0.1)
    silence.heard()


async def test_who_slept_hears_first_what_came_meanwhile() -> None:
    silence, at = Silence(lambda: 0.4), dict[str, float]()

    async def watch() -> None:
        await silence.wait()
        at["told"] = anyio.current_time()

    async def read() -> None:
        """What had arrived meanwhile, and takes a moment to be read."""
        await anyio.sleep(0.02)
        silence.heard()
        at["read"] = anyio.current_time()

    silence.heard()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await anyio.sleep(0)
        time.sleep(1)
        tasks.start_soon(read)
    assert at["told"] - at["read"] > 0.39


async def test_while_nobody_listens_nothing_is_silence() -> None:
    silence = Silence(lambda: 0.1)
    silence.heard()
    async with anyio.create_task_group() as tasks:
        told = anyio.Event()

        async def watch() -> None:
            await silence.wait()
            told.set()

        tasks.start_soon(watch)
        silence.is_held = True
        await anyio.sleep(0.6)
        assert not told.is_set()
        silence.is_held = False
        with anyio.fail_after(30):
            await told.wait()


def test_it_is_borne_for_longer_after_each_alarm_and_as_at_first_after_a_calm_time() -> None:
    now = [1000.0]
    patience = Patience(1.2, lambda: now[0])
    limits = list[float]()
    for _ in range(4):
        limits.append(patience.limit_s)
        patience.alarm()
    assert limits == [1.2, 2.4, 4.8, 5.0]
    now[0] += 31
    assert patience.limit_s == 1.2
