"""Recordings: the one door to them, for every dialect. Every method checks what the caller may."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from downstage.kernel.clock import Clock
from downstage.kernel.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidField,
    PlatformError,
)
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.streams import names
from downstage.streams.model import Caller, Grant, Right
from downstage.streams.recordings.care import Care
from downstage.streams.recordings.catalogue import Catalogue
from downstage.streams.recordings.lookup import Lookup
from downstage.streams.recordings.model import (
    Recording,
    may_change,
    recorder_of,
)
from downstage.streams.recordings.running import Running
from downstage.streams.recordings.shelf import ClientOf, ContentShelf, Shelf
from downstage.streams.recordings.states import Happened, step
from downstage.streams.recordings.writer import FLOOR
from downstage.streams.service import Streams

__all__ = ["EVENTS", "Recordings", "open_recordings"]

T = TypeVar("T")
EVENTS: Final = "event:recording:id"
"""Stream of what is recorded: the name of one that begins; empty when one ends."""
STOP_S: Final = 20.0
POLL_S: Final = 0.05
EVENT_S: Final = 2.0
MOST_PATTERNS: Final = 256
log = get_logger(__name__)


class Recordings(Lookup):
    """Recordings of every tenant; made by `open_recordings`."""

    def __init__(
        self,
        streams: Streams,
        shelf: Shelf,
        catalogue: Catalogue,
        content: ContentShelf,
        running: Running,
    ) -> None:
        super().__init__(shelf, catalogue, content, running)
        self.streams = streams
        self.care = Care(catalogue, shelf, content, running, self.readers)

    # --- recording

    async def start(
        self, caller: Caller, name: str | None = None, patterns: Sequence[str] = ("*",)
    ) -> Recording:
        """Record streams from now on; those that are made later join by their pattern.

        Args:
            caller: may record them; of a pattern's, those are recorded that it may.
            name: None: date and time.
            patterns: names of streams and patterns.

        Raises:
            AlreadyExists: there is a recording of that name.
            Forbidden, NotFound: not these streams.
            OutOfSpace, TooMany, Unavailable: not now.
        """
        if not 1 <= len(patterns) <= MOST_PATTERNS:
            raise InvalidField("streams", f"Name 1 to {MOST_PATTERNS} streams or patterns.")
        wanted = tuple(dict.fromkeys(names.check_pattern(p, "streams") for p in patterns))
        reads_as = recorder_of(caller, wanted)
        now = self._running.now_ms()
        given = names.check(name, "name") if name is not None else ""
        recording = Recording(
            id=new_id("rec"),
            tenant=caller.tenant,
            name=given or self.name_of(now),
            owner=caller.subject,
            owner_name=caller.name,
            patterns=wanted,
            started_at=now,
        )
        for n in range(2, 100):
            try:
                await self._running.start(recording, reads_as)
                break
            except AlreadyExists:
                if given:
                    raise
                recording = replace(recording, name=f"{recording.name.partition('_')[0]}_{n}")
        await self._tell(caller.tenant, recording.name)
        return recording

    async def stop(self, caller: Caller, name: str) -> Recording:
        """End a recording; back when its file is closed. One that has ended stays as it is.

        Raises:
            NotFound, Forbidden: not by this caller.
            DeadlineExceeded: its process does not answer.
        """
        recording = await self.get(caller, name)
        may_change(caller, recording)
        if recording.life.ended:
            return recording
        if recording.id in self._running:
            await self._running.stop(recording.id)
        else:
            await self._stop_elsewhere(recording)
        await self._tell(caller.tenant, "")
        self.care.hurry()
        return await self._catalogue.change(recording.id, lambda found: found)

    async def _stop_elsewhere(self, recording: Recording) -> None:
        """Another process records it, and looks into the catalogue every second."""
        try:
            with anyio.fail_after(STOP_S):
                found = await self._catalogue.change(
                    recording.id, lambda r: replace(r, life=step(r.life, Happened.STOP))
                )
                while not found.life.ended:
                    await anyio.sleep(POLL_S)
                    found = await self.care.mend(found)
                    found = await self._catalogue.change(recording.id, lambda r: r)
        except TimeoutError as error:
            raise DeadlineExceeded("The process that records this does not answer.") from error

    async def _tell(self, tenant: str, name: str) -> None:
        """Add an event, as the data server does; a recording does not fail for it."""
        teller = Caller("service:streams", "streams", tenant, (Grant("event:*", Right.WRITE),))
        with anyio.move_on_after(EVENT_S):
            try:
                await self.streams.append(teller, [(EVENTS, b"*", name.encode())])
            except PlatformError as error:
                log.warning("recordings.event_not_told", why=error.code)

    async def rename(self, caller: Caller, name: str, to: str) -> Recording:
        """Give one another name.

        Raises:
            AlreadyExists: it is another one's.
        """
        names.check(to, "name")
        recording = await self._to_change(caller, name)
        done = await self._catalogue.change(recording.id, lambda r: replace(r, name=to))
        if done.content_path:
            try:
                path = await self._content.move(done, to)
            except PlatformError as error:  # it keeps its old name there
                log.warning("recordings.not_moved", recording=done.id, why=error.code)
            else:
                done = await self._catalogue.change(
                    done.id, lambda r: replace(r, content_path=path)
                )
        return done

    async def hide(self, caller: Caller, name: str, *, hidden: bool) -> Recording:
        """Leave one out of listings, or not any more."""
        recording = await self._to_change(caller, name)
        return await self._catalogue.change(recording.id, lambda r: replace(r, hidden=hidden))

    async def delete(self, caller: Caller, name: str) -> Recording:
        """Remove one for good, also from the content service; one that runs is stopped first."""
        recording = await self._to_change(caller, name)
        if not recording.life.ended:
            recording = await self.stop(caller, name)
        if recording.content_path:
            await self._content.remove(recording)
        await self._catalogue.remove(recording.id)
        self.readers.forget(recording.id)
        await anyio.to_thread.run_sync(self.shelf.drop, recording)
        log.info("recordings.deleted", recording=recording.id)
        return recording

    async def clear_cache(self, caller: Caller) -> dict[str, int]:
        """Remove what can be had again, of all that the caller may change; files, by name."""
        cleared: dict[str, int] = {}
        for recording in await self.list(caller, hidden=True):
            try:
                may_change(caller, recording)
            except PlatformError:
                continue
            keeps = not recording.content_path or not recording.life.ended
            count = await anyio.to_thread.run_sync(
                lambda r=recording, k=keeps: self.shelf.clear(r, keeps_file=k)
            )
            if count:
                cleared[recording.name] = count
        return cleared

    async def add(self, recording: Recording) -> None:
        """Take in one whose file is complete, as an import makes it."""
        await self._catalogue.add(recording)
        self.care.hurry()

    async def _to_change(self, caller: Caller, name: str) -> Recording:
        recording = await self.get(caller, name)
        may_change(caller, recording)
        return recording

    # --- life

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run recorders and care for recordings, until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._running.attach(tasks)
            task_status.started()
            tasks.start_soon(self.care.run)

    async def end(self) -> None:
        """Close all files, within about three seconds."""
        await self._running.end()

    @property
    def running(self) -> int:
        """Recordings that run in this process."""
        return len(self._running)


@asynccontextmanager
async def open_recordings(
    streams: Streams,
    folder: Path,
    client_of: ClientOf,
    clock: Clock,
    *,
    to_content: bool,
    floor: int = FLOOR,
) -> AsyncGenerator[Recordings]:
    """Recordings in *folder*, until the block is left.

    Args:
        streams: what is recorded.
        folder: for files and the catalogue; made, for its owner alone.
        client_of: makes clients of the content service.
        clock: of the platform.
        to_content: put what is finished into the content service.
        floor: bytes that stay free on the disk.
    """
    await anyio.to_thread.run_sync(lambda: folder.mkdir(0o700, parents=True, exist_ok=True))
    shelf, catalogue = Shelf(folder), Catalogue(folder / "recordings.db")
    content = ContentShelf(shelf, client_of)
    running = Running(streams, catalogue, shelf, clock, keeps=to_content, floor=floor)
    try:
        await catalogue.open()
        yield Recordings(streams, shelf, catalogue, content, running)
    finally:
        with anyio.CancelScope(shield=True):
            await running.end()
            await catalogue.close()
