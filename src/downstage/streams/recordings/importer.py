"""A body that is to become a recording: received, looked at, written, put into the catalogue."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from starlette.types import Receive

from downstage.kernel.errors import AlreadyExists, Forbidden, NotFound, TooMany
from downstage.kernel.ids import new_id
from downstage.streams import names
from downstage.streams.model import Caller, Right
from downstage.streams.recordings.importing import open_source
from downstage.streams.recordings.intake import body_of, receive_file
from downstage.streams.recordings.ledger import Ledger
from downstage.streams.recordings.model import Recording
from downstage.streams.recordings.running import about_of
from downstage.streams.recordings.service import Recordings
from downstage.streams.recordings.states import Happened, step
from downstage.streams.recordings.writer import RecordingFile

__all__ = ["Importer"]

AT_ONCE: Final = 4
"""Imports of one process: each takes a disk's full speed."""


class Importer:
    """Takes bodies in.

    Args:
        recordings: the service.
    """

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._running = 0

    async def take(self, caller: Caller, receive: Receive, name: str | None) -> Recording:
        """Take a body in as a recording of *caller*.

        Args:
            caller: may record all streams that are in it.
            receive: of the request.
            name: None: the one that it calls itself, or one of the time.

        Raises:
            AlreadyExists: there is a recording of that name.
            InvalidInput, TooLarge: it is hostile, or none that is taken.
            Forbidden: it holds streams that the caller may not record.
            OutOfSpace: the disk is too full.
            TooMany: too many imports run.
        """
        recordings = self._recordings
        if not any(Right.RECORD in g.rights or Right.ADMIN in g.rights for g in caller.grants):
            raise Forbidden("This needs the scope streams:record.", scope="streams:record")
        if name is not None:
            await _refuse_taken(recordings, caller, name)
        if self._running >= AT_ONCE:
            raise TooMany("Too many imports run. Try again soon.", retry_after_s=5)
        self._running += 1
        try:
            scratch = recordings.shelf.folder / f"{new_id('in')}.part"
            async with receive_file(body_of(receive), scratch, recordings.floor) as path:
                return await _take_in(recordings, caller, path, name)
        finally:
            self._running -= 1


async def _refuse_taken(recordings: Recordings, caller: Caller, name: str) -> None:
    """Before gigabytes are sent."""
    try:
        await recordings.get(caller, names.check(name, "name"))
    except NotFound:
        return
    raise AlreadyExists(f"There is a recording {name} already.")


async def _take_in(
    recordings: Recordings, caller: Caller, path: Path, name: str | None
) -> Recording:
    now = recordings.now_ms()
    recording = Recording(
        id=new_id("rec"),
        tenant=caller.tenant,
        name=name or recordings.name_of(now),
        owner=caller.subject,
        owner_name=caller.name,
        patterns=("*",),
        started_at=now,
        imported=True,
    )
    target = recordings.shelf.file(recording)
    write = partial(_write, path, target, recording, caller, recordings.floor, named=bool(name))
    try:
        recording, ledger, size = await anyio.to_thread.run_sync(write)
        life = step(step(recording.life, Happened.STOP), Happened.CLOSED)
        facts = {stream: f for stream, f in ledger.facts.items() if f.count}
        done = replace(recording, life=life, ended_at=recordings.now_ms(), size=size, facts=facts)
        await recordings.add(done)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: target.unlink(missing_ok=True))
        raise
    return done


def _write(
    path: Path, target: Path, recording: Recording, caller: Caller, floor: int, *, named: bool
) -> tuple[Recording, Ledger, int]:
    with path.open("rb") as file:
        source = open_source(file, target.parent)
        if not named and source.name:
            recording = replace(recording, name=source.name)
        into = RecordingFile(target, about_of(recording), floor=floor)
        into.allows = partial(_refuse_stream, caller)
        try:
            source.write(into)
            ledger = into.finish()
        finally:
            into.abandon()
    return recording, ledger, into.size


def _refuse_stream(caller: Caller, stream: str) -> None:
    if Right.RECORD not in caller.rights(stream):
        raise Forbidden(f"This token may not record the stream {stream}.", stream=stream)
