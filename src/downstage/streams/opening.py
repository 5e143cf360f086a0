"""The engine and the service on it: opened in the background, closed in the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.services.context import ServiceContext
from downstage.services.health import set_ready
from downstage.streams.ground import Late
from downstage.streams.service import Streams, open_streams

if TYPE_CHECKING:
    from downstage.streams.engine import Engine, EngineState

__all__ = ["Opening"]

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
STOP_S = 4.0
LOOK_S = 1.0
POLL_S = 0.02
log = get_logger(__name__)


class Opening:
    """Opens the engine, and again where it cannot be opened: it may be one that comes later.

    Args:
        late: what stands for the service meanwhile.
        context: of the extension.
        folder: of the engine's files.
    """

    def __init__(self, late: Late, context: ServiceContext, folder: Path) -> None:
        self._late = late
        self._context = context
        self._folder = folder
        self._engine: Engine | None = None
        self._opened = anyio.Event()
        self._end = anyio.Event()
        self._ended = anyio.Event()

    @property
    def streams(self) -> Streams | None:
        """The service, where it is there."""
        return self._late.as_streams() if self._late.why is None else None

    @property
    def why(self) -> str | None:
        """Why it is not ready; None: it is."""
        state = self.state
        if state is None or state.word == "ready":
            return self._late.why
        return f"The engine of streams is {state.word}. {state.detail}".rstrip()

    @property
    def state(self) -> EngineState | None:
        """Of the engine; None: it is not open."""
        return None if self._engine is None else self._engine.state

    @property
    def memory(self) -> tuple[int, int] | None:
        """Bytes that the engines use, and may use (0: as many as there are); None: not known."""
        shards = () if self._engine is None else self._engine.shards
        facts = [shard.facts for shard in shards if shard.facts is not None]
        if not facts:
            return None
        return sum(item.memory_used for item in facts), sum(item.memory_limit for item in facts)

    async def wait_ready(self) -> None:
        """Return once it is ready; for tests and tools, who bound it by a deadline."""
        await self._opened.wait()
        while self.why is not None:
            await anyio.sleep(POLL_S)

    async def run(self) -> None:
        """Open it, and keep it open until `stop`."""
        pause = FIRST_PAUSE_S
        try:
            while not self._end.is_set():
                try:
                    await self._serve()
                except PlatformError as error:
                    self._late.leave(error.detail)
                    log.error("streams.engine_not_opened", why=error.detail, pause_s=pause)  # noqa: TRY400
                    with anyio.move_on_after(pause):
                        await self._keep_told()
                    pause = min(2 * pause, LONGEST_PAUSE_S)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Close it: what was pushed is answered first, as far as that is quick."""
        self._end.set()
        with anyio.move_on_after(STOP_S) as scope:
            await self._ended.wait()
        if scope.cancelled_caught:
            log.warning("streams.engine_cut_off", limit_s=STOP_S)

    def tell_ready(self) -> None:
        """Let ``/ready`` of the service's own application say what is so."""
        set_ready(self._context.app, self.why is None)

    async def _serve(self) -> None:
        # Imported here: the platform's start does not wait for the engine's client either.
        from downstage.streams.engine import open_engine

        context = self._context
        settings = context.settings
        async with (
            open_engine(settings, self._folder, context.clock) as engine,
            open_streams(engine, context.bus, settings.streams) as streams,
        ):
            self._engine = engine
            self._late.arrive(streams)
            self._opened.set()
            log.info("streams.opened", engine=engine.state.word)
            try:
                await self._keep_told()
            finally:
                self._engine = None
                self._late.leave("The service of streams is ending.")

    async def _keep_told(self) -> None:
        """Let readiness follow the engine, which may go and come back, until the end."""
        while not self._end.is_set():
            self.tell_ready()
            with anyio.move_on_after(LOOK_S):
                await self._end.wait()
