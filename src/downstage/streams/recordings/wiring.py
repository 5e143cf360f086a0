"""Recordings, put in their place: the one module that knows both dialects of them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import anyio
import anyio.to_thread

from downstage.streams.dialects.ptg.door import Door
from downstage.streams.dialects.ptg.recordings import recording_routes as ptg_routes
from downstage.streams.dialects.ptg.recordings import upload_routes
from downstage.streams.dialects.ptg.replaying import replay_socket
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.dialects.v1.recordings import (
    import_route,
    reading_routes,
    recording_routes,
)
from downstage.streams.dialects.v1.replays import replay_routes
from downstage.streams.ground import Ground, Part
from downstage.streams.recordings.files import Files
from downstage.streams.recordings.importer import Importer
from downstage.streams.recordings.intake import MOST
from downstage.streams.recordings.links import Links
from downstage.streams.recordings.replays import Replays
from downstage.streams.recordings.service import Recordings, open_recordings

__all__ = ["RecordingsPart", "wire"]

FOLDER: Final = "recordings"


class RecordingsPart(Part):
    """Recordings as they run.

    Attributes:
        recordings: for tests in the same process.
    """

    def __init__(self, recordings: Recordings, stack: AsyncExitStack) -> None:
        self.recordings = recordings
        self._stack = stack

    def metrics(self) -> list[str]:
        """How many run."""
        return [
            "# HELP downstage_streams_recordings Recordings that run now.",
            "# TYPE downstage_streams_recordings gauge",
            f"downstage_streams_recordings {self.recordings.running}",
        ]

    async def stop(self) -> None:
        """Close the files of recordings that run, and the catalogue."""
        await self._stack.aclose()


async def wire(ground: Ground) -> Part:
    """Serve their routes, and run them."""
    context, callers = ground.context, ground.callers
    folder = ground.folder / FOLDER
    stack = AsyncExitStack()
    recordings = await stack.enter_async_context(
        open_recordings(
            ground.streams,
            folder,
            context.client,
            context.clock,
            to_content=context.settings.streams.record_to_content,
        )
    )
    links = await anyio.to_thread.run_sync(
        partial(Links, folder / "links.key", context.clock, context.urls.public)
    )
    files, replays = Files(recordings), Replays(ground.streams, recordings)
    context.start(recordings.run, name="recordings")
    context.start(replays.run, name="replays")
    context.start(files.run, name="recording-files")
    ask, door = Asker(callers), Door(callers, ground.origins)
    context.public(import_route(Importer(recordings), ask), max_body=MOST)
    context.public(recording_routes(recordings, ask))
    context.public(replay_routes(replays, callers, ask))
    context.public(reading_routes(recordings, files, links, ask))
    context.public(replay_socket(recordings, replays, callers))
    context.public(upload_routes(door, recordings, files), max_body=MOST)
    context.public(ptg_routes(door, recordings, files, links))
    return RecordingsPart(recordings, stack)
