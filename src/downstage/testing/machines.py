"""A machine that runs nothing and does as it is told: well, slowly, badly, never, or by lying.

=================  ============================================================================
`PaperSpawner`     behaves: starts at once, ends when told; the tests can end one, or its keeper
`SlowSpawner`      starts nothing before its gate opens
`NeverSpawner`     never answers a start
`BadSpawner`       refuses every start, or the first few
`ZombieSpawner`    what it started ignores every stop and kill; only cleaning up ends it
`LiarSpawner`      says that an instance runs while it is gone already, and says it twice
=================  ============================================================================

Each keeps count in `living`: what runs by its own knowledge, whatever it tells.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace

import anyio

from downstage.spawners.exec import CannotExec, Exec, ExecStream
from downstage.spawners.spawner import Adoption, InstanceSpec, Report, SpawnFailed

__all__ = [
    "BadSpawner",
    "LiarSpawner",
    "NeverSpawner",
    "PaperHandle",
    "PaperSpawner",
    "SlowSpawner",
    "ZombieSpawner",
]


@dataclass
class PaperHandle:
    """An instance on paper: what is `told` of it is not always what is so."""

    spawner: PaperSpawner
    instance_id: str
    told: list[Report] = field(default_factory=list[Report])
    adopted: list[Adoption] = field(default_factory=list[Adoption])
    is_deaf: bool = False
    """It does nothing when it is asked to end."""
    _changed: anyio.Event = field(default_factory=anyio.Event)
    _is_abandoned: bool = False

    @property
    def media_socket(self) -> str:
        """A path where nobody listens."""
        return f"/nowhere/{self.instance_id}/media.sock"

    def tell(self, report: Report) -> None:
        """Say that it stands so."""
        self.told.append(report)
        self._changed.set()

    def abandon(self) -> None:
        """Its keeper is gone: reports end without the last one, and what runs goes on."""
        self._is_abandoned = True
        self._changed.set()

    async def reports(self) -> AsyncGenerator[Report]:
        """All that was told, and what is told from now on."""
        at = 0
        while True:
            while at < len(self.told):
                at += 1
                yield self.told[at - 1]
                if self.told[at - 1].phase == "ended":
                    return
            if self._is_abandoned:
                return
            self._changed = anyio.Event()
            await self._changed.wait()

    async def adopt(self, adoption: Adoption) -> None:
        """It takes any."""
        self.adopted.append(adoption)
        self.tell(Report(self.instance_id, phase="running", stage="running"))

    async def stop(self, reason: str) -> None:
        """Ends it, unless it is deaf."""
        if not self.is_deaf:
            self.spawner.end(self.instance_id, reason)

    async def kill(self) -> None:
        """The same."""
        await self.stop("killed")

    async def close(self) -> None:
        """It goes on."""

    async def exec(self, asked: Exec) -> ExecStream:
        """There is nothing to run it beside."""
        del asked
        raise CannotExec("It is on paper.")

    async def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[bytes]:
        """It says nothing."""
        del follow, tail
        for line in ():
            yield line


class PaperSpawner:
    """Starts instances on paper at once, and ends them when it is told to.

    Attributes:
        living: ids of what runs.
        started: ids of every start that was asked for, in order.
        handles: of what was started, by id.
    """

    def __init__(self) -> None:
        self.living: set[str] = set()
        self.started: list[str] = []
        self.handles: dict[str, PaperHandle] = {}

    async def start(self, spec: InstanceSpec) -> PaperHandle:
        """It runs."""
        self.started.append(spec.instance_id)
        handle = PaperHandle(self, spec.instance_id)
        self.handles[spec.instance_id] = handle
        self.living.add(spec.instance_id)
        waits = spec.session_id is None
        handle.tell(Report(spec.instance_id, phase="running", stage="running", waits=waits))
        return handle

    async def attach(self, instance_id: str) -> PaperHandle | None:
        """The one that was started."""
        return self.handles.get(instance_id)

    async def clean(self, instance_id: str) -> Report | None:
        """Ends what is left, whatever it wants."""
        self.living.discard(instance_id)
        handle = self.handles.get(instance_id)
        last = handle.told[-1] if handle and handle.told else Report(instance_id)
        return replace(last, phase="ended", reason=last.reason or "keeper-lost")

    async def forget(self, instance_id: str) -> None:
        """Nothing is on any disk."""
        self.handles.pop(instance_id, None)

    async def known(self) -> list[str]:
        """What runs."""
        return sorted(self.living)

    async def check(self) -> None:
        """It can always start some."""

    def end(self, instance_id: str, reason: str, exit_code: int | None = None) -> None:
        """One has ended."""
        self.living.discard(instance_id)
        handle = self.handles.get(instance_id)
        if handle is not None:
            handle.tell(
                Report(
                    instance_id,
                    phase="ended",
                    stage="running",
                    reason=reason,
                    exit_code=exit_code,
                )
            )


class SlowSpawner(PaperSpawner):
    """Starts nothing before its `gate` opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = anyio.Event()

    async def start(self, spec: InstanceSpec) -> PaperHandle:
        """It runs once the gate is open."""
        await self.gate.wait()
        return await super().start(spec)


class NeverSpawner(PaperSpawner):
    """Never answers a start."""

    async def start(self, spec: InstanceSpec) -> PaperHandle:
        """Waits for ever, with something half started."""
        self.started.append(spec.instance_id)
        self.living.add(spec.instance_id)
        await anyio.sleep_forever()
        raise AssertionError("for ever has ended")


class BadSpawner(PaperSpawner):
    """Refuses to start.

    Args:
        times: so many; None: for ever.
        error: what is raised.
    """

    def __init__(self, times: int | None = None, error: Exception | None = None) -> None:
        super().__init__()
        self._left = times
        self._error = error or SpawnFailed("There is no display server.")

    async def start(self, spec: InstanceSpec) -> PaperHandle:
        """Raises, or starts where it has refused often enough."""
        if self._left == 0:
            return await super().start(spec)
        self._left = None if self._left is None else self._left - 1
        self.started.append(spec.instance_id)
        raise self._error


class ZombieSpawner(PaperSpawner):
    """What it started ignores every stop and kill; only `clean` ends it."""

    async def start(self, spec: InstanceSpec) -> PaperHandle:
        """It runs, and does not listen."""
        handle = await super().start(spec)
        handle.is_deaf = True
        return handle


class LiarSpawner(PaperSpawner):
    """Says that an instance runs, twice and with odd facts, while it is gone already."""

    async def start(self, spec: InstanceSpec) -> PaperHandle:
        """It is told as running, then as starting again, and has ended."""
        handle = await super().start(spec)
        handle.tell(Report(spec.instance_id, phase="starting", stage="display"))
        handle.tell(Report(spec.instance_id, phase="running", stage="running"))
        self.end(spec.instance_id, "application-exited", exit_code=0)
        return handle

    async def known(self) -> list[str]:
        """Also what it never started."""
        return [*await super().known(), "i-aaaaaaaaaaaaaaaaaaaaaaaaaa"]
