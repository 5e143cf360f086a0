"""The service host: runs services and extensions, wires them by `AsyncClient`, serves them.

Built-in services are found like any other extension, by the entry-point group
``downstage.extensions``; the host knows none of them by import.
"""

from __future__ import annotations

import tomllib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from functools import partial
from typing import cast

import anyio
import anyio.to_thread
from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from downstage.bus import Bus
from downstage.kernel.clock import Clock, SystemClock
from downstage.kernel.errors import SetupError
from downstage.kernel.ids import new_secret
from downstage.kernel.logging import get_logger
from downstage.kernel.settings import Settings
from downstage.services import nats_wiring, registry
from downstage.services.application import ServiceApp
from downstage.services.context import PlatformUrls
from downstage.services.extension import IExt
from downstage.services.extensions import discovery
from downstage.services.extensions.actor import in_thread
from downstage.services.extensions.lifecycle import Lifecycle
from downstage.services.extensions.settings import SettingsTree
from downstage.services.extensions.unit import ExtensionInfo, Unit
from downstage.services.extensions.watch import Watcher
from downstage.services.extensions.workplace import BeforeImport, Deadlines
from downstage.services.facilities.metrics import MetricsHub
from downstage.services.supervisor import supervise
from downstage.services.transports import close_transports
from downstage.services.wiring import Wiring, Workbench

__all__ = ["BUILT_IN", "ServiceHost"]

BUILT_IN = ("identity", "content", "streams", "manager", "agent", "gateway")
"""Order of start; the stop is in reverse."""

LEAST_SECRET = 32
START_S = 30.0
STOP_S = 5.0
GRACE_S = 5.0
log = get_logger(__name__)


