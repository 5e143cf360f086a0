"""Beats: said when nothing is to be said, so that who listens can tell silence from quiet."""

from __future__ import annotations

from typing import Any

import anyio

from downstage.gateway.lines import Line

__all__ = ["BEAT", "keep_beating"]

BEAT: dict[str, Any] = {"type": "beat"}


async def keep_beating(line: Line, every_s: float) -> None:
    """Say that we are there, until cancelled."""
    while True:
        await anyio.sleep(every_s)
        line.send(BEAT)
