"""A machine that runs nothing and does as it is told: well, slowly, badly, never, or by lying.

It stands for a machine: what it started lives on when the manager that asked for it is gone, and is
found again by the next. `is_off` takes it off the network, with all that it runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Literal

import anyio

from downstage.kernel.errors import NotSupported
from downstage.spawners.exec import Exec, ExecStream
from downstage.spawners.plan import Report
from downstage.spawners.spawner import (
    Adoption,
    InstanceSpec,
    NodeUnreachable,
    SpawnFailed,
)

__all__ = ["Manner", "ScriptedInstance", "ScriptedSpawner"]

Manner = Literal["good", "slow", "never", "bad", "dies", "liar", "zombie", "leaves"]
"""``slow``: starts once `ScriptedSpawner.go` is set; ``never``: does not answer at all; ``bad``:
refuses; ``dies``: runs, and ends at once; ``liar``: says that it runs, and nothing does;
``zombie``: does not end when it is asked to; ``leaves``: ends, and leaves something running."""


@dataclass
class ScriptedInstance:
    """One that runs, as far as anybody can tell."""

    spec: InstanceSpec
    manner: Manner
    report: Report
    changed: anyio.Event = field(default_factory=anyio.Event)
    adopted: Adoption | None = None

    def tell(self, **changes: object) -> None:
        """Say something new."""
        self.report = replace(self.report, **changes)  # type: ignore[arg-type]
        self.changed.set()
        self.changed = anyio.Event()


class _Handle:
    def __init__(self, spawner: ScriptedSpawner, instance: ScriptedInstance) -> None:
        self._spawner, self._instance = spawner, instance
        self.media_socket = f"/nowhere/{instance.spec.instance_id}/media.sock"

    async def reports(self) -> AsyncGenerator[Report]:
        told: Report | None = None
        while told is None or told.phase != "ended":
            changed, away = self._instance.changed, self._spawner.away
            if self._spawner.is_off:
                raise NodeUnreachable("The node is off.")
            if self._instance.spec.instance_id not in self._spawner.instances:
                return
            if self._instance.report != told:
                told = self._instance.report
                yield told
                continue
            async with anyio.create_task_group() as tasks:
                for event in (changed, away):
                    tasks.start_soon(_wait, event, tasks.cancel_scope)

    async def adopt(self, adoption: Adoption) -> None:
        self._instance.adopted = adoption
        self._instance.tell(waits=False)

    async def stop(self, reason: str) -> None:
        if self._instance.manner != "zombie" and not self._spawner.is_off:
            self._instance.tell(phase="ended", reason=reason)

    async def kill(self) -> None:
        self._instance.tell(phase="ended", reason="stopped")

    async def close(self) -> None:
        """Nothing is held."""

    async def exec(self, asked: Exec) -> ExecStream:
        raise NotSupported("Nothing runs here.")

    async def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[bytes]:
        del follow, tail
        yield b""


class ScriptedSpawner:
    """One node; see the module.

    Args:
        manner: how it does what it is asked for; may be changed at any time.
    """

    def __init__(self, manner: Manner = "good") -> None:
        self.manner: Manner = manner
        self.instances: dict[str, ScriptedInstance] = {}
        """What runs, by the id it was started with."""
        self.forgotten: list[str] = []
        self.started = 0
        self.go = anyio.Event()
        self.away = anyio.Event()
        self.is_off = False

    def switch(self, *, off: bool) -> None:
        """Take it off the network, or bring it back."""
        self.is_off = off
        self.away.set()
        self.away = anyio.Event()

    async def start(self, spec: InstanceSpec) -> _Handle:
        """Start one, in its manner."""
        self._reach()
        self.started += 1
        if self.manner == "never":
            await anyio.sleep_forever()
        if self.manner == "slow":
            await self.go.wait()
        if self.manner == "bad":
            raise SpawnFailed("It cannot be started, whatever you do.")
        report = Report(spec.instance_id, phase="running", stage="running")
        report.waits = spec.session_id is None
        instance = ScriptedInstance(spec, self.manner, report)
        if self.manner != "liar":
            self.instances[spec.instance_id] = instance
        if self.manner == "dies":
            instance.report = replace(
                report, phase="ended", reason="application-exited", exit_code=3
            )
        return _Handle(self, instance)

    async def attach(self, instance_id: str) -> _Handle | None:
        """Find one again."""
        self._reach()
        found = self.instances.get(instance_id)
        return None if found is None else _Handle(self, found)

    async def clean(self, instance_id: str) -> Report | None:
        """End what is left of one."""
        self._reach()
        found = self.instances.pop(instance_id, None)
        return None if found is None else found.report

    async def forget(self, instance_id: str) -> None:
        """Let one go."""
        self._reach()
        self.forgotten.append(instance_id)
        if self.manner != "leaves":
            self.instances.pop(instance_id, None)

    async def known(self) -> list[str]:
        """All that runs."""
        self._reach()
        return sorted(self.instances)

    async def check(self) -> None:
        """Whether it is on the network."""
        self._reach()

    def _reach(self) -> None:
        if self.is_off:
            raise NodeUnreachable("The node is off.")


async def _wait(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
