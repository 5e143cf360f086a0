"""Starts and stops extensions in order, one operation at a time; what fails, fails alone."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context

import anyio
import anyio.abc

from downstage.kernel.clock import Clock
from downstage.kernel.errors import Conflict, NotFound, SetupError
from downstage.kernel.logging import get_logger
from downstage.services import registry
from downstage.services.extension import IExt
from downstage.services.extensions.actor import Actor
from downstage.services.extensions.discovery import Found, look_at
from downstage.services.extensions.injection import settings_model
from downstage.services.extensions.manifest import Manifest
from downstage.services.extensions.modules import MODULES, classes_in
from downstage.services.extensions.order import arrange, dependents
from downstage.services.extensions.provided import PROVIDED
from downstage.services.extensions.settings import SettingsTree
from downstage.services.extensions.states import AT_REST
from downstage.services.extensions.unit import Unit, told
from downstage.services.extensions.workplace import BeforeImport, Deadlines, Workplace, tried

__all__ = ["Lifecycle"]

log = get_logger(__name__)


class Lifecycle:
    """The extensions of one host.

    Args:
        tree: where their settings are.
        furnish: makes the workplace of one.
        clock: of the platform.
        before_import: called with the manifest, and all settings, before its modules are imported.
    """

    def __init__(
        self,
        tree: SettingsTree,
        furnish: Callable[[Unit], Workplace],
        *,
        clock: Clock,
        before_import: BeforeImport = lambda manifest, tree: None,
    ) -> None:
        self.units: dict[str, Unit] = {}
        self.deadlines = Deadlines()
        self._tree = tree
        self._furnish = furnish
        self._clock = clock
        self._before_import = before_import
        self._tasks: anyio.abc.TaskGroup | None = None
        self._context = Context()
        self._lock = anyio.Lock()
        self._places: dict[str, Workplace] = {}
        self._started: list[str] = []
        self._disabled = frozenset[str]()

    def open(
        self,
        tasks: anyio.abc.TaskGroup,
        context: Context,
        deadlines: Deadlines,
        disabled: Iterable[str],
    ) -> None:
        """Run extensions in *tasks* from now on; those in *disabled* wait to be enabled."""
        self._tasks, self._context, self.deadlines = tasks, context, deadlines
        self._disabled = frozenset(disabled)

    def add(self, found: Iterable[Found], *, services: bool = False) -> None:
        """Take in what was found; nothing is started yet."""
        for item in found:
            unit = Unit(item, is_service=services, wanted=not self._is_disabled(item))
            self.units[item.name] = unit
            if item.error:
                unit.step("fail", item.error, item.traceback)
                seen = {"exception": item.traceback} if item.traceback else {}
                log.error("extension.unreadable", source=item.source, reason=item.error, **seen)
            elif not unit.wanted:
                unit.step("stopped", "disabled in the settings")

    async def start_all(self) -> None:
        """Start all that is wanted, dependencies first.

        Raises:
            SetupError: one of the platform's own services cannot start; its own error, where it
                raised one.
        """
        async with self._lock:
            self._block(arrange(self._manifests(), PROVIDED).blocked)
            await self._settle()
            for unit in list(self.units.values()):
                await self._make_ready(unit)

    async def stop_all(self) -> None:
        """Stop all that runs, the last first; requests in flight are not waited for."""
        self.deadlines = Deadlines(self.deadlines.start_s, self.deadlines.stop_s, 0)
        async with self._lock:
            for name in reversed(self._started):
                unit = self.units[name]
                if unit.actor is not None:
                    await self._stop(unit, "the platform ends")

    async def enable(self, name: str) -> Unit:
        """Start *name*, and before it what it needs.

        Raises:
            NotFound: there is no such extension.
        """
        async with self._operation():
            unit = self.find(name)
            for other in (unit, *(self.units[need] for need in self._needs(unit))):
                other.wanted = True
                if other.state == "failed" and other.manifest is not None:
                    other.step("stopped")
            await self._settle()
            await self._ready_all()
        return unit

    async def disable(self, name: str) -> Unit:
        """Stop *name*, and before it what needs it.

        Raises:
            NotFound: there is no such extension.
            Conflict: it is one of the platform's services.
        """
        async with self._operation():
            unit = self.find(name)
            if unit.is_service:
                raise Conflict(f"{unit.name} is a service of the platform: it cannot be disabled.")
            for other in self._upon(unit.name, optional=False):
                await self._stop(other, f"{other.id} needs {unit.id}, which is disabled", "block")
            unit.wanted = False
            if unit.actor is not None:
                await self._stop(unit, "disabled")
            elif unit.state in AT_REST:
                unit.step("stopped", "disabled")
        return unit

    async def reload(self, name: str) -> Unit:
        """Read *name* anew and start it again; what needs it stops before and starts after.

        Raises:
            NotFound: there is no such extension.
            Conflict: it is one of the platform's services.
        """
        async with self._operation():
            unit = self.find(name)
            if unit.is_service:
                raise Conflict(f"{unit.name} is a service of the platform: restart the platform.")
            began = time.perf_counter()
            await self._replace(unit, look_at(unit.found.folder) if unit.found.folder else None)
            unit = self.units.get(unit.found.name, unit)
            log.info(
                "extension.reloaded",
                id=unit.id,
                state=unit.state,
                ms=round((time.perf_counter() - began) * 1e3, 1),
            )
        return unit

    async def update(self, found: Sequence[Found]) -> list[str]:
        """Bring what runs in line with what was found just now in the folders.

        Returns:
            Names of those that came, went, or are another version.
        """
        async with self._operation():
            now = {item.name: item for item in found}
            changed = list[str]()
            for name, unit in list(self.units.items()):
                if unit.found.folder is not None and name not in now:
                    await self._drop(unit)
                    changed.append(name)
            for name, item in now.items():
                unit = self.units.get(name)
                if unit is None:
                    self.add([item])
                    changed.append(name)
                elif unit.found.folder != item.folder and unit.found.folder is not None:
                    await self._replace(unit, item)
                    changed.append(name)
            await self._settle()
            await self._ready_all()
        return changed

    def find(self, name: str) -> Unit:
        """The extension of that name or id.

        Raises:
            NotFound: there is none.
        """
        for unit in self.units.values():
            if name in (unit.name, unit.id):
                return unit
        raise NotFound(f"There is no extension {name[:128]}.")

    @asynccontextmanager
    async def _operation(self) -> AsyncGenerator[None]:
        """One at a time, and to its end: who asked may have gone meanwhile."""
        with anyio.CancelScope(shield=True):
            async with self._lock:
                yield

    def _is_disabled(self, found: Found) -> bool:
        return found.name in self._disabled

    def _manifests(self) -> list[Manifest]:
        return [unit.manifest for unit in self.units.values() if unit.manifest is not None]

    def _needs(self, unit: Unit) -> set[str]:
        """Names of those that *unit* needs, directly or through others."""
        found, front = set[str](), [unit]
        while front:
            manifest = front.pop().manifest
            for need in manifest.dependencies if manifest else ():
                other = self.units.get(need.name)
                if other is not None and need.name not in found and not need.is_optional:
                    found.add(need.name)
                    front.append(other)
        return found

    def _upon(self, name: str, *, optional: bool) -> list[Unit]:
        """Those that run and need *name*; the last started first."""
        names = dependents(name, self._manifests(), optional=optional)
        running = [self.units[other] for other in reversed(self._started) if other in names]
        return [unit for unit in running if unit.actor is not None]

    def _obstacle(self, unit: Unit) -> str | None:
        """Why *unit* cannot start now, where that lies with others."""
        for need in unit.manifest.dependencies if unit.manifest else ():
            other = self.units.get(need.name)
            if other is None or need.is_optional or other.state == "running":
                continue
            why = f": {other.reason}" if other.state == "failed" else ""
            state = "is disabled" if not other.wanted else f"is {other.state}"
            return f"{unit.id} needs {need}, and {other.id} {state}{why}"
        return None

    def _block(self, reasons: Mapping[str, str]) -> None:
        for name, reason in reasons.items():
            unit = self.units[name]
            if unit.wanted and unit.state in AT_REST and unit.reason != reason:
                unit.step("block", reason)
                log.error("extension.blocked", id=unit.id, reason=reason)

    async def _settle(self) -> None:
        """Start everything that is wanted and at rest, in order; failed ones wait to be asked."""
        order = arrange(self._manifests(), PROVIDED)
        self._block(order.blocked)
        for name in order.sequence:
            unit = self.units[name]
            if not unit.wanted or unit.state not in ("discovered", "blocked", "stopped"):
                continue
            obstacle = self._obstacle(unit)
            if obstacle:
                self._block({name: obstacle})
            else:
                await self._start(unit)

    async def _ready_all(self) -> None:
        for unit in list(self.units.values()):
            await self._make_ready(unit)

    async def _start(self, unit: Unit) -> None:
        began = time.perf_counter()
        unit.step("start")
        unit.ready.clear()
        failure = await self._try_start(unit)
        if failure is None:
            unit.step("started")
            unit.started_at = self._clock.now()
            unit.start_ms = round((time.perf_counter() - began) * 1e3, 1)
            log.info("extension.started", id=unit.id, ms=unit.start_ms)
            assert self._tasks is not None  # noqa: S101 - open before anything starts
            assert unit.actor is not None  # noqa: S101 - it has just been started
            self._context.run(self._tasks.start_soon, self._mourn, unit, unit.actor)
            return
        await self._clear(unit)
        unit.actor = None
        self._fail(unit, failure)

    async def _try_start(self, unit: Unit) -> BaseException | None:
        """Start it as far as that goes; what went wrong."""
        try:
            actor = self._cast(unit)
        except (SetupError, Conflict) as error:
            return error
        unit.actor = actor
        self._started = [name for name in self._started if name != unit.name] + [unit.name]
        assert self._tasks is not None  # noqa: S101 - open before anything starts
        # In a context of the host's: who asked for the start has an id and a caller of its own.
        self._context.run(self._tasks.start_soon, actor.run)
        with anyio.move_on_after(self.deadlines.start_s):
            await actor.settled.wait()
        if not actor.settled.is_set():
            actor.give_up()
            return SetupError(f"{unit.id} did not start within {self.deadlines.start_s:g} s.")
        return actor.failure

    def _cast(self, unit: Unit) -> Actor:
        """Everything that an extension needs before its first line runs."""
        manifest = unit.manifest
        assert manifest is not None  # noqa: S101 - without one it is never started
        self._tree.declare(unit.name, manifest.settings)
        unit.settings_unknown = []
        place = self._furnish(unit)
        self._places[unit.name] = place
        folder = unit.found.folder
        if folder is not None:
            self._before_import(manifest, self._tree)
            MODULES.claim(unit.id, folder, manifest.modules)

        def load() -> Sequence[type[IExt]]:
            kinds = [unit.found.kind] if unit.found.kind else classes_in(manifest.modules)
            self._check_settings(unit, kinds)
            return kinds

        return Actor(place.context, place.owner, load)

    def _check_settings(self, unit: Unit, kinds: Sequence[type[IExt]]) -> None:
        models = [model for model in map(settings_model, kinds) if model is not None]
        unit.settings_unknown = self._tree.check(unit.name, *models)
        if unit.settings_unknown:
            log.warning("extension.settings_unknown", id=unit.id, keys=unit.settings_unknown)

    def _fail(self, unit: Unit, failure: BaseException) -> None:
        reason, shown = told(failure)
        unit.step("fail", reason, shown)
        log.error("extension.failed", id=unit.id, reason=reason, exc_info=failure)
        if unit.is_service:
            if isinstance(failure, Exception):
                raise failure
            raise SetupError(f"{unit.id} did not start: {reason}.") from failure

    async def _stop(self, unit: Unit, reason: str, then: str = "stopped") -> None:
        actor = unit.actor
        if unit.state == "running":
            unit.step("stop")
        elif unit.state == "starting":
            unit.step("fail", reason)
        await self._clear(unit)
        unit.actor = None
        failure, at_end = actor.outcome() if actor else (None, False)
        if unit.state == "stopping":
            if failure:
                line, shown = told(failure)
                unit.step("fail", f"at its end: {line}" if at_end else line, shown)
            else:
                unit.step("stopped", reason)
                if then == "block":
                    unit.step("block", reason)
        log.info("extension.stopped", id=unit.id, state=unit.state, reason=unit.reason)

    async def _clear(self, unit: Unit) -> None:
        """Routes first, then its tasks, then itself, then what it was given."""
        place = self._places.pop(unit.name, None)
        if place is not None:
            with anyio.CancelScope(shield=True):
                await registry.remove_owned(place.owner, self.deadlines.grace_s)
                with anyio.move_on_after(self.deadlines.stop_s):
                    await place.close()
                if unit.actor is not None and not await unit.actor.stop(self.deadlines.stop_s):
                    log.error("extension.does_not_end", id=unit.id)
                await place.clear()
        self._tree.forget(unit.name)
        MODULES.release(unit.id)

    async def _make_ready(self, unit: Unit) -> None:
        """Call what it asked to be called once all have started."""
        while unit.ready and unit.state == "running":
            failure = await tried(unit.ready.pop(0), self.deadlines.start_s)
            if failure is not None:
                await self._stop_upon(unit)
                unit.step("stop")
                await self._clear(unit)
                unit.actor = None
                self._fail(unit, failure)

    async def _replace(self, unit: Unit, found: Found | None) -> None:
        """Stop *unit* and those upon it, take *found* in its place, start all again."""
        waiting = self._upon(unit.name, optional=True)
        for other in waiting:
            await self._stop(other, f"{other.id} needs {unit.id}, which is loaded anew", "block")
        if unit.actor is not None:
            await self._stop(unit, "loaded anew")
        new = found or unit.found
        error = new.error or self._name_is_taken(unit, new)
        if not error:
            if new.name != unit.name:
                del self.units[unit.name]
            self.units[new.name] = unit
            unit.found = new
            unit.wanted = True
            unit.step("stopped")
            await self._settle()
            await self._ready_all()
        else:
            unit.found = new if new.error and unit.manifest is None else unit.found
            self._fail(unit, SetupError(error))

    def _name_is_taken(self, unit: Unit, new: Found) -> str:
        """Why *new* cannot stand where *unit* did: whose name it has now would never end."""
        other = self.units.get(new.name)
        if other is None or other is unit:
            return ""
        return f"{new.source} is named {new.name} now, and so is {other.found.source}."

    async def _drop(self, unit: Unit) -> None:
        for other in self._upon(unit.name, optional=True):
            await self._stop(other, f"{other.id} needs {unit.id}, which is gone", "block")
        if unit.actor is not None:
            await self._stop(unit, "its folder is gone")
        del self.units[unit.name]
        self._started = [name for name in self._started if name != unit.name]

    async def _mourn(self, unit: Unit, actor: Actor) -> None:
        """Clear up after one that dies while it runs, for example of a task of its own."""
        await actor.gone.wait()
        async with self._operation():
            if unit.actor is not actor or unit.state != "running":
                return
            await self._stop_upon(unit)
            await self._stop(unit, "it ended by itself")

    async def _stop_upon(self, unit: Unit) -> None:
        for other in self._upon(unit.name, optional=False):
            await self._stop(other, f"{other.id} needs {unit.id}, which failed", "block")
