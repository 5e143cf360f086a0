"""Pages come back at other gateways: by a ticket of one use, and from the gateways' pages alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SIBLING = "http://gateway.example:8600"
ALLOWED = ("access-control-allow-origin", "access-control-allow-credentials")


@asynccontextmanager
async def away(house: Any, session_id: str) -> AsyncIterator[None]:
    """The session is at home at a sibling that lives, and comes back."""
    sessions, homes = house.gateway.sessions, house.gateway.homes

    async def lives(url: str) -> bool:
        return url in (SIBLING, homes.url)

    known, homes.is_alive = homes.is_alive, lives
    session = await sessions.store.get(session_id)
    for home in (SIBLING, homes.url):
        moved = replace(session, home=home, revision=session.revision + 1)
        assert await sessions.store.replace(moved, session.revision)
        session = moved
        if home == SIBLING:
            yield
    homes.is_alive = known


async def test_a_seat_is_taken_again_by_its_ticket_once(start: Any) -> None:
    async with start(gateway__peers=[SIBLING]) as house:
        created = await house.create()
        path = f"/v1/sessions/{created['id']}"
        seat = await house.seat(created["id"])
        assert seat["gateways"] == [house.url, SIBLING]
        shown = {"downstage-resume": seat["resume_ticket"], "origin": SIBLING}
        status, again, headers = await house.call("GET", f"{path}/seat", headers=shown)
        assert (status, again["seat"]) == (200, seat["seat"])
        assert again["resume_ticket"] not in (None, seat["resume_ticket"])
        assert headers["access-control-allow-origin"] == SIBLING
        assert "set-cookie" not in headers
        async with house.socket(
            created["id"], "signalling", again["signalling_ticket"], origin=SIBLING
        ) as socket:
            assert (await socket.receive_json())["type"] == "welcome"
        status, problem, headers = await house.call("GET", f"{path}/seat", headers=shown)
        assert (status, problem["code"]) == (401, "invalid-token")
        assert headers["access-control-allow-origin"] == SIBLING
        other = await house.create("bert")
        shown["downstage-resume"] = again["resume_ticket"]
        for method, where in (("GET", f"/v1/sessions/{other['id']}"), ("GET", "/v1/sessions")):
            status, _, _ = await house.call(method, where, headers=shown)
            assert status == 401
        status, _, _ = await house.call("DELETE", path, headers=shown)
        assert status == 202


async def test_A04_only_pages_of_the_gateways_may_call_each_of_them(start: Any) -> None:
    async with start(gateway__peers=[SIBLING], platform__origins=["https://shop.example"]) as house:
        created = await house.create()
        path = f"/v1/sessions/{created['id']}"
        for page in ("https://evil.example", "https://shop.example", "null", f"{SIBLING}.evil.io"):
            for method, where in (("OPTIONS", f"{path}/seat"), ("GET", path)):
                _, _, headers = await house.call(method, where, headers={"origin": page})
                assert not [name for name in ALLOWED if name in headers], page
        asked = {"origin": SIBLING, "access-control-request-method": "GET"}
        for where in (path, f"{path}/seat", f"{path}/tickets"):
            status, _, headers = await house.call("OPTIONS", where, headers=asked)
            assert status == 204
            assert headers["access-control-allow-origin"] == SIBLING
            assert "downstage-resume" in headers["access-control-allow-headers"]
            assert "access-control-allow-credentials" not in headers
        _, _, headers = await house.call("GET", "/")
        policy = headers["content-security-policy"]
        assert f"connect-src 'self' ws: wss: {house.url} {SIBLING};" in policy


async def test_a_cookie_is_of_no_use_to_a_sibling_s_page(start: Any) -> None:
    async with start(gateway__peers=[SIBLING]) as house:
        created = await house.create()
        path = f"/v1/sessions/{created['id']}/seat"
        _, _, headers = await house.call("POST", path, await house.token(), json={})
        cookie = headers["set-cookie"].partition(";")[0]
        for site in ("same-site", "cross-site"):
            given = {"cookie": cookie, "origin": SIBLING, "sec-fetch-site": site}
            status, _, _ = await house.call("GET", path, headers=given)
            assert status == 403


async def test_one_gateway_alone_mints_no_resume_tickets(house: Any) -> None:
    created = await house.create()
    seat = await house.seat(created["id"])
    assert (seat["resume_ticket"], seat["gateways"]) == (None, [house.url])
    path = f"/v1/sessions/{created['id']}/seat"
    _, _, headers = await house.call("OPTIONS", path, headers={"origin": house.url})
    assert "access-control-allow-origin" not in headers


async def test_a_connected_page_gets_another_ticket_before_the_last_expires(start: Any) -> None:
    async with start(gateway__peers=[SIBLING], gateway__resume_lease="2") as house:
        created = await house.create()
        async with house.viewer(created["id"]) as viewer:
            first = await viewer.hear("resume")
            second = await viewer.hear("resume")
        assert first["ticket"] != second["ticket"]
        assert second["gateways"] == [house.url, SIBLING]


async def test_what_needs_the_home_is_refused_before_a_ticket_is_spent(start: Any) -> None:
    async with start(gateway__peers=[SIBLING]) as house:
        created = await house.create()
        path = f"/v1/sessions/{created['id']}"
        seat = await house.seat(created["id"])
        _, link, _ = await house.call("POST", f"{path}/links", await house.token())
        async with away(house, created["id"]):
            asked: list[tuple[str, str, dict[str, Any]]] = [
                ("POST", f"{path}/seat", {"json": {"code": link["code"]}}),
                ("GET", f"{path}/seat", {"headers": {"downstage-resume": seat["resume_ticket"]}}),
            ]
            for method, where, options in asked:
                status, problem, headers = await house.call(method, where, **options)
                assert (status, problem["home"]) == (421, SIBLING), where
                assert headers["downstage-home"] == SIBLING
            for use in ("signalling", "media"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await house.socket(created["id"], use, seat[f"{use}_ticket"])
                assert refused.value.status == 421
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with house.dial(created["id"]):
                    pass
            assert refused.value.status == 421
            status, answer, _ = await house.call("POST", f"{path}/links", await house.token())
            assert answer["join_url"].startswith(f"{SIBLING}/?session=")
            status, shown, _ = await house.call("GET", path, await house.token())
            assert (status, shown["home"]) == (200, SIBLING)
            # Who shows nothing that counts is not told where it is.
            strange: list[tuple[str, str, dict[str, Any]]] = [
                ("POST", f"{path}/seat", {"json": {"code": "x" * 32}}),
                ("GET", f"{path}/seat", {"headers": {"downstage-resume": "x" * 32}}),
                ("GET", f"{path}/seat", {"headers": {"downstage-resume": seat["media_ticket"]}}),
            ]
            for method, where, options in strange:
                status, problem, headers = await house.call(method, where, **options)
                assert (status, "home" in problem) == (401, False), where
                assert "downstage-home" not in headers
            for use, other in (("signalling", "media"), ("media", "signalling")):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await house.socket(created["id"], use, seat[f"{other}_ticket"])
                assert refused.value.status == 401
        # Nothing was spent: at home all of it counts.
        for method, where, options in asked:
            assert (await house.call(method, where, **options))[0] == 200
        for use in ("signalling",):
            async with house.socket(created["id"], use, seat[f"{use}_ticket"]):
                pass
