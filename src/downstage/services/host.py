"""The service host: starts extensions in order, wires them by `AsyncClient`, serves them.

Built-in services are found like any other extension, by the entry-point group
``downstage.extensions``; the host knows none of them by import.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, cast

import anyio
import anyio.abc
import anyio.to_thread
from fastapi import APIRouter, FastAPI

from downstage.bus import Bus, MemoryBus
from downstage.kernel.clock import Clock, SystemClock
from downstage.kernel.errors import SetupError
from downstage.kernel.ids import new_secret
from downstage.kernel.logging import get_logger
from downstage.kernel.settings import Settings
from downstage.services import registry
from downstage.services.client import AsyncClient
from downstage.services.context import PlatformUrls, ServiceContext
from downstage.services.extension import IExt
from downstage.services.facilities.principal import Authenticator, ServiceTokens
from downstage.services.supervisor import Crew, supervise
from downstage.services.transports.http import close_pool

__all__ = ["BUILT_IN", "ServiceHost"]

BUILT_IN = ("identity", "manager", "agent", "gateway")
"""Order of start; the stop is in reverse."""

GROUP = "downstage.extensions"
LEAST_SECRET = 32
START_S = 30.0
STOP_S = 5.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    extension: IExt
    context: ServiceContext
    crew: Crew


class ServiceHost:
    """Runs some services in this process.

    Args:
        settings: of the platform.
        urls: where it will be reached; sockets are open before services start.
        services: names to run here; the others are reached by `settings.services`.
        clock, bus: for tests and simulations.
    """

    def __init__(
        self,
        settings: Settings,
        urls: PlatformUrls,
        *,
        services: Sequence[str] = BUILT_IN,
        clock: Clock | None = None,
        bus: Bus | None = None,
    ) -> None:
        self.settings = settings
        self.urls = urls
        self.bus = bus or MemoryBus()
        self.clock = clock or SystemClock()
        self.public_app = registry.create_app("Downstage", openapi_url=None)
        self._names = tuple(services)
        self._running: list[_Running] = []
        self._boot_secret = _boot_secret(settings)
        self._tokens: dict[tuple[str, str | None], ServiceTokens] = {}
        self._ready: list[Callable[[], Awaitable[Any]]] = []
        self.authenticator = Authenticator(
            jwks=self._jwks, revocations=self._revocations, bus=self.bus, clock=self.clock
        )
        self.public_app.state.authenticator = self.authenticator

    def app(self, service: str) -> FastAPI:
        """The own application of a service that runs here."""
        for running in self._running:
            if running.context.name == service:
                return running.context.app
        raise SetupError(f"The service {service} does not run in this process.")

    def extension(self, service: str) -> IExt:
        """The extension of a service that runs here."""
        for running in self._running:
            if running.context.name == service:
                return running.extension
        raise SetupError(f"The service {service} does not run in this process.")

    def running(self) -> list[tuple[str, str]]:
        """Names and states of the services of this process, in order of start."""
        return [(item.context.name, "running") for item in self._running]

    def metrics(self) -> list[str]:
        """Prometheus lines that services contribute (``metrics()`` of their extension)."""
        lines = list[str]()
        for item in self._running:
            tell = getattr(item.extension, "metrics", None)
            if callable(tell):
                lines += cast("list[str]", tell())
        return lines

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
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(supervise, "authenticator", self.authenticator.run)
            try:
                for name in self._names:
                    await self._start(name, tasks)
                with anyio.fail_after(START_S):
                    for hook in self._ready:
                        await hook()
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await self._stop_all()
                tasks.cancel_scope.cancel()

    async def _start(self, name: str, tasks: anyio.abc.TaskGroup) -> None:
        # Looking through what is installed, and imports, take longer than a loop may be held.
        extension = (await anyio.to_thread.run_sync(_find, name))()
        crew = Crew(tasks)
        context = self._context(name, crew)
        extension.context = context
        registry.put_app(name, context.app)
        self._running.append(_Running(extension, context, crew))
        try:
            with anyio.fail_after(START_S):
                await _call(extension.on_startup, name)
        except TimeoutError as error:
            raise SetupError(f"The service {name} did not start within {START_S:g} s.") from error
        log.info("service.started", service=name)

    async def _stop_all(self) -> None:
        while self._running:
            running = self._running.pop()
            name = running.context.name
            with anyio.move_on_after(STOP_S) as scope:
                await running.crew.stop()
                try:
                    await _call(running.extension.on_shutdown)
                except Exception:
                    log.exception("service.stop_failed", service=name)
            registry.remove_app(name)
            log.info("service.stopped", service=name, in_time=not scope.cancelled_caught)
        await close_pool()

    def _context(self, name: str, crew: Crew) -> ServiceContext:
        app = registry.create_app(f"Downstage {name}")
        app.state.authenticator = self.authenticator

        def public(router: APIRouter) -> None:
            registry.register_router(router, app=app)
            registry.register_router(router, app=self.public_app)

        def internal(router: APIRouter) -> None:
            registry.register_router(router, app=app)

        def start(function: Callable[..., Awaitable[Any]], *args: Any, name: str) -> None:
            crew.start(f"{context.name}.{name}", function, *args)

        def client(service: str, *, act: str | None = None) -> AsyncClient:
            return self._client(name, service, act)

        context = ServiceContext(
            name=name,
            settings=self.settings,
            bus=self.bus,
            clock=self.clock,
            data=self.settings.platform.data.absolute(),
            app=app,
            urls=self.urls,
            boot_secret=self._boot_secret,
            public=public,
            internal=internal,
            start=start,
            client=client,
            on_ready=self._ready.append,
        )
        return context

    def _uri(self, service: str) -> str:
        return getattr(self.settings.services, service, None) or f"local://{service}"

    def _client(self, caller: str, service: str, act: str | None) -> AsyncClient:
        return AsyncClient(self._uri(service), timeout_s=10, token=self._token(caller, act))

    def _token(self, caller: str, act: str | None) -> Callable[[], Awaitable[str]]:
        async def fetch() -> tuple[str, str]:
            identity = AsyncClient(self._uri("identity"), timeout_s=10)
            body = {"service": caller, "boot_secret": self._boot_secret, "act": act}
            answer = await identity.v1.service_tokens.post(**body)
            return answer["token"], answer["expires_at"]

        key = (caller, act)
        if key not in self._tokens:
            if len(self._tokens) > 1024:  # noqa: PLR2004 - people come and go, memory stays
                self._tokens.clear()
            self._tokens[key] = ServiceTokens(fetch, clock=self.clock)
        return self._tokens[key].token

    async def _jwks(self) -> dict[str, Any]:
        identity = AsyncClient(self._uri("identity"), timeout_s=5)
        return await identity.v1[".well-known"]["jwks.json"].get()

    async def _revocations(self) -> dict[str, Any]:
        identity = AsyncClient(
            self._uri("identity"), timeout_s=5, token=self._token("gateway", None)
        )
        return await identity.v1.revocations.get()


def _find(name: str) -> type[IExt]:
    for entry in entry_points(group=GROUP, name=name):
        found = entry.load()
        if isinstance(found, type) and issubclass(found, IExt):
            return found
    raise SetupError(
        f"No extension named {name} is installed (entry points of {GROUP}). Reinstall Downstage."
    )


async def _call(function: Callable[..., object], *arguments: object) -> None:
    """Call a start or stop method: sync or async, with as many arguments as it takes."""
    takes = len(inspect.signature(function).parameters)
    result = function(*arguments[:takes])
    if inspect.isawaitable(result):
        await result


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
