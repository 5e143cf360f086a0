"""Copies a stage and all that it refers to, in parallel, with bounds on what it may ask for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from downstage.client.client import Client
from downstage.client.logs import log
from downstage.client.places import Place
from downstage.client.providers.provider import no_progress
from downstage.client.stages.places import Mirror, Target
from downstage.client.types import LogLevel
from downstage.kernel.errors import NotFound, PlatformError, TooLarge, Unavailable

__all__ = ["LAYERS", "MAX_FILES", "Fetched", "Fetcher", "Problem"]

LAYERS = frozenset({".usd", ".usda", ".usdc"})
"""Files that refer to others; a .usdz holds all of its own."""
MAX_FILES = 20_000
"""Files of one stage."""
MAX_BYTES = 64 * 1024**3
MAX_DEPTH = 64
"""Layers that refer to each other in a row."""
PARALLEL = 16
"""Files fetched at once."""

Rewrite = Callable[[Path, Callable[[str], str]], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a stage refers to and that is not there."""

    asset: str
    """As the layer has it, or the URL."""
    layer: str
    """URL of the layer that names it."""
    reason: str


@dataclass(slots=True)
class Fetched:
    """What came of it."""

    path: Path
    """The copy of the stage's own file."""
    etag: str = ""
    files: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])


class Fetcher:
    """Fetches one stage; runs on the engine's loop.

    Args:
        client: whose.
        mirror: where copies go.
        rewrite: lays other asset paths into a copy; runs in a thread, sees each path of the layer.
    """

    def __init__(self, client: Client, mirror: Mirror, rewrite: Rewrite) -> None:
        self._client = client
        self._mirror = mirror
        self._rewrite = rewrite
        self._seen = set[str]()
        self._slots = asyncio.Semaphore(PARALLEL)
        self._result = Fetched(Path())

    async def fetch(self, place: Place) -> Fetched:
        """Copy *place* and what it refers to.

        Raises:
            NotFound, Unavailable, Unauthenticated, Forbidden: of the file itself. What it refers
                to and is not there is in `Fetched.problems`.
            TooLarge: more than one stage may have.
        """
        self._result.path = self._mirror.path_of(place)
        self._seen.add(place.url)
        try:
            wanted = await self._one(place)
        except Unavailable as error:
            raise Unavailable(
                f"{place.url} cannot be fetched: {error.detail}", retry_after_s=error.retry_after_s
            ) from error
        await self._follow(wanted)
        return self._result

    async def follow(self, layer: Place, assets: list[str]) -> Fetched:
        """Fetch what *assets* in the layer at *layer* mean; it never raises for one of them."""
        targets = [(layer, asset, self._mirror.target(layer, asset)) for asset in assets]
        await self._follow([(place, asset, target) for place, asset, target in targets])
        return self._result

    async def _follow(self, wanted: list[tuple[Place, str, Target]]) -> None:
        for _ in range(MAX_DEPTH):
            places = await self._places(wanted)
            if not places:
                return
            found = await asyncio.gather(*(self._part(*item) for item in places))
            wanted = [item for part in found for item in part]
        if wanted:
            raise TooLarge(f"The layers refer to each other more than {MAX_DEPTH} deep.")

    async def _places(
        self, wanted: list[tuple[Place, str, Target]]
    ) -> list[tuple[Place, Place, str]]:
        """What of *wanted* is to be fetched, each once."""
        places = list[tuple[Place, Place, str]]()
        for layer, asset, target in wanted:
            if target.refused:
                self._tell(asset, layer, target.refused)
            for place in await self._resolved(layer, asset, target):
                if place.url not in self._seen:
                    self._seen.add(place.url)
                    places.append((place, layer, asset))
        if len(self._seen) > MAX_FILES:
            raise TooLarge(f"A stage refers to at most {MAX_FILES} files.")
        return places

    async def _resolved(self, layer: Place, asset: str, target: Target) -> list[Place]:
        if target.place is None:
            return []
        if target.pattern is None:
            return [target.place]
        pattern, folder = target.pattern, target.place
        try:
            provider = await self._client.provider(folder)
            entries = await provider.entries(folder)
        except PlatformError as error:
            self._tell(asset, layer, error.detail)
            return []
        names = [entry.relative_path for entry in entries]
        return [folder.child(name) for name in names if pattern.fullmatch(name)]

    async def _part(
        self, place: Place, layer: Place, asset: str
    ) -> list[tuple[Place, str, Target]]:
        try:
            return await self._one(place)
        except NotFound:
            self._tell(asset, layer, "It is not there.")
        except TooLarge:
            raise
        except PlatformError as error:
            self._tell(asset, layer, error.detail)
        except OSError as error:
            self._tell(asset, layer, error.strerror or "It cannot be kept on this machine.")
        return []

    async def _one(self, place: Place) -> list[tuple[Place, str, Target]]:
        """Fetch one file; what it refers to."""
        async with self._slots:
            provider = await self._client.provider(place)
            entry = await provider.stat(place)
            _, content = await provider.read(place, no_progress)
        result = self._result
        result.files += 1
        result.bytes += len(content)
        if result.bytes > MAX_BYTES:
            raise TooLarge("The stage is larger than this machine should hold.")
        path = self._mirror.path_of(place)
        if path == result.path:
            result.etag = entry.hash or ""
        return await asyncio.to_thread(self._put, place, path, memoryview(content))

    def _put(
        self, place: Place, path: Path, content: memoryview
    ) -> list[tuple[Place, str, Target]]:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{token_hex(8)}{path.suffix}")
        wanted = list[tuple[Place, str, Target]]()

        def rewritten(asset: str) -> str:
            target = self._mirror.target(place, asset)
            wanted.append((place, asset, target))
            return target.written

        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            if path.suffix.lower() in LAYERS:
                self._rewrite(temporary, rewritten)
            if not _is_same(path, temporary):
                temporary.replace(path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        return wanted

    def _tell(self, asset: str, layer: Place, reason: str) -> None:
        self._result.problems.append(Problem(asset, layer.url, reason))
        log(LogLevel.WARNING, "client.asset_missing", asset=asset[:256], why=reason)


def _is_same(one: Path, other: Path) -> bool:
    """Whether both have the same bytes: a copy that USD has open is left as it is."""
    try:
        return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
    except FileNotFoundError:
        return False
