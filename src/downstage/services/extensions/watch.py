"""Hot reload: what changes in the folders of extensions is loaded anew."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType]

from downstage.kernel.logging import get_logger
from downstage.services.extensions.discovery import Found, choose, in_folders
from downstage.services.extensions.lifecycle import Lifecycle
from downstage.services.extensions.unit import Unit

__all__ = ["Reloaded", "Watcher"]

KINDS = frozenset({".py", ".toml"})
STEP_MS = 40
"""So long nothing may change any more before a change counts: editors write in several steps."""
LONGEST_MS = 400
IGNORED = frozenset({"__pycache__", "node_modules", ".git", ".venv", "downstage-data", "tests"})
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """One reload, for whoever shows it."""

    unit: Unit | None
    """None: it is gone."""
    name: str
    files: tuple[str, ...]
    ms: float


class Watcher:
    """Watches folders and reloads; `listeners` are told of each reload.

    Args:
        lifecycle: what reloads them.
        folders: where they are.
        taken: names that no extension may have.
    """

    def __init__(
        self, lifecycle: Lifecycle, folders: Sequence[Path], *, taken: Iterable[str] = ()
    ) -> None:
        self.listeners: list[Callable[[Reloaded], None]] = []
        self._lifecycle = lifecycle
        self._taken = frozenset(taken)
        self._folders = tuple(folder.resolve() for folder in folders)
        self.ready = anyio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        if not self._folders:
            return
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            # Its thread hears of nothing but this event: a cancellation alone would wait for it.
            tasks.start_soon(_set_when_cancelled, stop)
            async with aclosing(self._changes(stop)) as changes:
                self.ready.set()
                async for paths in changes:
                    await self._apply(paths)

    def _changes(self, stop: anyio.Event) -> AsyncGenerator[set[str]]:
        async def only_paths() -> AsyncGenerator[set[str]]:
            found = awatch(
                *self._folders,
                watch_filter=self._counts,
                step=STEP_MS,
                debounce=LONGEST_MS,
                stop_event=stop,
            )
            async with aclosing(found) as batches:
                async for batch in batches:
                    yield {path for _, path in batch}

        return only_paths()

    def _counts(self, change: Change, path: str) -> bool:
        """Sources and manifests; and folders that come or go, which may be extensions."""
        del change
        parts = Path(path).parts
        inside = next((len(f.parts) for f in self._folders if path.startswith(str(f))), 0)
        if IGNORED & set(parts[inside:]) or any(p.startswith(".") for p in parts[inside:]):
            return False
        suffix = Path(path).suffix
        return suffix in KINDS or suffix == "" or path in self._homes()

    def _homes(self) -> dict[str, str]:
        return {
            str(unit.found.folder): unit.name
            for unit in self._lifecycle.units.values()
            if unit.found.folder is not None
        }

    async def _apply(self, paths: set[str]) -> None:
        began = time.perf_counter()
        before = self._homes()
        found = await anyio.to_thread.run_sync(self._look)
        for name in await self._lifecycle.update(found):
            self._tell(name, paths, began)
        now = self._homes()
        touched = dict[str, list[str]]()
        for path in sorted(paths):
            home = next((home for home in now if Path(path).is_relative_to(home)), None)
            if home is not None and home in before and Path(path).suffix in KINDS:
                touched.setdefault(now[home], []).append(path)
        for name, files in touched.items():
            began = time.perf_counter()
            unit = await self._lifecycle.reload(name)
            self._tell(unit.name, files, began)

    def _look(self) -> list[Found]:
        folders = [folder for folder in self._folders if folder.is_dir()]
        return choose(in_folders(folders), taken=sorted(self._taken))

    def _tell(self, name: str, files: Iterable[str], began: float) -> None:
        ms = round((time.perf_counter() - began) * 1e3, 1)
        report = Reloaded(self._lifecycle.units.get(name), name, tuple(files), ms)
        for listener in self.listeners:
            listener(report)


async def _set_when_cancelled(event: anyio.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        event.set()
