"""The files of a recording as people see them: what was put beside it, and what can be made of it.

::

    {name}.mcap                       the recording itself
    raw/{stream}/{first}_{last}.zip   entries, as the data server had them
    {stream}.mp4 .mjpeg               of pictures
    {stream}.wav                      of sound
    {stream}.json .ndjson             of JSON
    anything else                     what somebody uploaded

What is made is kept beside the recording, and may be removed at any time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from downstage.kernel.errors import (
    AlreadyExists,
    Conflict,
    InvalidField,
    InvalidInput,
    NotFound,
    OutOfSpace,
    PlatformError,
    QuotaReached,
    Unavailable,
)
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.streams.model import Caller, Right
from downstage.streams.recordings import derived
from downstage.streams.recordings.exporting import zip_of_range
from downstage.streams.recordings.layout import read_raw_path
from downstage.streams.recordings.lookup import Lookup
from downstage.streams.recordings.model import Recording, may_change, may_read_all
from downstage.streams.recordings.reader import RecordingReader

__all__ = ["Files", "check_file_name"]

FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@=+ -]{0,199}")
MOST_FILES: Final = 1000
"""Uploaded beside one recording."""
MAKERS: Final = 2
WAIT_S: Final = 20.0
"""How long somebody waits for what is being made; then they are told to come again."""
BY_TYPE: Final = (("image/", (".mp4",)), ("audio/pcm", (".wav",)), ("application/json", (".json",)))
log = get_logger(__name__)


def check_file_name(name: str) -> str:
    """*name*, if a file may be called so.

    Raises:
        InvalidField: it may not.
    """
    if FILE.fullmatch(name) is None or ".." in name or name != name.strip():
        raise InvalidField(
            "fname",
            "A file's name has 1 to 200 letters, digits, blanks or any of _ . : @ = + - and no "
            "two dots in a row.",
        )
    return name


class Files:
    """Files of recordings.

    Args:
        recordings: where they are found.
    """

    def __init__(self, recordings: Lookup) -> None:
        self._recordings = recordings
        self._shelf = recordings.shelf
        self._making: dict[Path, _Making] = {}
        self._threads = anyio.CapacityLimiter(MAKERS)
        self._tasks: TaskGroup | None = None
        self._ending = False

    async def run(self) -> None:
        """Make files, until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                await anyio.sleep_forever()
        finally:
            self._tasks, self._ending = None, True

    async def names(self, recording: Recording) -> list[str]:
        """What there is to be had of a recording, without its raw zips."""
        found = await anyio.to_thread.run_sync(_listed, self._shelf.extras(recording))
        for stream, facts in recording.facts.items():
            for kind, ends in BY_TYPE:
                if (facts.content_type or "").startswith(kind):
                    found += [stream + end for end in ends]
        if recording.life.ended:
            found.append(f"{recording.name}.mcap")
        return sorted(set(found))

    async def find(self, caller: Caller, recording: Recording, file: str) -> Path:
        """Where *file* of a recording lies, made now where it has to be.

        Raises:
            NotFound: there is no such file.
            Forbidden: not for this caller.
            UnsupportedMedia: what the stream holds cannot become that.
            Unavailable: it is being made; come again.
        """
        if file == f"{recording.name}.mcap":
            may_read_all(caller, recording)
            if not recording.life.ended:
                raise Conflict("This recording still runs. Stop it first.")
            return await self._recordings.local(recording)
        if file.startswith("raw/"):
            return await self._raw(caller, recording, file)
        try:
            check_file_name(file)
        except InvalidField as error:
            raise NotFound("There is no such file.") from error
        uploaded = self._shelf.extras(recording) / file
        if await anyio.to_thread.run_sync(uploaded.is_file):
            return uploaded
        return await self._made_of_stream(caller, recording, file)

    async def _raw(self, caller: Caller, recording: Recording, file: str) -> Path:
        try:
            path = read_raw_path(file)
        except InvalidInput as error:
            raise NotFound("There is no such file.") from error
        if path.recording not in ("", recording.name):
            raise NotFound("There is no such file.")
        _refuse(caller, recording, path.stream)
        name = f"{path.stream}.{path.first}_{path.last}.zip"

        def job(reader: RecordingReader, target: Path) -> None:
            target.write_bytes(zip_of_range(reader, path.stream, path.first, path.last))

        return await self._make(recording, name, job)

    async def _made_of_stream(self, caller: Caller, recording: Recording, file: str) -> Path:
        stream, _, kind = file.rpartition(".")
        if kind not in derived.KINDS or not stream:
            raise NotFound("There is no such file.")
        _refuse(caller, recording, stream)
        if not recording.life.ended:
            raise Conflict("This recording still runs. Stop it first.")

        def job(reader: RecordingReader, target: Path) -> None:
            derived.make(reader, stream, kind, target, lambda: self._ending)

        return await self._make(recording, file, job)

    async def _make(
        self, recording: Recording, name: str, job: Callable[[RecordingReader, Path], None]
    ) -> Path:
        """The file *name* among what is made, made by *job* if it is not there yet."""
        target = self._shelf.cache(recording) / name
        if await anyio.to_thread.run_sync(target.is_file):
            return target
        making = self._making.get(target)
        if making is None:
            if self._tasks is None:
                raise Unavailable("The service is not running.", retry_after_s=1)
            making = self._making[target] = _Making()
            source = await self._recordings.local(recording)
            self._tasks.start_soon(self._run, making, source, target, job)
        with anyio.move_on_after(WAIT_S):
            await making.done.wait()
        if not making.done.is_set():
            raise Unavailable("This file is being made. Ask again.", retry_after_s=5)
        if making.failure is not None:
            raise making.failure
        return target

    async def _run(
        self,
        making: _Making,
        source: Path,
        target: Path,
        job: Callable[[RecordingReader, Path], None],
    ) -> None:
        try:
            await anyio.to_thread.run_sync(
                partial(_make_file, source, target, job), limiter=self._threads
            )
        except PlatformError as error:
            making.failure = error
        except derived.Stopped:
            making.failure = Unavailable("The service is ending.", retry_after_s=5)
        except FileNotFoundError:
            making.failure = NotFound("The file of this recording is gone.")
        except OSError as error:
            log.warning("recordings.file_not_made", why=str(error))
            making.failure = OutOfSpace("There is no room to make this file.")
        finally:
            self._making.pop(target, None)
            making.done.set()

    async def put(
        self, caller: Caller, recording: Recording, name: str, part: Path, *, overwrite: bool
    ) -> None:
        """Put the file *part* beside a recording, as *name*.

        Raises:
            AlreadyExists: there is one of that name.
            QuotaReached: there are too many.
            Forbidden: not by this caller.
        """
        may_change(caller, recording)
        check_file_name(name)
        if name == f"{recording.name}.mcap":
            raise AlreadyExists("That name is the recording's own.")
        folder = self._shelf.extras(recording)
        await anyio.to_thread.run_sync(partial(_put, folder, name, part, overwrite=overwrite))

    def scratch(self) -> Path:
        """A new name for what comes in, in the folder of recordings."""
        return self._shelf.folder / f"{new_id('in')}.part"


class _Making:
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.failure: PlatformError | None = None


def _refuse(caller: Caller, recording: Recording, stream: str) -> None:
    if stream not in recording.facts or Right.READ not in caller.rights(stream):
        raise NotFound("There is no such file.")


def _make_file(source: Path, target: Path, job: Callable[[RecordingReader, Path], None]) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    part = target.with_name(f".{new_id('new')}")
    try:
        with RecordingReader(source) as reader:
            job(reader, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _listed(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _put(folder: Path, name: str, part: Path, *, overwrite: bool) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if len(_listed(folder)) >= MOST_FILES:
        raise QuotaReached(f"There are {MOST_FILES} files beside this recording already.")
    if overwrite:
        part.replace(folder / name)
        return
    try:
        os.link(part, folder / name)
    except FileExistsError as error:
        raise AlreadyExists(f"There is a file {name} already. Say overwrite=true.") from error
    part.unlink()
