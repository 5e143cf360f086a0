"""One byte put into the middle of a large file: how much of it is stored anew."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from downstage.content.model import Caller
from downstage.content.service import open_content
from downstage.kernel.clock import SystemClock
from measuring.content.places import Places

__all__ = ["measure"]

SIZE = 512 * 1024 * 1024
PIECE = 1024 * 1024
ALICE = Caller("alice", "alice")


async def measure(places: Places, rounds: int) -> list[dict[str, Any]]:
    """In per cent of the file."""
    del rounds
    folder = places.folder / "chunks"
    folder.mkdir()
    content = await open_content(folder, clock=SystemClock())
    await content.write(ALICE, "/large", _bytes(None))
    before = _held(folder)
    await content.write(ALICE, "/large", _bytes(SIZE // 2))
    new = _held(folder) - before
    await content.close()
    return [
        {
            "question": "1 byte inserted in 512 MB",
            "ours": f"{new / 1024:,.0f} KiB new",
            "theirs": f"{SIZE // 1024:,} KiB",
            "which": "the file, per cent stored anew",
            "ratios": [new / SIZE * 100],
            "goal": 0.1,
            "more_is_better": False,
        }
    ]


async def _bytes(insert_at: int | None) -> AsyncIterator[bytes]:
    """The same pseudo-random bytes each time, with one more at *insert_at*."""
    source = random.Random(7)
    for start in range(0, SIZE, PIECE):
        piece = source.randbytes(PIECE)
        if insert_at is not None and start <= insert_at < start + PIECE:
            at = insert_at - start
            piece = piece[:at] + b"!" + piece[at:]
        yield piece


def _held(folder: Path) -> int:
    """Bytes on disk below *folder*."""
    found = 0
    for path, _, names in os.walk(folder):
        found += sum((Path(path) / name).stat().st_blocks * 512 for name in names)
    return found
