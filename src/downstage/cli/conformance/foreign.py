"""Checks of the foreign APIs: the public streaming API, Kit App Streaming, Anbox Cloud."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from downstage.cli.conformance.target import Check, Target, demand, hear

__all__ = ["CHECKS"]

OK, CREATED, ACCEPTED, ABSENT, GONE = 200, 201, 202, 404, 410
DISCOVER_S = 0.5
"""From discover to its answer; 0.1 on a quiet machine and network."""


async def _streaming(target: Target) -> None:
    health = await target.call("GET", "/healthcheck", token=None)
    demand(health.body == {"ok": True}, f"/healthcheck says {health.body}")
    me = (await target.call("GET", "/v1/auth/me")).body["name"]
    base = "/session-service/session"
    spec = {"image": target.application}
    asked = {"url": "localhost", "access_token": "t", "username": me, "spec": spec}
    made = await target.call("POST", base, asked)
    demand(made.status == OK, f"create answers {made.status}: {made.body}")
    session = made.body["session_id"]
    target.made.append(session)
    demand(":TCP:NPORT:" in made.body["session_routes"], "session_routes has no NPORT")
    demand("accessToken" not in made.body["redirect"], "the redirect holds a token")
    listed = await target.call("GET", f"{base}?sortBy=created_at&orderBy=DESC&limit=50")
    found = [item["session_record"]["session_id"] for item in listed.body["results"]]
    demand(session in found, "the session is not listed")
    ended = await target.call("DELETE", f"{base}/{session}", {})
    demand(ended.body == "OK", f"delete says {ended.body}")
    await target.until_over(session)
    again = await target.call("DELETE", f"{base}/{session}", {})
    demand((again.status, "message" in again.body) == (ABSENT, True), "a second delete is no 404")


async def _kit(target: Target) -> None:
    apps = await target.call("GET", "/cfg/apps")
    demand(apps.status == OK, f"/cfg/apps answers {apps.status}")
    demand(apps.body["items"], "the catalogue is empty")
    versions = await target.call("GET", f"/cfg/apps/{target.application}/versions")
    version = versions.body["items"][0]["version"]
    profiles = await target.call(
        "GET", f"/cfg/apps/{target.application}/versions/{version}/profiles"
    )
    asked = {"id": target.application, "profile": profiles.body["items"][0]["id"]}
    made = await target.call("POST", "/streaming/stream", {**asked, "version": "latest"})
    demand(made.status in (OK, ACCEPTED), f"start answers {made.status}: {made.body}")
    session = made.body["id"]
    target.made.append(session)
    await target.until(session, "ready")
    ready = await target.call("GET", f"/streaming/stream/{session}")
    demand((ready.status, ready.body["status"]["status"]) == (OK, True), f"not ready: {ready.body}")
    (routes,) = ready.body["routes"].values()
    kinds = {route["description"] for route in routes["routes"]}
    demand(kinds == {"signaling", "media"}, f"routes are {kinds}")
    demand((await target.call("DELETE", "/stream", {"id": session})).status == OK, "no delete")
    await target.until_over(session)
    over = await target.call("GET", f"/stream/{session}")
    demand(over.status in (ABSENT, GONE), f"an ended stream answers {over.status}")


async def _anbox_session(target: Target) -> dict[str, Any]:
    macaroon = {"Authorization": f"Macaroon root={target.token}"}
    screen = {"width": 1280, "height": 720, "fps": 30, "density": 240}
    asked = {"app": target.application, "region": "", "joinable": True, "extra_data": None}
    made = await target.call(
        "POST", "/1.0/sessions/", {**asked, "screen": screen}, headers=macaroon
    )
    demand(made.status == CREATED, f"create answers {made.status}: {made.body}")
    demand(made.body["status"] == "success", f"status is {made.body['status']}")
    target.made.append(made.body["metadata"]["id"])
    return made.body["metadata"]


async def _anbox_rest(target: Target) -> None:
    status = await target.call("GET", "/1.0/status", token=None)
    demand(status.body["metadata"]["status"], "no status")
    made = await _anbox_session(target)
    demand(isinstance(made["stun_servers"], list), "stun_servers is no array")
    macaroon = {"Authorization": f"macaroon root={target.token}"}
    one = f"/1.0/sessions/{made['id']}"
    seen = await target.call("GET", one, headers=macaroon)
    demand(seen.body["metadata"]["status"] in ("created", "active"), f"it is {seen.body}")
    listed = await target.call("GET", "/1.0/sessions", headers=macaroon)
    demand(made["id"] in listed.body["metadata"], "it is not listed")
    ended = await target.call("DELETE", f"{one}?sync=true", headers=macaroon)
    demand(ended.status == OK, f"delete answers {ended.status}")
    target.made.remove(made["id"])


async def _anbox_signalling(target: Target) -> None:
    made = await _anbox_session(target)
    socket = await target.dial(made["url"])
    began = time.monotonic()
    await socket.send_json({"type": "discover"})
    discovered = await hear(socket, "resp:discover")
    took = time.monotonic() - began
    demand(discovered["max_api_version"] >= 2, f"it speaks {discovered}")  # noqa: PLR2004
    demand(took < DISCOVER_S, f"resp:discover took {took:.2f} s")
    wants = {"enable_video": True, "enable_speaker": True, "enable_microphone": False}
    await socket.send_json(
        {
            "type": "settings",
            "api_version": 2,
            "data_channels": ["a"],
            "enable_camera": False,
            **wants,
        }
    )
    async with asyncio.timeout(target.ready_s):
        offer = await hear(socket, "offer")
    demand(offer["sdp"], "the offer is empty")
    await socket.close()
    await target.end(made["id"])


CHECKS = (
    Check("streaming", "starts, lists and ends by the public streaming API", _streaming),
    Check("kit", "catalogue, start, ready, end by Kit App Streaming", _kit),
    Check("anbox", "create, show, list, delete at the stream gateway", _anbox_rest),
    Check("anbox", "discover, settings, offer by its signalling", _anbox_signalling),
)