class ServiceHost:
    """Runs some services, and extensions, in this process.

    Args:
        settings: of the platform.
        urls: where it will be reached; sockets are open before services start.
        services: names to run here; the others are reached by `settings.services`.
        extensions: run what `settings.extensions` names, too.
        clock, bus: for tests and simulations.
        before_import: called with an extension's manifest before its modules are imported, and
            with all settings.
        public_app: what is served to browsers; made where none is given.

    Attributes:
        lifecycle: starts, stops and reloads extensions.
        exts: their settings.
        metrics_hub: their metrics.
    """

    def __init__(
        self,
        settings: Settings,
        urls: PlatformUrls,
        *,
        services: Sequence[str] = BUILT_IN,
        extensions: bool = False,
        clock: Clock | None = None,
        bus: Bus | None = None,
        before_import: BeforeImport = lambda manifest, tree: None,
        public_app: ServiceApp | None = None,
    ) -> None:
        self.settings = settings
        self.urls = urls
        self.bus = bus or nats_wiring.make_bus(settings)
        self.clock = clock or SystemClock()
        self.public_app = public_app or registry.create_app("Downstage")
        self.exts = SettingsTree(settings.exts)
        self.metrics_hub = MetricsHub()
        self._names = tuple(services)
        self._with_extensions = extensions
        self._wiring = Wiring(
            settings,
            urls,
            bus=self.bus,
            clock=self.clock,
            boot_secret=_boot_secret(settings),
            tokens=_tokens(settings),
            public_app=self.public_app,
            exts=self.exts,
            metrics=self.metrics_hub,
        )
        self.authenticator = self._wiring.authenticator
        self.lifecycle = Lifecycle(
            self.exts, self._furnish, clock=self.clock, before_import=before_import
        )
        self.watcher = Watcher(
            self.lifecycle, settings.extensions.folders, taken={*self._names, *BUILT_IN}
        )

    def app(self, service: str) -> FastAPI:
        """The own application of a service that runs here."""
        return self._unit(service)[1].context.app

    def extension(self, service: str) -> IExt:
        """The extension of a service that runs here."""
        unit, _ = self._unit(service)
        assert unit.actor is not None  # noqa: S101 - one that is running
        return unit.actor.extensions[0]

    def running(self) -> list[tuple[str, str]]:
        """Names and states of the services of this process, in order of start."""
        return [(u.name, u.state) for u in self.lifecycle.units.values() if u.is_service]

    def extensions(self) -> list[ExtensionInfo]:
        """Everything that was found, the platform's own services among it."""
        return [unit.info() for unit in self.lifecycle.units.values()]

    def unclaimed_settings(self) -> list[str]:
        """What was set for extensions that are not here."""
        return self.exts.unclaimed([unit.name for unit in self.lifecycle.units.values()])

    def metric_lines(self) -> list[tuple[str, Callable[[], list[str]]]]:
        """Who contributes lines in Prometheus' form (``metrics()`` of their extension), and how."""
        found = list[tuple[str, Callable[[], list[str]]]]()
        for unit in self.lifecycle.units.values():
            for extension in unit.actor.extensions if unit.actor else ():
                tell = getattr(extension, "metrics", None)
                if callable(tell):
                    found.append((unit.id, cast("Callable[[], list[str]]", tell)))
        return found

    def waiting(self) -> dict[str, str]:
        """What runs and cannot do its work just now, and why (``waiting()`` of extensions)."""
        found = dict[str, str]()
        for unit in self.lifecycle.units.values():
            for extension in unit.actor.extensions if unit.actor else ():
                tell = getattr(extension, "waiting", None)
                why = cast("str | None", tell()) if callable(tell) else None
                if why is not None and unit.state == "running":
                    found[unit.name] = why
        return found

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[ServiceHost]:
        """Services are up inside; each is stopped at exit, in reverse order."""
        try:
            async with self._run():
                yield self
        except BaseExceptionGroup as group:
            # Supervised tasks raise nothing: what is in the group is the one error of the body.
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from group.exceptions[0].__cause__
            raise

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        self.settings.platform.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with nats_wiring.connected(self.settings), anyio.create_task_group() as tasks:
            self._wiring.tasks = tasks
            nats_wiring.run_bus(self.bus, tasks)
            deadlines = Deadlines(START_S, STOP_S, GRACE_S)
            disabled = self.settings.extensions.disabled
            self.lifecycle.open(tasks, copy_context(), deadlines, disabled)
            tasks.start_soon(supervise, "authenticator", self.authenticator.run)
            with _as_main(self.public_app):
                try:
                    await self._discover()
                    await self.lifecycle.start_all()
                    self._set_ready(ready=True)
                    self._tell_unclaimed()
                    if self._with_extensions and self.settings.extensions.reload:
                        tasks.start_soon(supervise, "extension-watch", self.watcher.run)
                    async with nats_wiring.served(self.settings, self._apps()):
                        yield
                finally:
                    self._set_ready(ready=False)
                    with anyio.CancelScope(shield=True):
                        await self.lifecycle.stop_all()
                        await close_transports()
                    tasks.cancel_scope.cancel()

    def _apps(self) -> dict[str, ASGIApp]:
        """The applications of the services that run here."""
        return {name: self.app(name) for name in self._names}

    def _set_ready(self, *, ready: bool) -> None:
        """What ``/ready`` of each application says."""
        for app in (
            self.public_app,
            *(place.context.app for place in self._wiring.places.values()),
        ):
            registry.set_ready(app, ready)

    async def _discover(self) -> None:
        # Looking through what is installed, and imports, take longer than a loop may be held.
        await anyio.to_thread.run_sync(_warm_up)
        for name in self._names:
            found = await anyio.to_thread.run_sync(discovery.service, name)
            self.lifecycle.add([found], services=True)
        if self._with_extensions:
            self.lifecycle.add(await self._find())

    async def _find(self) -> list[discovery.Found]:
        wanted = self.settings.extensions
        taken = {*self._names, *BUILT_IN}
        found = await anyio.to_thread.run_sync(discovery.in_folders, wanted.folders)
        if wanted.installed:
            found += await self._find_installed([*taken, *wanted.disabled])
        return discovery.choose(found, taken=sorted(taken))

    async def _find_installed(self, but: Sequence[str]) -> list[discovery.Found]:
        """What packages bring. They are imported for that: one that hangs is done without."""
        with anyio.move_on_after(START_S):
            return await in_thread(partial(discovery.installed, but=but))
        log.error("extension.packages_hang", after_s=START_S)
        return []

    def _furnish(self, unit: Unit) -> Workbench:
        return self._wiring.furnish(unit)

    def _unit(self, service: str) -> tuple[Unit, Workbench]:
        unit = self.lifecycle.units.get(service)
        place = self._wiring.places.get(service)
        if unit is None or place is None or unit.actor is None:
            raise SetupError(f"The service {service} does not run in this process.")
        return unit, place

    def _tell_unclaimed(self) -> None:
        unclaimed = self.unclaimed_settings() if self._with_extensions else []
        if unclaimed:
            log.warning("extension.settings_for_nobody", given=unclaimed)


@contextmanager
def _as_main(app: FastAPI) -> Generator[None]:
    """Inside, `get_app()` is *app*: what an extension registers is served to the public."""
    before = registry.get_app()
    registry.put_app(registry.MAIN, app)
    try:
        yield
    finally:
        if registry.get_app() is app:
            registry.put_app(registry.MAIN, before)


def _warm_up() -> None:
    """Make one route: FastAPI imports half of what it needs with the first."""

    async def handler() -> dict[str, int]:
        return {}

    APIRouter().add_api_route("/", handler)


def _tokens(settings: Settings) -> dict[str, str]:
    """Tokens that the operator gave extensions, by name."""
    path = settings.extensions.tokens
    if path is None:
        return {}
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"The file of tokens {path} cannot be read: {error}.") from error
    if not all(isinstance(value, str) for value in tree.values()):
        raise SetupError(f'{path} must hold lines of the form "extension" = "token".')
    return cast("dict[str, str]", tree)


def _boot_secret(settings: Settings) -> str:
    """What services show identity: of this process alone, or the one that several share."""
    path = settings.services.secret_file
    if path is None:
        return new_secret()
    try:
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"The secret file {path} cannot be read: {error}.") from error
    if len(secret) < LEAST_SECRET:
        raise SetupError(f"The secret in {path} needs at least {LEAST_SECRET} characters.")
    return secret
