"""Streams as the service host starts them: the one place where their parts are wired."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import ClassVar, cast

import anyio
import anyio.to_thread

from downstage.kernel.logging import get_logger
from downstage.services.context import ServiceContext
from downstage.services.extension import IExt
from downstage.services.origins import LOOPBACK, own_origins
from downstage.services.supervisor import supervise
from downstage.streams.callers import Callers
from downstage.streams.ground import Ground, Late, Part, Wire
from downstage.streams.metrics import Metrics
from downstage.streams.opening import Opening
from downstage.streams.service import Streams
from downstage.streams.tickets import Tickets
from downstage.streams.workers.pool import Pool

__all__ = ["PARTS", "Extension"]

PARTS = (
    "downstage.streams.dialects.v1.wiring",
    "downstage.streams.dialects.ptg.wiring",
    "downstage.streams.dialects.sockets",
    "downstage.streams.video.wiring",
    "downstage.streams.recordings.wiring",
)
"""Modules with a function ``wire``, in the order in which they are wired."""
STOP_S = 3.0
log = get_logger(__name__)


class Extension(IExt):
    """Opens the engine, wires the dialects, serves the routes.

    The engine is opened in the background: nobody waits for it at the platform's start. Who asks
    before it is ready is answered 503 with Retry-After.

    Attributes:
        streams: the service, which raises `Unavailable` until the engine is ready.
        callers, tickets: as they run, for tests in the same process.
    """

    requires: ClassVar[Mapping[str, str]] = {"identity": "?"}

    streams: Streams
    callers: Callers
    tickets: Tickets

    _stack: AsyncExitStack
    _opening: Opening | None = None
    _metrics: Metrics | None = None
    _workers: Pool | None = None
    _parts: tuple[Part, ...] = ()

    async def on_startup(self, ext_id: str) -> None:
        """Wire everything."""
        del ext_id
        context = self.context
        self._stack = AsyncExitStack()
        folder = context.settings.streams.folder or context.data / "streams"
        await anyio.to_thread.run_sync(_make_private, folder)
        late = Late()
        self.streams = late.as_streams()
        opening = self._opening = Opening(late, context, folder)
        if context.settings.streams.workers > 1:
            self._workers = Pool(
                context.settings, folder, context.bus, self.streams, opening.wait_ready
            )
        ground = self._ground(context, folder)
        board = None if self._workers is None else self._workers.board
        self._metrics = Metrics(opening, self.callers, board=board)
        wires = await anyio.to_thread.run_sync(_find_parts)
        parts = [await wire(ground) for wire in wires]
        self._parts = tuple(part for part in (*parts, self._workers) if part is not None)
        context.start(self.callers.run, name="tokens")
        context.on_ready(self._tell_ready)
        # Not one of the context's tasks: those end before the sockets do.
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(supervise, "streams.engine", opening.run)
        if self._workers is not None:
            tasks.start_soon(supervise, "streams.workers", self._workers.run)

    def _ground(self, context: ServiceContext, folder: Path) -> Ground:
        settings = context.settings
        ports = (settings.streams.data_port, settings.streams.hls_port)
        here = [
            f"{scheme}://{name}:{port}"
            for port in ports
            if port
            for name in LOOPBACK
            for scheme in ("http", "https")
        ]
        origins = own_origins(context.urls.public, [*settings.platform.origins, *here])
        self.tickets = Tickets(context.clock)
        self.callers = Callers(
            context.app.state.authenticator,
            self.tickets,
            origins,
            is_demo=context.settings.platform.demo,
        )
        return Ground(context, self.streams, self.callers, folder, origins, self._workers)

    async def wait_ready(self) -> None:
        """Return once the engine is ready, and workers are; bound it by a deadline."""
        assert self._opening is not None  # noqa: S101 - after the start
        await self._opening.wait_ready()
        if self._workers is not None:
            await self._workers.wait_ready()

    def waiting(self) -> str | None:
        """Why it cannot do its work just now, for readiness in detail; None: it can."""
        why = None if self._opening is None else self._opening.why
        return why if why is not None or self._workers is None else self._workers.why

    async def on_shutdown(self) -> None:
        """End the sockets, answer what was pushed, stop the engine."""
        with anyio.move_on_after(STOP_S) as scope:
            async with anyio.create_task_group() as tasks:
                for part in self._parts:
                    tasks.start_soon(part.stop)
        if scope.cancelled_caught:
            log.warning("streams.parts_cut_off", limit_s=STOP_S)
        if self._opening is not None:
            await self._opening.stop()
        await self._stack.aclose()

    async def _tell_ready(self) -> None:
        if self._opening is not None:
            self._opening.tell_ready()

    def metrics(self) -> list[str]:
        """Figures of the engine, the streams and the parts, for Prometheus."""
        if self._metrics is None:
            return []
        lines = self._metrics.lines()
        for part in self._parts:
            lines += part.metrics()
        return lines


def _find_parts() -> list[Wire]:
    return [cast("Wire", import_module(name).wire) for name in PARTS]


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
