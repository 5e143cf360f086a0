"""Large answers stay in memory until they are taken: nobody has many of them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from downstage.kernel.errors import TooMany
from downstage.streams.dialects.ptg.sending import MOST_LARGE, LargeAnswers, Pieces
from downstage.streams.model import Caller

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LARGE = [bytes(2 << 20)]


async def receive() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def test_T03_who_takes_no_answers_gets_no_more_of_them() -> None:
    large, taken = LargeAnswers(), anyio.Event()
    ann, bob = (Caller(name, name, "main", ()) for name in ("ann", "bob"))
    statuses = list[int]()

    async def stalled(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        elif message.get("more_body"):
            await taken.wait()

    async def ask(who: Caller, pieces: list[bytes]) -> None:
        await Pieces(pieces, {}, who, large)({"type": "http"}, receive, stalled)

    async with anyio.create_task_group() as tasks:
        for _ in range(MOST_LARGE):
            tasks.start_soon(ask, ann, LARGE)
        await anyio.wait_all_tasks_blocked()
        assert statuses == [200] * MOST_LARGE
        with pytest.raises(TooMany):
            large.refuse_more(ann)
        await ask(ann, LARGE)  # asked for before that was known
        tasks.start_soon(ask, bob, LARGE)
        tasks.start_soon(ask, ann, [b"small"])
        await anyio.wait_all_tasks_blocked()
        assert statuses[MOST_LARGE:] == [429, 200, 200]
        taken.set()
    large.refuse_more(ann)
