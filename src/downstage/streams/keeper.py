"""Keeps the house: rates, deadlines of what is held, retention by age and by true size."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.kernel.settings import Streams as Settings
from downstage.streams.engine import encode
from downstage.streams.index import Index
from downstage.streams.outlets import Outlets
from downstage.streams.part import Part
from downstage.streams.parts import Parts
from downstage.streams.pipeline import gather, weigh
from downstage.streams.retention import Bounds, bounds
from downstage.streams.stats import Figures

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Keeper"]

TICK_S = 1.0
TRIM_S = 5.0
LEASE_MS = 15_000
AT_ONCE = 64
"""Streams that are looked at in one go."""
OVER = 1.25
"""How much more than its bytes a stream may take before it is cut: sizes are estimates."""
log = get_logger(__name__)


class Keeper:
    """Works in the background, a little at a time."""

    def __init__(
        self, parts: Parts, index: Index, outlets: Outlets, figures: Figures, settings: Settings
    ) -> None:
        self._parts = parts
        self._index = index
        self._outlets = outlets
        self._figures = figures
        self._settings = settings

    async def tick(self) -> None:
        """Each second: rates, deadlines; until cancelled."""
        before = time.monotonic()
        while True:
            await anyio.sleep(TICK_S)
            now = time.monotonic()
            self._parts.expire(now)
            self._outlets.forget_idle(now)
            self._figures.tick(max(now - before, 0.001), now)
            totals = self._figures.totals
            totals.in_flight, totals.unknown = self._parts.in_flight, self._parts.lost
            before = now

    async def trim(self) -> None:
        """Every few seconds, in one process alone: cut what is too old or too large."""
        while True:
            await anyio.sleep(TRIM_S)
            try:
                await self._outlets.adopt()
                if await self._has_lease():
                    await self.trim_once()
            except PlatformError as error:
                log.debug("streams.trim_put_off", why=error.detail)

    async def _has_lease(self) -> bool:
        home = self._parts.homes[0]
        key = home.keys.lease("trim")
        command = home.command
        taken = await command.call("SET", key, self._parts.process, "NX", "PX", LEASE_MS)
        if taken is None and await command.call("GET", key) != self._parts.process.encode():
            return False
        await command.call("PEXPIRE", key, LEASE_MS)
        return True

    async def trim_once(self) -> None:
        """Look at every stream once.

        Raises:
            NotReady: the engine does not answer.
        """
        for tenant in await self._index.tenants():
            catalog = await self._index.fresh(tenant)
            streams = (
                (self._parts.of(tenant, name, spec), name, bounds(spec.retention, self._settings))
                for name in list(catalog.made)
                for spec in (catalog.spec(name),)
            )
            while await self._some(tenant, streams):
                await anyio.lowlevel.checkpoint()

    async def _some(self, tenant: str, streams: Iterator[tuple[Part, str, Bounds]]) -> bool:
        by_part: dict[Part, list[tuple[bytes, Bounds]]] = {}
        some = list(islice(streams, AT_ONCE))
        for part, name, kept in some:
            by_part.setdefault(part, []).append((part.keys.stream(tenant, name), kept))
        for part, mine in by_part.items():
            await self._cut(part, mine)
        return bool(some)

    async def _cut(self, part: Part, streams: list[tuple[bytes, Bounds]]) -> None:
        """Rounds: how old it is there and how large they are, about; which are; what has to go."""
        looks = [encode("TIME")]
        for key, _ in streams:
            looks += [encode("XLEN", key), encode("MEMORY", "USAGE", key)]
        (now, *sizes) = await gather(part.command, looks)
        if isinstance(now, PlatformError):
            raise now
        now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
        cuts: list[bytes] = []
        large: list[tuple[bytes, Bounds]] = []
        for at, (key, kept) in enumerate(streams):
            length, size = sizes[2 * at : 2 * at + 2]
            if kept.age_ms:
                cuts.append(encode("XTRIM", key, "MINID", "~", now_ms - kept.age_ms))
            if isinstance(length, int) and not kept.refuse and _is_over(size, kept):
                large.append((key, kept))
        cuts += await self._oversized(part, large)
        if cuts:
            await gather(part.command, cuts)

    @staticmethod
    async def _oversized(part: Part, streams: list[tuple[bytes, Bounds]]) -> list[bytes]:
        """What cuts those of *streams* that are too large by their true size."""
        if not streams:
            return []
        looks = [command for key, _ in streams for command in (encode("XLEN", key), weigh(key))]
        found = await gather(part.command, looks)
        cuts: list[bytes] = []
        for at, (key, kept) in enumerate(streams):
            length, size = found[2 * at : 2 * at + 2]
            if isinstance(length, int) and _is_over(size, kept):
                keep = max(1, length * kept.bytes // size)
                cuts.append(encode("XTRIM", key, "MAXLEN", "~", keep))
        return cuts


def _is_over(size: object, kept: Bounds) -> bool:
    return isinstance(size, int) and size > OVER * kept.bytes
