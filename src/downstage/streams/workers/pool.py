"""All workers: which of them takes a socket, what they tell each other, what they did together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import anyio

from downstage.bus import Bus
from downstage.kernel.errors import Unavailable
from downstage.kernel.logging import get_logger
from downstage.kernel.settings import Settings
from downstage.services.sockets import Handover, Listener
from downstage.streams.ground import Part
from downstage.streams.model import Caller
from downstage.streams.service import Streams
from downstage.streams.workers.board import Board
from downstage.streams.workers.messages import Hint, Told, hello_of
from downstage.streams.workers.remote import AwaySocket, Remote

__all__ = ["Pool", "least_loaded", "without_proof"]

SUBJECTS = "streams.>"
PREFIX = "streams."
OF_ONE = 8 << 20
"""Bytes a second that weigh as much as one more socket."""
POLL_S = 0.02
PROOF = "token"
"""In a query: it was spent when the socket was let in."""
log = get_logger(__name__)


class Pool(Part):
    """Keeps workers running and hands sockets over to them.

    Args:
        settings: of the platform; `streams.workers` says how many.
        folder: of the engine's files.
        bus: of the platform: hints go on to the workers, and come from them.
        streams: the service of this process.
        wait_open: returns once the engine is there for workers to use.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        bus: Bus,
        streams: Streams,
        wait_open: Callable[[], Awaitable[None]],
    ) -> None:
        self.board = Board(self._stored)
        self._bus = bus
        self._streams = streams
        self._wait_open = wait_open
        self._scope = anyio.CancelScope()
        self._is_stopping = False
        self._ended = anyio.Event()
        where = str(folder.absolute())
        self.remotes = [
            Remote(number, hello_of(number, settings, where), self.heard, self._gone)
            for number in range(1, settings.streams.workers + 1)
        ]

    @property
    def why(self) -> str | None:
        """What readiness says: None where workers serve."""
        if self._is_stopping or any(remote.is_ready for remote in self.remotes):
            return None
        return "No worker of streams runs; the first process serves the sockets itself."

    async def wait_ready(self) -> None:
        """Return once all take sockets; for tests and tools, who bound it by a deadline."""
        while not all(remote.is_ready for remote in self.remotes):
            await anyio.sleep(POLL_S)

    def take(
        self, handover: Handover, kind: str, caller: Caller, listener: Listener
    ) -> AwaySocket | None:
        """Let a worker serve the socket; None: none can, and it is served here."""
        remote = None if self._is_stopping else least_loaded(self.remotes)
        if remote is None:
            return None
        query = without_proof(handover.request.scope.get("query_string", b""))
        return remote.take(handover, kind, caller, query, listener)

    async def run(self) -> None:
        """Keep all of them running, until `stop`."""
        try:
            with self._scope:
                await self._wait_open()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._pass_hints)
                    for remote in self.remotes:
                        tasks.start_soon(remote.run)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Close their sockets and end them."""
        self._is_stopping = True
        self._scope.cancel()
        await self._ended.wait()

    # --- what they say ---------------------------------------------------------------------------

    def heard(self, remote: Remote, message: Hint | Told) -> None:
        """What a worker says."""
        if isinstance(message, Told):
            self.board.told(remote.number, message)
        elif message.subject.startswith(PREFIX):
            self._bus.publish(message.subject, message.payload)

    def _gone(self, remote: Remote) -> None:
        self.board.gone(remote.number)

    def _stored(self, tenant: str, stream: str, entries: int, size: int) -> None:
        try:
            self._streams.stored_elsewhere(tenant, stream, entries, size)
        except Unavailable:
            log.debug("streams.figures_dropped")  # the engine is being opened: rates begin later

    async def _pass_hints(self) -> None:
        """Give what the bus tells to all workers but the one that it came from."""
        async with self._bus.subscribe(SUBJECTS) as messages:
            async for message in messages:
                if message.subject:
                    hint = Hint(message.subject, dict(message.payload))
                    for remote in self.remotes:
                        if remote.origin != message.payload.get("process"):
                            remote.hint(hint)

    # --- figures ---------------------------------------------------------------------------------

    def metrics(self) -> list[str]:
        """How they are."""
        sockets = [
            f'downstage_streams_worker_sockets{{worker="{remote.number}"}} {remote.count}'
            for remote in self.remotes
        ]
        starts = [
            f'downstage_streams_worker_starts_total{{worker="{remote.number}"}} {remote.starts}'
            for remote in self.remotes
        ]
        return [
            "# HELP downstage_streams_workers Workers that take sockets.",
            "# TYPE downstage_streams_workers gauge",
            f"downstage_streams_workers {sum(remote.is_ready for remote in self.remotes)}",
            "# HELP downstage_streams_worker_sockets Sockets that each serves.",
            "# TYPE downstage_streams_worker_sockets gauge",
            *sockets,
            "# HELP downstage_streams_worker_starts_total How often each was started.",
            "# TYPE downstage_streams_worker_starts_total counter",
            *starts,
        ]


def least_loaded(remotes: Sequence[Remote]) -> Remote | None:
    """The one with the fewest sockets and bytes; None: none takes any."""
    ready = [remote for remote in remotes if remote.is_ready]
    if not ready:
        return None
    return min(ready, key=lambda remote: (remote.count + remote.moved / OF_ONE, remote.number))


def without_proof(query: bytes) -> bytes:
    """*query* without what proved who asks: the worker need not know."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name != PROOF]
    return query if len(kept) == len(pairs) else urlencode(kept).encode()
