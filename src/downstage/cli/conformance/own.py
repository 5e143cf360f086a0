"""Checks of our own API, ``/v1``."""

from __future__ import annotations

import asyncio
from http.cookies import SimpleCookie
from uuid import uuid4

from downstage.cli.conformance.target import Check, Target, demand, hear

__all__ = ["CHECKS"]

CREATED, ACCEPTED, OK, UNPROCESSABLE = 201, 202, 200, 422
ABSENT, NOBODY, FORBIDDEN = 404, 401, 403
FIRST_EVENT_S = 5.0


async def _needs_a_token(target: Target) -> None:
    reply = await target.call("POST", "/v1/sessions", {"application": "x"}, token=None)
    demand(reply.status == NOBODY, f"a create without a token answers {reply.status}, not 401")
    for key in ("type", "title", "status", "detail"):
        demand(key in reply.body, f"the problem has no {key}")


async def _refuses_what_it_does_not_know(target: Target) -> None:
    body = {"application": target.application, "is_admin": True}
    reply = await target.call("POST", "/v1/sessions", body)
    demand(reply.status == UNPROCESSABLE, f"an unknown field answers {reply.status}, not 422")
    demand("is_admin" in str(reply.body), "the problem does not name the field")
    reply = await target.call("POST", "/v1/sessions", {"application": f"no-{uuid4().hex}"})
    demand(reply.status == ABSENT, f"an unknown application answers {reply.status}, not 404")


async def _starts_a_session_once(target: Target) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    body = {"application": target.application, "wait": False}
    first = await target.call("POST", "/v1/sessions", body, headers=key)
    demand(first.status == CREATED, f"create answers {first.status}: {first.body}")
    target.made.append(first.body["id"])
    again = await target.call("POST", "/v1/sessions", body, headers=key)
    demand(again.body.get("id") == first.body["id"], "the same key made a second session")
    demand("#" in first.body["join_url"], "the link's code does not stand in the fragment")
    other = await target.call("POST", "/v1/sessions", {**body, "region": None}, headers=key)
    demand(other.status == 409, f"the key with another body answers {other.status}, not 409")  # noqa: PLR2004
    await target.end(first.body["id"])


async def _reaches_ready_and_ends(target: Target) -> None:
    made = await target.create()
    ready = await target.until(made["id"], "ready", "active")
    demand(ready["revision"] > made["revision"], "the revision does not grow")
    page = await target.call("GET", "/v1/sessions?limit=100")
    demand(made["id"] in [item["id"] for item in page.body["items"]], "it is not listed")
    reply = await target.call("DELETE", f"/v1/sessions/{made['id']}")
    demand(reply.status == ACCEPTED, f"delete answers {reply.status}, not 202")
    await target.until_over(made["id"])
    again = await target.call("DELETE", f"/v1/sessions/{made['id']}")
    demand(again.status == ACCEPTED, f"a second delete answers {again.status}, not 202")
    demand(again.body["outcome"] == "stopped", f"its outcome is {again.body['outcome']}")


async def _tells_of_changes(target: Target) -> None:
    made = await target.create()
    headers = {"Authorization": f"Bearer {target.token}"}
    url = f"{target.url}/v1/sessions/{made['id']}/events"
    async with asyncio.timeout(FIRST_EVENT_S), target.http.get(url, headers=headers) as stream:
        kind = stream.headers.get("content-type", "")
        demand(kind.startswith("text/event-stream"), f"events come as {kind}")
        async for line in stream.content:
            if line.startswith(b"data:"):
                break
    await target.end(made["id"])


async def _gives_a_seat_by_a_code_once(target: Target) -> None:
    made = await target.create()
    code = made["join_url"].partition("#")[2].rpartition("=")[2]
    seat = f"/v1/sessions/{made['id']}/seat"
    reply = await target.call("POST", seat, {"code": code}, token=None)
    demand(reply.status == OK, f"the code answers {reply.status}")
    cookies = SimpleCookie(reply.headers.get("set-cookie", ""))
    morsel = next(iter(cookies.values()), None)
    demand(morsel is not None and morsel["httponly"], "the cookie is not HttpOnly")
    assert morsel is not None  # noqa: S101 - for the type
    demand(morsel["samesite"].lower() == "strict", "the cookie is not SameSite=Strict")
    target.http.cookie_jar.clear()
    again = await target.call("POST", seat, {"code": code}, token=None)
    demand(again.status >= 400, "a code opens the session twice")  # noqa: PLR2004
    await target.end(made["id"])


async def _signals_by_a_ticket_once(target: Target) -> None:
    made = await target.create()
    one = f"/v1/sessions/{made['id']}"
    await target.until(made["id"], "ready")
    status = await target.refused(f"{one}/signalling", "downstage.v1", headers={})
    demand(status in (NOBODY, FORBIDDEN), f"signalling without a ticket answers {status}")
    ticket = await target.call("POST", f"{one}/tickets", {"use": "signalling"})
    spoken = f"downstage.ticket.{ticket.body['ticket']}"
    origin = {"Origin": target.url}
    socket = await target.dial(f"{one}/signalling", "downstage.v1", spoken, headers=origin)
    welcome = await hear(socket, "welcome")
    demand(isinstance(welcome["ice_servers"], list), "ice_servers is no list")
    await socket.send_json({"type": "want", "transport": "webrtc", "width": 640, "height": 360})
    offer = await hear(socket, "offer")
    demand("m=video" in offer["sdp"] and "m=application" in offer["sdp"], "the offer lacks media")
    await socket.close()
    status = await target.refused(f"{one}/signalling", "downstage.v1", spoken, headers=origin)
    demand(status in (NOBODY, FORBIDDEN), f"a ticket used twice answers {status}")
    await target.end(made["id"])


async def _keeps_other_pages_out(target: Target) -> None:
    made = await target.create()
    one = f"/v1/sessions/{made['id']}"
    ticket = await target.call("POST", f"{one}/tickets", {"use": "signalling"})
    spoken = f"downstage.ticket.{ticket.body['ticket']}"
    for origin in ("https://evil.example", "null", f"{target.url}.evil.example"):
        status = await target.refused(f"{one}/signalling", spoken, headers={"Origin": origin})
        demand(status == FORBIDDEN, f"a socket from {origin} answers {status}, not 403")
    await target.end(made["id"])


async def _hides_what_is_not_ones_own(target: Target) -> None:
    reply = await target.call("GET", f"/v1/sessions/{uuid4()}")
    demand(reply.status == ABSENT, f"an unknown session answers {reply.status}, not 404")
    reply = await target.call("GET", f"/v1/sessions/{uuid4()}", token="not-a-token")  # noqa: S106
    demand(reply.status == NOBODY, f"a wrong token answers {reply.status}, not 401")


CHECKS = (
    Check("v1", "asks for a token, and answers problems", _needs_a_token),
    Check("v1", "refuses unknown fields and applications", _refuses_what_it_does_not_know),
    Check("v1", "starts a session once for an idempotency key", _starts_a_session_once),
    Check("v1", "brings a session to ready and ends it", _reaches_ready_and_ends),
    Check("v1", "tells of changes by server-sent events", _tells_of_changes),
    Check("v1", "gives a seat by a join code, once", _gives_a_seat_by_a_code_once),
    Check("v1", "signals by a ticket, once, and offers media", _signals_by_a_ticket_once),
    Check("v1", "keeps pages of other origins out", _keeps_other_pages_out),
    Check("v1", "hides sessions that are not one's own", _hides_what_is_not_ones_own),
)
