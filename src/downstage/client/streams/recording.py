"""Recordings and replays at a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from downstage.client.streams.api import Api, path_of
from downstage.client.streams.model import RecordingInfo, ReplayInfo

__all__ = ["AsyncRecordings"]

PIECE = 256 * 1024
AT_ONCE = 8
Progress = Callable[[int], object]
"""Hears how many bytes have gone."""


class _Recordings(msgspec.Struct):
    items: list[RecordingInfo]


class _Replays(msgspec.Struct):
    items: list[ReplayInfo]


class AsyncRecordings:
    """What `AsyncClient.recordings` offers."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def list(self, pattern: str = "*", *, hidden: bool = False) -> list[RecordingInfo]:
        """Recordings, the oldest first."""
        query = {"pattern": pattern, "hidden": hidden}
        return (await self._api.call("GET", "/v1/recordings", query, returns=_Recordings)).items

    async def start(self, *streams: str, name: str | None = None) -> RecordingInfo:
        """Record *streams* (names and patterns; none: all) at the server until it is stopped.

        Args:
            streams: what to record.
            name: of the recording; None: date and time.
        """
        body: dict[str, Any] = {"streams": [*streams] or ["*"], "name": name}
        return await self._api.call("POST", "/v1/recordings", body=body, returns=RecordingInfo)

    async def info(self, name: str) -> RecordingInfo:
        """One recording as it stands."""
        return await self._api.call("GET", path_of("recordings", name), returns=RecordingInfo)

    async def stop(self, name: str) -> RecordingInfo:
        """End a recording; its file is closed then."""
        path = path_of("recordings", name, "stop")
        return await self._api.call("POST", path, returns=RecordingInfo)

    async def change(
        self, name: str, *, new_name: str | None = None, hidden: bool | None = None
    ) -> RecordingInfo:
        """Rename a recording, hide it, show it again."""
        given = {"name": new_name, "hidden": hidden}
        body = {field: value for field, value in given.items() if value is not None}
        path = path_of("recordings", name)
        return await self._api.call("PATCH", path, body=body, returns=RecordingInfo)

    async def delete(self, name: str) -> None:
        """Remove a recording for good."""
        await self._api.do("DELETE", path_of("recordings", name))

    async def replay(
        self,
        name: str,
        *,
        streams: Sequence[str] | None = None,
        prefix: str = "",
        speed: float = 1.0,
        start_ms: int = 0,
        stop_ms: int | None = None,
        loop: bool = False,
        original_ids: bool = False,
        live: bool = False,
    ) -> ReplayInfo:
        """Push what was recorded into streams again, at the server.

        Args:
            name: of the recording.
            streams: of those recorded; None: all.
            prefix: before the name of each stream.
            speed: times the recorded one; 0: as fast as it goes.
            start_ms: where to begin, from the first entry.
            stop_ms: where to end.
            loop: begin anew at the end, until it is stopped.
            original_ids: keep ids, and with them the times.
            live: at the end go on with what the streams get now.
        """
        body = {
            "streams": None if streams is None else list(streams),
            "prefix": prefix,
            "speed": speed,
            "start_ms": start_ms,
            "stop_ms": stop_ms,
            "loop": loop,
            "original_ids": original_ids,
            "live": live,
        }
        path = path_of("recordings", name, "replays")
        return await self._api.call("POST", path, body=body, returns=ReplayInfo)

    async def replays(self, name: str) -> list[ReplayInfo]:
        """Replays of a recording, the oldest first."""
        path = path_of("recordings", name, "replays")
        return (await self._api.call("GET", path, returns=_Replays)).items

    async def steer(
        self,
        replay: ReplayInfo,
        *,
        speed: float | None = None,
        paused: bool | None = None,
        position_ms: int | None = None,
    ) -> ReplayInfo:
        """Change speed, pause, go on, move to a place."""
        given = {"speed": speed, "paused": paused, "position_ms": position_ms}
        body = {field: value for field, value in given.items() if value is not None}
        path = path_of("recordings", replay.recording, "replays", replay.id)
        return await self._api.call("PATCH", path, body=body, returns=ReplayInfo)

    async def stop_replay(self, replay: ReplayInfo) -> None:
        """End a replay."""
        await self._api.do("DELETE", path_of("recordings", replay.recording, "replays", replay.id))

    async def follow(
        self, replay: ReplayInfo, interval_s: float = 0.5
    ) -> AsyncGenerator[ReplayInfo]:
        """How far a replay is, again and again, until it is over."""
        path = path_of("recordings", replay.recording, "replays", replay.id)
        while True:
            found = await self._api.call("GET", path, returns=ReplayInfo)
            yield found
            if found.is_over:
                return
            await asyncio.sleep(interval_s)

    async def export(
        self,
        name: str,
        target: Path | str,
        *,
        streams: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Write a recording into a file; says how many bytes.

        Args:
            name: of the recording.
            target: ``….mcap``: as it lies at the server; ``….zip``: the data server's layout.
            streams: of those recorded, for a zip; None: all.
            progress: hears how far it is.
        """
        file = Path(target)
        if file.suffix == ".mcap":
            path, query = path_of("recordings", name, "file"), None
        else:
            path = path_of("recordings", name, "export")
            query = {"streams": None if streams is None else "+".join(streams)}
        partial = file.with_name(f".{file.name}.part")
        done = 0
        try:
            async with self._api.request("GET", path, query) as response:
                with await asyncio.to_thread(partial.open, "wb") as out:
                    async for piece in response.content.iter_chunked(PIECE):
                        await asyncio.to_thread(out.write, piece)
                        done += len(piece)
                        if progress is not None:
                            progress(done)
            await asyncio.to_thread(partial.replace, file)
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
        return done

    async def import_(
        self, source: Path | str, *, name: str | None = None, progress: Progress | None = None
    ) -> RecordingInfo:
        """Take a ``.mcap`` or a zip of the data server's layout as a recording of the server."""
        body = _pieces(Path(source), progress)
        return await self._api.call(
            "POST", "/v1/recordings-imports", {"name": name}, data=body, returns=RecordingInfo
        )


async def _pieces(source: Path, progress: Progress | None) -> AsyncIterator[bytes]:
    done = 0
    with await asyncio.to_thread(source.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece
            done += len(piece)
            if progress is not None:
                progress(done)
