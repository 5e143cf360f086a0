"""Time as a loop has it: what a machine that stalls takes from it does not count."""

from __future__ import annotations

import anyio
import pytest

__all__ = ["within"]

TURN_S = 0.01


async def within(seconds: float, event: anyio.Event) -> None:
    """Wait for *event*, at most for so many seconds in which this loop had its turns.

    A promise of "within a second" is about the code. Where the machine does not run us for three
    seconds, that is one turn here, and a second has a hundred of them.
    """
    for _ in range(round(seconds / TURN_S)):
        with anyio.move_on_after(TURN_S):
            await event.wait()
            return
    pytest.fail(f"it did not happen within {seconds:g} s")
