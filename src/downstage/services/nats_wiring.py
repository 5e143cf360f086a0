"""How a host comes to NATS: its bus, its connections, and its services' names there.

What needs the NATS client is imported where the settings ask for it: a platform of one process
starts without.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from anyio.abc import TaskGroup
from starlette.types import ASGIApp

from downstage.bus import Bus, MemoryBus
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.services.supervisor import supervise

__all__ = ["connected", "make_bus", "run_bus", "served"]

SCHEME = "nats://"


def make_bus(settings: Settings) -> Bus:
    """The bus that `settings.bus` names: NATS, or within this process.

    Raises:
        SetupError: the section is out of form.
    """
    if settings.bus.url is None:
        return MemoryBus()
    from downstage.bus.nats import NatsBus
    from downstage.bus.nats_options import from_settings

    options = from_settings(settings.bus)
    assert options is not None  # noqa: S101 - there is a URL
    return NatsBus(options)


def run_bus(bus: Bus, tasks: TaskGroup) -> None:
    """Supervise *bus* in *tasks*, where it is one that has to run."""
    run = getattr(bus, "run", None)
    if run is not None:
        tasks.start_soon(supervise, "bus", run)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncGenerator[None]:
    """Inside, addresses without a host lead to the servers of the settings; closed at exit."""
    if settings.bus.url is None and not _by_nats(settings):
        yield
        return
    from downstage.bus.nats_options import from_settings
    from downstage.bus.nats_pool import close_connections, configured

    with configured(from_settings(settings.bus)):
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await close_connections()


@asynccontextmanager
async def served(settings: Settings, apps: Mapping[str, ASGIApp]) -> AsyncGenerator[None]:
    """Inside, those of *apps* whose address in the settings is ``nats://`` are reached there too.

    Raises:
        SetupError: an address is out of form.
    """
    async with AsyncExitStack() as stack:
        for name in sorted({*apps} & {*_by_nats(settings)}):
            from downstage.services.nats_service import serve_nats

            uri = _by_nats(settings)[name]
            try:
                context = serve_nats(apps[name], uri, concurrency=settings.bus.concurrency)
                await stack.enter_async_context(context)
            except ValueError as error:
                raise SetupError(f"services.{name}: {error}") from error
        yield


def _by_nats(settings: Settings) -> dict[str, str]:
    """Services whose address is on NATS."""
    services = settings.services
    given = {name: getattr(services, name) for name in type(services).model_fields}
    return {k: v for k, v in given.items() if isinstance(v, str) and v.startswith(SCHEME)}
