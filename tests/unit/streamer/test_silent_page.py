"""A page that falls silent holds nothing: who sits before it may have come back elsewhere."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest

from downstage.kernel.silence import Silence
from downstage.streamer import peers

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Viewer:
    """Counts how often it let go."""

    def __init__(self) -> None:
        self.let_go_count = 0

    def let_go(self) -> None:
        self.let_go_count += 1


async def test_what_a_silent_page_holds_is_let_go_each_time_that_it_is_silent() -> None:
    viewer, silence = Viewer(), Silence(lambda: 0.05)

    async def until(count: int) -> None:
        with anyio.fail_after(20):
            while viewer.let_go_count < count:
                await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        watch = peers._let_go_in_silence  # pyright: ignore[reportPrivateUsage]
        tasks.start_soon(watch, cast("Any", viewer), silence)
        await anyio.sleep(0.3)
        assert viewer.let_go_count == 0  # it has not said anything yet
        for count in (1, 2):
            silence.heard()
            await until(count)
            await anyio.sleep(0.3)
            assert viewer.let_go_count == count
        tasks.cancel_scope.cancel()
