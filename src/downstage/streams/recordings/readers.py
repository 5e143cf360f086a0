"""Readers of recordings for jobs in threads; the indexes of the latest ones are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from downstage.kernel.errors import NotFound
from downstage.streams.recordings.ledger import Ledger
from downstage.streams.recordings.reader import RecordingReader, load_ledger

__all__ = ["Readers"]

T = TypeVar("T")
KEPT: Final = 16
"""Indexes: of an hour one is a megabyte or two."""
AT_ONCE: Final = 8


class Readers:
    """Reads recordings; belongs to the loop that made it."""

    def __init__(self) -> None:
        self._ledgers: OrderedDict[str, Ledger] = OrderedDict()
        self._threads = anyio.CapacityLimiter(AT_ONCE)

    async def read(
        self, id_: str, path: Path, job: Callable[[RecordingReader], T], live: Ledger | None = None
    ) -> T:
        """Run *job* in a thread over a reader of a recording.

        Args:
            id_: of the recording.
            path: of its file.
            job: what to do.
            live: its index while it is being written.

        Raises:
            NotFound: the file is not there.
            Damaged: it cannot be read.
        """
        ledger = live or self._ledgers.get(id_)

        def run() -> tuple[Ledger, T]:
            with RecordingReader(path, ledger or load_ledger(path)) as reader:
                return reader.ledger, job(reader)

        try:
            read, found = await anyio.to_thread.run_sync(run, limiter=self._threads)
        except FileNotFoundError as error:
            raise NotFound("The file of this recording is gone.") from error
        if live is None:
            self._keep(id_, read)
        return found

    def _keep(self, id_: str, ledger: Ledger) -> None:
        self._ledgers[id_] = ledger
        self._ledgers.move_to_end(id_)
        if len(self._ledgers) > KEPT:
            self._ledgers.popitem(last=False)

    def forget(self, id_: str) -> None:
        """The file changed or is gone."""
        self._ledgers.pop(id_, None)
