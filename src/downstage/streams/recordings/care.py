"""What goes on in the background: mending what a dead process left, filing what is finished."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from downstage.kernel.errors import (
    Damaged,
    Forbidden,
    InvalidToken,
    NotFound,
    PlatformError,
    Unavailable,
)
from downstage.kernel.logging import get_logger
from downstage.streams import names
from downstage.streams.recordings.catalogue import Catalogue
from downstage.streams.recordings.model import Recording
from downstage.streams.recordings.readers import Readers
from downstage.streams.recordings.repair import Mended, is_being_written, mend
from downstage.streams.recordings.running import Running
from downstage.streams.recordings.shelf import ContentShelf, Shelf
from downstage.streams.recordings.states import Happened, step

__all__ = ["Care"]

EVERY_S: Final = 1.0
LOOK_S: Final = 30.0
"""How often it is looked for what another process left."""
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
STRAY_S: Final = 60.0
"""A file that nobody knows is somebody's beginning until it is so old."""
LEFT_S: Final = 3600.0
"""A transfer that has not moved for so long is nobody's."""
log = get_logger(__name__)


class Care:
    """Mends, files, and keeps the catalogue's figures fresh.

    Args:
        catalogue, shelf, content, running, readers: of the service.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        shelf: Shelf,
        content: ContentShelf,
        running: Running,
        readers: Readers,
    ) -> None:
        self._catalogue = catalogue
        self._shelf = shelf
        self._content = content
        self._running = running
        self._readers = readers
        self._wait_until: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._soon = anyio.Event()

    def hurry(self) -> None:
        """Something is finished: do not wait for the next turn."""
        self._soon.set()

    async def run(self) -> None:
        """Until cancelled."""
        next_look = 0.0
        await anyio.to_thread.run_sync(_sweep, self._shelf.folder)
        while True:
            try:
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + LOOK_S
                    await self.mend_all()
                await self._running.tell()
                await self.file_all()
            except (PlatformError, OSError) as error:
                log.warning("recordings.care_interrupted", why=str(error))
            with anyio.move_on_after(EVERY_S):
                await self._soon.wait()
            self._soon = anyio.Event()

    async def mend_all(self) -> None:
        """Mend the files of recordings whose process is gone."""
        known = await self._catalogue.unfinished()
        for recording in known:
            if recording.id not in self._running:
                await self.mend(recording)
        await self._adopt()

    async def mend(self, recording: Recording) -> Recording:
        """Mend one, unless somebody still records it; what it is then."""
        path = self._shelf.file(recording)
        try:
            if await anyio.to_thread.run_sync(is_being_written, path):
                return recording
            mended = await anyio.to_thread.run_sync(mend, path)
        except BlockingIOError:
            return recording
        except FileNotFoundError:
            return await self._broke(recording, "file-lost")
        except Damaged:
            return await self._broke(recording, "file-damaged")

        def recovered(found: Recording) -> Recording:
            if found.life.ended:
                return found
            life = step(found.life, Happened.REPAIRED)
            return replace(_as_mended(found, mended), life=life, ended_at=self._running.now_ms())

        self._readers.forget(recording.id)
        done = await self._catalogue.change(recording.id, recovered)
        log.warning("recordings.recovered", recording=recording.id, cut_bytes=mended.cut)
        return done

    async def _broke(self, recording: Recording, why: str) -> Recording:
        log.error("recordings.not_recovered", recording=recording.id, why=why)
        return await self._catalogue.change(
            recording.id,
            lambda r: (
                r
                if r.life.ended
                else replace(
                    r, life=step(r.life, Happened.BROKE, why), ended_at=self._running.now_ms()
                )
            ),
        )

    async def _adopt(self) -> None:
        """Files that the catalogue does not know: its own file may have been lost."""
        for path in await anyio.to_thread.run_sync(_old_files, self._shelf.folder):
            if path.stem in self._running or await self._is_known(path.stem):
                continue
            try:
                mended = await anyio.to_thread.run_sync(mend, path)
                await self._take_in(path.stem, mended)
            except (BlockingIOError, FileNotFoundError):
                continue
            except (PlatformError, KeyError, ValueError) as error:
                log.warning("recordings.stray_file_left", file=path.name, why=str(error))

    async def _is_known(self, id_: str) -> bool:
        try:
            await self._catalogue.change(id_, lambda found: found)
        except NotFound:
            return False
        return True

    async def _take_in(self, id_: str, mended: Mended) -> None:
        about = mended.about
        if about.get("id") != id_ or not names.is_name(about["name"]):
            raise Damaged("The file does not say whose it is.")
        recording = Recording(
            id=id_,
            tenant=about["tenant"],
            name=about["name"],
            owner=about["owner"],
            owner_name=about["owner_name"],
            patterns=tuple(about["streams"].split()),
            started_at=int(about["started_at"]),
        )
        life = step(recording.life, Happened.REPAIRED)
        await self._catalogue.add(replace(_as_mended(recording, mended), life=life))
        log.warning("recordings.stray_file_adopted", recording=id_)

    async def file_all(self) -> None:
        """Put into the content service what is due, one after the other."""
        for recording in await self._catalogue.due():
            if time.monotonic() >= self._wait_until.get(recording.id, 0.0):
                await self._file(recording)

    async def _file(self, recording: Recording) -> None:
        try:
            path = await self._content.put(recording)
        except Unavailable as error:
            pause = min(2 * self._pauses.get(recording.id, FIRST_PAUSE_S / 2), LONGEST_PAUSE_S)
            self._pauses[recording.id] = pause
            self._wait_until[recording.id] = time.monotonic() + pause
            log.info("recordings.filing_put_off", recording=recording.id, why=error.detail)
            return
        except (Forbidden, InvalidToken, NotFound) as error:
            # Nobody to act for, or no right to write there: it stays where it is.
            log.warning("recordings.not_filed", recording=recording.id, why=error.code)
            path = ""
        self._wait_until.pop(recording.id, None)
        self._pauses.pop(recording.id, None)
        await self._catalogue.change(
            recording.id, lambda r: replace(r, content_path=path or r.content_path, due=False)
        )
        if path:
            log.info("recordings.filed", recording=recording.id)


def _as_mended(recording: Recording, mended: Mended) -> Recording:
    facts = {name: facts for name, facts in mended.ledger.facts.items() if facts.count}
    return replace(recording, size=mended.size, facts=facts)


def _sweep(folder: Path) -> None:
    """Remove what transfers left whose process died."""
    since = time.time() - LEFT_S
    for path in folder.glob("*.part"):
        if path.stat().st_mtime < since:
            path.unlink(missing_ok=True)


def _old_files(folder: Path) -> list[Path]:
    since = time.time() - STRAY_S
    return [path for path in folder.glob("*.mcap") if path.stat().st_mtime < since]
