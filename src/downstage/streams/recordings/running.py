"""Recordings that run in this process: started, stopped, and written down in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from downstage.kernel.clock import Clock
from downstage.kernel.errors import PlatformError, TooMany, Unavailable
from downstage.kernel.logging import get_logger
from downstage.streams.model import Caller
from downstage.streams.recordings.catalogue import Catalogue
from downstage.streams.recordings.ledger import Ledger
from downstage.streams.recordings.model import Recording
from downstage.streams.recordings.recorder import SHUTDOWN, Recorder
from downstage.streams.recordings.shelf import Shelf
from downstage.streams.recordings.states import Happened, State, step
from downstage.streams.recordings.writer import FLOOR, RecordingFile
from downstage.streams.service import Streams

__all__ = ["Running", "about_of"]

MOST: Final = 64
"""Recordings at once in one process."""
WRITERS: Final = 8
"""Threads that write them."""
END_S: Final = 2.5
"""At the end of the service: the rest is mended at the next start."""
log = get_logger(__name__)


@dataclass(slots=True)
class _Job:
    recording: Recording
    recorder: Recorder
    ended: anyio.Event = field(default_factory=anyio.Event)
    stopping: bool = False


class Running:
    """Starts and stops recorders.

    Args:
        streams: what they read.
        catalogue: where they are written down.
        shelf: where their files lie.
        clock: of the platform.
        keeps: whether finished recordings are to be put into the content service.
        floor: bytes that stay free on the disk.
    """

    def __init__(
        self,
        streams: Streams,
        catalogue: Catalogue,
        shelf: Shelf,
        clock: Clock,
        *,
        keeps: bool,
        floor: int = FLOOR,
    ) -> None:
        self._streams = streams
        self._catalogue = catalogue
        self._shelf = shelf
        self._clock = clock
        self._keeps = keeps
        self.floor = floor
        self._jobs: dict[str, _Job] = {}
        self._tasks: TaskGroup | None = None
        self._threads = anyio.CapacityLimiter(WRITERS)

    def attach(self, tasks: TaskGroup) -> None:
        """Run recorders in *tasks* from now on."""
        self._tasks = tasks

    def __contains__(self, id_: str) -> bool:
        return id_ in self._jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def ledger(self, id_: str) -> Ledger | None:
        """What is on the disk of one that runs here."""
        job = self._jobs.get(id_)
        return None if job is None else job.recorder.ledger

    def now_ms(self) -> int:
        """The time, as recordings have it."""
        return int(self._clock.now().timestamp() * 1000)

    def fresh(self, recording: Recording) -> Recording:
        """*recording* with the figures of this moment, where it runs here."""
        job = self._jobs.get(recording.id)
        if job is None:
            return recording
        recorder = job.recorder
        facts = {name: replace(f) for name, f in list(recorder.ledger.facts.items()) if f.count}
        return replace(recording, size=recorder.size, facts=facts, gaps=recorder.gaps)

    async def start(self, recording: Recording, caller: Caller) -> None:
        """Record from now on; back when nothing that is stored from now on is missed.

        Raises:
            AlreadyExists, QuotaReached: the catalogue does not take it.
            OutOfSpace: the disk is too full.
            TooMany: too many run.
            Unavailable: the engine does not answer.
        """
        if self._tasks is None:
            raise Unavailable("The recorder is not running.", retry_after_s=1)
        if len(self._jobs) >= MOST:
            raise TooMany(f"{MOST} recordings run already. Stop one first.")
        path, about = self._shelf.file(recording), about_of(recording)
        file = await anyio.to_thread.run_sync(lambda: RecordingFile(path, about, floor=self.floor))
        recorder = Recorder(self._streams, caller, recording.patterns, file, self._threads)
        try:
            await recorder.begin()
            await self._catalogue.add(recording)
        except BaseException:
            file.abandon()
            path.unlink(missing_ok=True)
            raise
        job = self._jobs[recording.id] = _Job(recording, recorder)
        self._tasks.start_soon(self._run, job)
        log.info("recordings.started", recording=recording.id, streams=recording.patterns)

    async def stop(self, id_: str) -> None:
        """Stop one that runs here; back when its file is closed and the catalogue says so."""
        job = self._jobs[id_]
        if not job.stopping:
            job.stopping = True
            await self._catalogue.change(
                id_, lambda r: replace(r, life=step(r.life, Happened.STOP))
            )
            await job.recorder.stop()
        await job.ended.wait()

    async def tell(self) -> None:
        """Write the figures of all that run here into the catalogue; stop those told elsewhere."""
        for job in list(self._jobs.values()):
            found = await self._catalogue.change(job.recording.id, self.fresh)
            if found.life.state is State.STOPPING and not job.stopping and self._tasks:
                self._tasks.start_soon(self.stop, job.recording.id)

    async def end(self) -> None:
        """The service ends: close all files."""
        for job in self._jobs.values():
            job.recorder.failed = job.recorder.failed or ("" if job.stopping else SHUTDOWN)
            job.recorder.cancel()
        with anyio.move_on_after(END_S):
            for job in list(self._jobs.values()):
                await job.ended.wait()

    async def _run(self, job: _Job) -> None:
        try:
            await job.recorder.run()
        finally:
            with anyio.CancelScope(shield=True):
                await self._write_down(job)

    async def _write_down(self, job: _Job) -> None:
        failed = job.recorder.failed

        def ended(recording: Recording) -> Recording:
            life = recording.life
            if not failed:
                life = step(life, Happened.STOP)
            life = step(life, Happened.BROKE if failed else Happened.CLOSED, failed)
            found = self.fresh(recording)
            return replace(found, life=life, ended_at=self.now_ms(), due=self._keeps)

        try:
            done = await self._catalogue.change(job.recording.id, ended)
            log.info("recordings.ended", recording=done.id, state=done.life.state.value, why=failed)
        except PlatformError as error:  # the next start mends it
            log.warning("recordings.end_not_written", recording=job.recording.id, why=error.code)
        finally:
            del self._jobs[job.recording.id]
            job.ended.set()


def about_of(recording: Recording) -> dict[str, str]:
    """What a file says of itself."""
    return {
        "id": recording.id,
        "tenant": recording.tenant,
        "name": recording.name,
        "owner": recording.owner,
        "owner_name": recording.owner_name,
        "streams": " ".join(recording.patterns),
        "started_at": str(recording.started_at),
    }
