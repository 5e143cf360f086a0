"""The test card on a real display."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_the_strip_tells_the_time_and_counts_presses(desk) -> None:
    async with desk("test_card", "--fps", "60") as card:
        await card.until(card.strip)
        ages = list[int]()
        for _ in range(20):  # the best of them: the machine is shared
            reading = card.strip()
            if reading is not None:
                assert reading.presses == 0
                ages.append((time.time_ns() // 1_000_000 - reading.wall_ms) % 2**24)
        assert min(ages) < 1000
        card.press(320, 180)
        await card.until(lambda: (seen := card.strip()) and seen.presses == 1)
        card.type("a")
        await card.until(lambda: (seen := card.strip()) and seen.presses == 2)
        card.press(320, 180, button=4)
        card.type("b")
        await card.until(lambda: (seen := card.strip()) and seen.presses == 3)


async def test_a_press_flips_the_square(desk) -> None:
    async with desk("test_card", "--still") as card:
        await card.until(card.strip)
        spot = 360 * 3 // 4 + 10, 640 // 20 + 10
        before = card.look()[spot].tolist()
        card.press(500, 100)
        await card.until(lambda: card.look()[spot].tolist() != before)
        card.press(500, 100)
        await card.until(lambda: card.look()[spot].tolist() == before)


async def test_it_moves_and_follows_the_display(desk) -> None:
    async with desk("test_card", "--fps", "30", screen="1280x720") as card:
        await card.until(card.strip)
        first = card.look()[100:600, 400:900]
        await card.until(lambda: not np.array_equal(card.look()[100:600, 400:900], first))
        for size in ((800, 450), (1280, 720), (640, 480)):
            card.resize(*size)
            await card.until(lambda: card.strip() is not None)
            picture = card.look()
            assert picture.shape[1::-1] == size
            assert picture[-1].any(), "the last row is drawn"


async def test_a_still_card_sleeps_and_wakes_at_once(desk) -> None:
    async with desk("test_card", "--still") as card:
        await card.until(card.strip)
        await card.until(card.rests)
        took_s = list[float]()
        for _ in range(3):  # the best of some: the machine is shared
            before, began = card.strip(), time.monotonic()
            card.press(100, 100)
            await card.until(lambda: card.strip() != before)  # noqa: B023 - called in this round
            took_s.append(time.monotonic() - began)
            if took_s[-1] < 2:
                break
        assert min(took_s) < 2


async def test_noise_is_noise_in_every_picture(desk) -> None:
    async with desk("test_card", "--noise", "--fps", "10") as card:
        await card.until(card.strip)
        one = card.look()[100:200].astype(int)
        assert np.abs(np.diff(one, axis=1)).mean() > 50, "neighbours have nothing in common"
        await card.until(lambda: np.abs(card.look()[100:200].astype(int) - one).mean() > 50)


async def test_no_sound_server_is_told_and_survived(desk) -> None:
    nobody = {"PULSE_SERVER": "unix:/nonexistent/pulse", "SDL_AUDIODRIVER": "pulseaudio"}
    async with desk("test_card", "--tone", "440", environment=nobody) as card:
        await card.until(card.strip)
        card.type("t")
        await card.until(lambda: (seen := card.strip()) and seen.presses == 1)
