"""Replays that run in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup

from downstage.kernel.errors import Conflict, Forbidden, NotFound, TooMany, Unavailable
from downstage.kernel.ids import new_id
from downstage.streams.model import Caller, Right
from downstage.streams.recordings.lookup import Lookup
from downstage.streams.recordings.model import readable
from downstage.streams.recordings.reader import RecordingReader
from downstage.streams.recordings.replay import OVER, Replay, ReplayWish
from downstage.streams.service import Streams

__all__ = ["Replayed", "Replays"]

MOST: Final = 64
KEPT_S: Final = 600.0
"""How long it can be asked how one ended."""


@dataclass(slots=True)
class Replayed:
    """A replay, and whose it is."""

    id: str
    recording: str
    """The name it had."""
    tenant: str
    owner: str
    replay: Replay
    begun: float = field(default_factory=time.monotonic)


class Replays:
    """Starts replays, and finds them again.

    Args:
        streams: where they push to.
        recordings: where they read.
    """

    def __init__(self, streams: Streams, recordings: Lookup) -> None:
        self._streams = streams
        self._recordings = recordings
        self._all: dict[str, Replayed] = {}
        self._tasks: TaskGroup | None = None

    async def run(self) -> None:
        """Run replays, until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                await anyio.sleep_forever()
            finally:
                self._tasks = None

    async def start(
        self, caller: Caller, name: str, make_wish: Callable[[list[str]], ReplayWish]
    ) -> Replayed:
        """Replay a recording.

        Args:
            caller: may read the recorded streams and write the targets.
            name: of the recording.
            make_wish: what and how; given the streams that the caller may read.

        Raises:
            NotFound: there is no such recording, or none of the streams is in it.
            Forbidden: not into these streams.
            Conflict: it still runs.
            TooMany: too many run.
        """
        recording = await self._recordings.get(caller, name)
        if not recording.life.ended:
            raise Conflict("This recording still runs. Stop it first.")
        allowed = readable(caller, recording)
        wish = make_wish(allowed)
        for stream in wish.streams:
            if stream not in allowed:
                raise NotFound(f"There is no stream {stream} in this recording.")
            if Right.WRITE not in caller.rights(wish.prefix + stream):
                raise Forbidden(f"This token may not write the stream {wish.prefix + stream}.")
        path = await self._recordings.local(recording)
        replay = Replay(self._streams, caller, lambda: RecordingReader(path), wish)
        return self._begin(Replayed(new_id("rpl"), name, caller.tenant, caller.subject, replay))

    def _begin(self, replayed: Replayed) -> Replayed:
        self._forget_old()
        if self._tasks is None:
            raise Unavailable("The service is not running.", retry_after_s=1)
        running = sum(one.replay.state not in OVER for one in self._all.values())
        if running >= MOST:
            raise TooMany(f"{MOST} replays run already. Stop one first.")
        self._all[replayed.id] = replayed
        self._tasks.start_soon(replayed.replay.run)
        return replayed

    def find(self, caller: Caller, name: str, id_: str) -> Replayed:
        """One of the caller's own; an administrator's: any of the tenant.

        Raises:
            NotFound: there is none.
        """
        found = self._all.get(id_)
        if found is None or found.recording != name or not self._may(caller, found):
            raise NotFound("There is no such replay.")
        return found

    def list(self, caller: Caller, name: str) -> list[Replayed]:
        """Those of a recording that the caller may steer, the oldest first."""
        self._forget_old()
        return [r for r in self._all.values() if r.recording == name and self._may(caller, r)]

    def forget(self, replayed: Replayed) -> None:
        """Stop one, and forget it."""
        replayed.replay.stop()
        self._all.pop(replayed.id, None)

    @property
    def running(self) -> int:
        """How many run."""
        return sum(one.replay.state not in OVER for one in self._all.values())

    def end(self) -> None:
        """The service ends: stop all."""
        for replayed in self._all.values():
            replayed.replay.stop()

    @staticmethod
    def _may(caller: Caller, replayed: Replayed) -> bool:
        if replayed.tenant != caller.tenant:
            return False
        admin = any(Right.ADMIN in g.rights and g.pattern == "*" for g in caller.grants)
        return admin or replayed.owner == caller.subject

    def _forget_old(self) -> None:
        before = time.monotonic() - KEPT_S
        for replayed in list(self._all.values()):
            if replayed.replay.state in OVER and replayed.begun < before:
                del self._all[replayed.id]
