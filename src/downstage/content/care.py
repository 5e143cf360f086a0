"""What is done in the background for the stored bytes: collect, compact, verify, expire."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from downstage.content.blobs.collect import Collected, Collector
from downstage.content.blobs.compact import Compactor
from downstage.content.blobs.protocol import BlobRef
from downstage.content.blobs.scrub import RATE, Scrub
from downstage.content.blobs.store import DiskBlobs
from downstage.content.uploads import Uploads
from downstage.kernel.logging import get_logger

__all__ = ["Care"]

log = get_logger(__name__)

PAUSE_S = 600.0
"""Between two looks for what can go."""
ROUNDS_PER_COMPACTION = 36
"""Looks between two compactions: six hours."""
SLOWEST = 256 * 1024
"""Bytes a second that a scrub reads at least."""


class Care:
    """Takes care of the bytes of one store.

    Args:
        store: whose.
        uploads: those in progress.
        now_s: seconds since the epoch.
        grace_s: seconds that unused bytes are kept.
        scrub_interval_s: seconds in which everything is read once; 0: never.
    """

    def __init__(
        self,
        store: DiskBlobs,
        uploads: Uploads,
        now_s: Callable[[], int],
        *,
        grace_s: int,
        scrub_interval_s: int,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._now_s = now_s
        self._interval_s = scrub_interval_s
        self._collector = Collector(store, grace_s=grace_s)
        self._compactor = Compactor(store)
        self._scrub = Scrub(store)
        self._total = Collected()
        self._damaged = 0

    async def run(self) -> None:
        """For ever: look for what can go, and at what is kept."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tidy_for_ever)
            if self._interval_s:
                tasks.start_soon(self._scrub_for_ever)

    async def tidy(self, *, compact: bool = False) -> Collected:
        """Once: drop uploads that nobody goes on with, and bytes past their grace."""
        await self._uploads.expire()
        result = await self._collector.collect(self._now_s())
        if compact:
            await self._compactor.compact()
            result.add(await self._collector.retire(self._now_s()))
        self._total.add(result)
        return result

    async def mark(self) -> Collected:
        """Count anew what holds each content, and delete every file that no row names."""
        result = await self._collector.mark(self._now_s())
        self._total.add(result)
        return result

    async def scrub(self) -> list[BlobRef]:
        """Read everything now, as fast as the bound allows; those that are damaged."""
        self._damaged = await self._scrub.run_once()
        return await self._scrub.damaged()

    async def damaged(self) -> list[BlobRef]:
        """Contents found damaged so far; at most 1000."""
        return await self._scrub.damaged()

    def metrics(self) -> list[str]:
        """Lines for Prometheus."""
        return [
            "# HELP downstage_files_damaged Contents whose bytes changed on the disk.",
            "# TYPE downstage_files_damaged gauge",
            f"downstage_files_damaged {self._damaged}",
            "# HELP downstage_files_scrubbed_bytes_total Bytes read and compared with their hash.",
            "# TYPE downstage_files_scrubbed_bytes_total counter",
            f"downstage_files_scrubbed_bytes_total {self._scrub.checked_bytes}",
            "# HELP downstage_files_collected_bytes_total Bytes removed that no version names.",
            "# TYPE downstage_files_collected_bytes_total counter",
            f"downstage_files_collected_bytes_total {self._total.bytes}",
        ]

    async def _tidy_for_ever(self) -> None:
        self._total.add(await self._collector.sweep())
        rounds = 0
        while True:
            await self.tidy(compact=rounds % ROUNDS_PER_COMPACTION == 0)
            rounds += 1
            await anyio.sleep(PAUSE_S)

    async def _scrub_for_ever(self) -> None:
        while True:
            began = anyio.current_time()
            size = await self._scrub.size()
            self._scrub.rate = min(max(size // self._interval_s, SLOWEST), RATE)
            self._damaged = await self._scrub.run_once()
            log.info("content.scrub_finished", damaged=self._damaged, bytes=size)
            await anyio.sleep(max(60.0, began + self._interval_s - anyio.current_time()))
