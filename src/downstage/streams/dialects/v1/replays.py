"""Replays of recordings by our own API: begun, steered, watched."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Path, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from downstage.contracts.recordings import ReplayList, ReplayPatch, ReplayRequest, ReplayView
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams import names
from downstage.streams.callers import Callers, Guest
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.recordings.replay import ReplayWish
from downstage.streams.recordings.replays import Replayed, Replays
from downstage.streams.recordings.views import replay_view

__all__ = ["replay_routes"]

Name = Annotated[str, Path(min_length=1, max_length=128, description="Of the recording.")]
Id = Annotated[str, Path(min_length=1, max_length=64, alias="id", description="Of the replay.")]
HEARTBEAT_S = 15
SEND_S = 30.0


class EventStream(EventSourceResponse):
    """The same, with its type said where the description is made."""

    media_type = "text/event-stream"


def replay_routes(replays: Replays, callers: Callers, ask: Asker) -> APIRouter:
    """The routes.

    Args:
        replays: the service.
        callers: lets readers stay.
        ask: who calls.
    """
    router = ServiceAPIRouter(tags=["recordings"])
    guest: Any = Depends(ask)

    async def start(name: Name, body: ReplayRequest, who: Guest = guest) -> ReplayView:
        """Replay a recording into streams."""
        made = await replays.start(who.caller, name, lambda allowed: _wish(body, allowed))
        return replay_view(made)

    async def list_replays(name: Name, who: Guest = guest) -> ReplayList:
        """Replays of a recording that the caller may steer."""
        found = replays.list(who.caller, names.check(name, "name"))
        return ReplayList(items=[replay_view(one) for one in found])

    async def replay(name: Name, id_: Id, who: Guest = guest) -> ReplayView:
        """One replay as it stands."""
        return replay_view(replays.find(who.caller, name, id_))

    async def steer(name: Name, id_: Id, body: ReplayPatch, who: Guest = guest) -> ReplayView:
        """Change its speed, pause it, let it go on, move it somewhere else."""
        found = replays.find(who.caller, name, id_)
        if body.speed is not None:
            found.replay.set_speed(body.speed)
        if body.position_ms is not None:
            found.replay.seek(body.position_ms)
        if body.paused is not None:
            (found.replay.pause if body.paused else found.replay.resume)()
        return replay_view(found)

    async def stop(name: Name, id_: Id, who: Guest = guest) -> None:
        """End a replay and forget it."""
        replays.forget(replays.find(who.caller, name, id_))

    async def events(
        name: Name,
        id_: Id,
        who: Guest = guest,
        interval: Annotated[float, Query(ge=0.05, le=60)] = 0.5,
    ) -> Response:
        """How far it is, every `interval` seconds, until it is over."""
        found = replays.find(who.caller, name, id_)
        callers.refuse_more(who)
        return EventStream(
            _progress(found, callers, who, interval),
            ping=HEARTBEAT_S,
            send_timeout=SEND_S,
            headers={"cache-control": "no-store"},
        )

    all_, one = "/v1/recordings/{name}/replays", "/v1/recordings/{name}/replays/{id}"
    router.post(all_, status_code=201, responses=refusals(404, 409, 429))(start)
    router.get(all_, responses=refusals(404))(list_replays)
    router.get(one, responses=refusals(404))(replay)
    router.patch(one, responses=refusals(404))(steer)
    router.delete(one, status_code=204, responses=refusals(404))(stop)
    told: dict[str, Any] = {"responses": refusals(404, 429), "response_class": EventStream}
    router.get(f"{one}/events", **told)(events)
    return router


def _wish(body: ReplayRequest, allowed: list[str]) -> ReplayWish:
    wanted = allowed if body.streams is None else [names.check(s) for s in body.streams]
    return ReplayWish(
        streams=tuple(dict.fromkeys(wanted)),
        prefix=body.prefix,
        speed=body.speed,
        start_ms=body.start_ms,
        stop_ms=body.stop_ms,
        loop=body.loop,
        original_ids=body.original_ids,
        live=body.live,
        paused=body.paused,
    )


async def _progress(
    found: Replayed, callers: Callers, who: Guest, interval: float
) -> AsyncGenerator[ServerSentEvent]:
    ended = anyio.Event()

    def end(_code: int, _reason: str) -> None:
        ended.set()

    with callers.staying(who, end):
        while not ended.is_set():
            over = found.replay.over.is_set()
            yield ServerSentEvent(replay_view(found).model_dump_json(), event="progress")
            if over:
                return
            with anyio.move_on_after(interval):
                await found.replay.over.wait()
