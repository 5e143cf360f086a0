"""``WS /recordings/replay``: a replay that lasts as long as its socket, and tells how far it is."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Final

import anyio
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from downstage.kernel.errors import InvalidField, PlatformError
from downstage.kernel.logging import get_logger
from downstage.services.routers import ServiceAPIRouter
from downstage.streams import names
from downstage.streams.callers import Callers, Guest
from downstage.streams.recordings.replay import ReplayWish
from downstage.streams.recordings.replays import Replayed, Replays
from downstage.streams.recordings.service import Recordings
from downstage.streams.recordings.timeline import FULL, check_speed
from downstage.streams.recordings.views import ptg_progress

__all__ = ["replay_socket"]

USUAL: Final = "main"
LEAST_S: Final = 0.05
MOST_S: Final = 60.0
SEND_S: Final = 30.0
NORMAL: Final = 1000
POLICY: Final = 1008
INTERNAL: Final = 1011
TRUE: Final = ("true", "1", "yes", "on")
log = get_logger(__name__)


def replay_socket(recordings: Recordings, replays: Replays, callers: Callers) -> APIRouter:
    """The socket.

    Args:
        recordings: what is replayed.
        replays: runs it.
        callers: lets callers in.
    """
    router = ServiceAPIRouter(tags=["data server: recordings"])

    async def replay(socket: WebSocket) -> None:
        """Replay a recording while the socket is open."""
        guest = await callers.of_connection(socket, purpose="push")
        ended = anyio.Event()
        with callers.staying(guest, lambda _code, _reason: ended.set()):
            session = _Session(socket, recordings, replays, guest)
            await socket.accept()
            await session.run(ended)

    for path in ("/recordings/replay", "/recordings/replay/"):
        router.add_api_websocket_route(path, replay)
    return router


class _Session:
    """One replay on one socket."""

    def __init__(
        self, socket: WebSocket, recordings: Recordings, replays: Replays, guest: Guest
    ) -> None:
        self._socket = socket
        self._recordings = recordings
        self._replays = replays
        self._guest = guest

    async def run(self, ended: anyio.Event) -> None:
        """Until the replay is over, the socket is closed, or *ended*."""
        try:
            name, interval, wish = self._asked()
            recording = await self._recordings.get(self._guest.caller, name)
            replayed = await self._replays.start(self._guest.caller, recording.name, lambda _: wish)
        except PlatformError as error:
            await self._close(POLICY, error.code)
            return
        code, reason = INTERNAL, "internal"
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, tasks.cancel_scope)
                tasks.start_soon(_until, ended, tasks.cancel_scope)
                await self._tell(replayed, recording.name, interval)
                tasks.cancel_scope.cancel()
            failure = replayed.replay.failure
            code, reason = (NORMAL, "") if failure is None else (POLICY, failure.code)
            if ended.is_set():
                code, reason = POLICY, "invalid-token"
        finally:
            self._replays.forget(replayed)
            with anyio.CancelScope(shield=True):
                await self._close(code, reason)

    def _asked(self) -> tuple[str, float, ReplayWish]:
        query = self._socket.query_params
        name = names.check(query.get("rec_id", ""), "rec_id")
        interval = _number(query.get("interval", "1"), "interval")
        speed = check_speed(_number(query.get("speed", "1"), "speed"))
        wish = ReplayWish(
            streams=names.split(query.get("sid") or USUAL, "sid"),
            prefix=query.get("prefix", ""),
            speed=FULL if _is_true(query.get("fullspeed")) else speed,
            start_ms=int(_number(query.get("start", "0"), "start") * 1000),
            stop_ms=None if "stop" not in query else int(_number(query["stop"], "stop") * 1000),
            loop=_is_true(query.get("loop")),
            original_ids=_is_true(query.get("original")),
            live=_is_true(query.get("live")),
        )
        return name, min(max(interval, LEAST_S), MOST_S), wish

    async def _tell(self, replayed: Replayed, name: str, interval: float) -> None:
        facts = (await self._recordings.get(self._guest.caller, name)).facts
        told: dict[str, int] = {}
        while True:
            with anyio.move_on_after(interval):
                await replayed.replay.over.wait()
            over = replayed.replay.over.is_set()
            progress = replayed.replay.progress()
            text = json.dumps(ptg_progress(progress, told, facts), separators=(",", ":"))
            told = progress.counts
            with anyio.fail_after(SEND_S):
                await self._socket.send_text(text)
            if over:
                return

    async def _watch(self, scope: anyio.CancelScope) -> None:
        """Until the other side closes; what it says is not wanted."""
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
        scope.cancel()

    async def _close(self, code: int, reason: str) -> None:
        with suppress(RuntimeError, WebSocketDisconnect), anyio.move_on_after(SEND_S):
            await self._socket.close(code, reason)


async def _until(ended: anyio.Event, scope: anyio.CancelScope) -> None:
    await ended.wait()
    scope.cancel()


def _is_true(text: str | None) -> bool:
    return text is not None and text.lower() in TRUE


def _number(text: str, field: str) -> float:
    try:
        found = float(text)
    except ValueError as error:
        raise InvalidField(field, f"{field} is a number.") from error
    if not math.isfinite(found) or not 0 <= found < 1e12:  # noqa: PLR2004 - 30,000 years
        raise InvalidField(field, f"{field} is a number from 0 on.")
    return found
