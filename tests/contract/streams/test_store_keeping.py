"""What every store keeps and lets go: by true sizes, and as streams are deleted and made again."""

from __future__ import annotations

import pytest

from downstage.bus import MemoryBus
from downstage.kernel.settings import Settings
from downstage.streams.model import ZERO, Caller
from downstage.streams.service import open_streams

from .store import Store, push

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

LARGE = [bytes(1 << 20)] * 5
SMALL = [bytes(5000)] * 300
BYTES = 16 << 20


async def _fill(store: Store, caller: Caller, *, refuse: bool = False) -> None:
    """Few large entries, many small ones: what the first ones take says nothing of the rest."""
    when_full = "refuse-new" if refuse else "discard-old"
    retention = {"bytes": BYTES, "when_full": when_full}
    await store.streams.describe(caller, "s", {"retention": retention})
    await push(store.streams, caller, "s", *LARGE)
    await push(store.streams, caller, "s", *SMALL)


async def _length(store: Store, caller: Caller) -> int:
    return (await store.streams.info(caller, "s")).length


async def test_what_fits_by_its_true_size_is_kept(store: Store, caller: Caller) -> None:
    await _fill(store, caller)
    info = await store.streams.info(caller, "s")
    assert 6_000_000 < info.bytes < 10_000_000
    await store.streams._keeper.trim_once()  # pyright: ignore[reportPrivateUsage]
    assert await _length(store, caller) == 305
    # Another process opens it, and appends.
    settings = Settings().streams
    async with open_streams(store.engine, MemoryBus(), settings) as other:
        for _ in range(3):
            await push(other, caller, "s", bytes(5000))
    assert await _length(store, caller) == 308


async def test_a_stream_refuses_by_its_true_size(store: Store, caller: Caller) -> None:
    await _fill(store, caller, refuse=True)
    await push(store.streams, caller, "s", bytes(5000))
    assert await _length(store, caller) == 306
