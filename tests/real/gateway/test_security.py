"""Attacks on the way in, each named by its case."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import aiohttp
import anyio
import pytest

from downstage.gateway.dialects import standing

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def refused(opening: Any) -> aiohttp.WSServerHandshakeError:
    """The handshake's refusal: nothing was accepted."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await opening
    return caught.value


def code_of(join_url: str) -> str:
    return join_url.partition("#join=")[2]


async def take_seat(house: Any, created: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A seat by the session's join link, and its cookie."""
    status, body, headers = await house.call(
        "POST", f"/v1/sessions/{created['id']}/seat", json={"code": code_of(created["join_url"])}
    )
    assert status == 200, body
    return body, headers["set-cookie"]


@pytest.mark.parametrize("use", ["signalling", "media"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "{url}.evil.example", "{url}@evil.example", ""]
)
async def test_A01_foreign_origins_are_refused_before_accept(
    house: Any, use: str, origin: str
) -> None:
    created = await house.create()
    seat, cookie = await take_seat(house, created)
    before = await house.get(created["id"])
    error = await refused(
        house.socket(
            created["id"],
            use,
            seat[f"{use}_ticket"],
            origin=origin.format(url=house.url),
            headers={"cookie": cookie.partition(";")[0]},
        )
    )
    assert error.status == 403
    after = await house.get(created["id"])
    assert (after["state"], after["revision"]) == (before["state"], before["revision"])
    assert 'downstage_handshakes_refused_total{cause="origin"} 1' in house.gateway.metrics()


async def test_A01_two_origins_are_none(house: Any) -> None:
    created = await house.create()
    seat = await house.seat(created["id"])
    async with await anyio.connect_tcp("127.0.0.1", int(house.url.rpartition(":")[2])) as stream:
        await stream.send(
            f"GET /v1/sessions/{created['id']}/signalling HTTP/1.1\r\nHost: x\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: {house.url}\r\n"
            "Origin: https://evil.example\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: downstage.ticket.{seat['signalling_ticket']}\r\n\r\n".encode()
        )
        with anyio.fail_after(20):
            assert (await stream.receive())[9:12] in (b"400", b"403")


async def test_A02_a_program_shows_a_bearer_token_and_a_cookie_alone_is_refused(house: Any) -> None:
    created = await house.create()
    bearer = {"authorization": f"Bearer {await house.token()}"}
    async with house.socket(created["id"], "signalling", origin=None, headers=bearer) as socket:
        welcome = json.loads((await socket.receive()).data)
        assert welcome["type"] == "welcome"
        assert welcome["session"]["id"] == created["id"]
    _, cookie = await take_seat(house, created)
    jar = {"cookie": cookie.partition(";")[0]}
    error = await refused(house.socket(created["id"], "signalling", origin=None, headers=jar))
    assert error.status == 403
    error = await refused(house.socket(created["id"], "signalling", headers=jar))
    assert error.status == 401, "not even from our own page"


async def test_A03_a_cookie_changes_nothing_from_elsewhere(house: Any) -> None:
    created = await house.create()
    _, cookie = await take_seat(house, created)
    jar = {"cookie": cookie.partition(";")[0]}
    path = f"/v1/sessions/{created['id']}"
    own = {"origin": house.url, "sec-fetch-site": "same-origin"}
    foreign = [
        {**jar, "origin": "https://evil.example"},
        {**jar, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {**jar, "sec-fetch-site": "same-site", "origin": house.url},
        jar,
    ]
    for headers in foreign:
        json_type = {**headers, "content-type": "application/json"}
        status, _, _ = await house.call("DELETE", path, headers=json_type)
        assert status == 403, headers
    form = {**jar, **own, "content-type": "application/x-www-form-urlencoded"}
    assert (await house.call("DELETE", path, headers=form))[0] == 403
    assert (await house.get(created["id"]))["state"] == "starting"
    good = {**jar, **own, "content-type": "application/json"}
    assert (await house.call("DELETE", path, headers=good))[0] == 202


async def test_A07_other_people_s_sessions_look_absent(house: Any) -> None:
    created = await house.create("anna")
    ben = await house.token("ben")
    absent = "00000000-0000-4000-8000-000000000000"
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "", {}),
        ("DELETE", "", {}),
        ("GET", "/events", {}),
        ("POST", "/links", {}),
        ("POST", "/seat", {"json": {}}),
        ("POST", "/tickets", {"json": {"use": "media"}}),
    ]
    fixed = {"x-request-id": "same"}
    for method, tail, options in calls:
        theirs = await house.call(
            method, f"/v1/sessions/{created['id']}{tail}", ben, headers=fixed, **options
        )
        nobody = await house.call(
            method, f"/v1/sessions/{absent}{tail}", ben, headers=fixed, **options
        )
        assert theirs[:2] == nobody[:2], (method, tail)
        assert theirs[0] == 404
    bearer = {"authorization": f"Bearer {ben}"}
    for use in ("signalling", "media"):
        error = await refused(house.socket(created["id"], use, origin=None, headers=bearer))
        assert error.status == 404
    for path in ("/v1/sessions", "/session-service/session"):
        _, page, _ = await house.call("GET", path, ben)
        assert page.get("items", page.get("results")) == []
    status, _, _ = await house.call("DELETE", f"/session-service/session/{created['id']}", ben)
    assert status == 404
    assert (await house.get(created["id"]))["state"] == "starting"
    assert len(created["id"]) == 36


async def test_A08_a_session_id_opens_nothing(house: Any) -> None:
    created, other = await house.create(), await house.create()
    seat = await house.seat(created["id"])
    for use in ("signalling", "media"):
        assert (await refused(house.socket(created["id"], use))).status == 401
        assert (await refused(house.socket(created["id"], use, origin=None))).status == 401
        assert (await refused(house.socket(created["id"], use, "x" * 32))).status == 401
        assert (await refused(house.socket(created["id"], use, "x" * 300))).status == 401
    crossed = house.socket(created["id"], "media", seat["signalling_ticket"])
    assert (await refused(crossed)).status == 401, "a ticket is for one use"
    foreign = house.socket(other["id"], "media", seat["media_ticket"])
    assert (await refused(foreign)).status == 401, "and for one session"
    seat = await house.seat(created["id"])
    async with house.socket(created["id"], "signalling", seat["signalling_ticket"]) as socket:
        await socket.receive()
    again = house.socket(created["id"], "signalling", seat["signalling_ticket"])
    assert (await refused(again)).status == 401, "and for once"


async def test_A08_a_join_code_opens_one_seat_of_one_session_once(house: Any) -> None:
    created, other = await house.create(), await house.create()
    code = code_of(created["join_url"])
    foreign = await house.call("POST", f"/v1/sessions/{other['id']}/seat", json={"code": code})
    assert foreign[0] == 401
    _, cookie = await take_seat(house, created)
    again = await house.call("POST", f"/v1/sessions/{created['id']}/seat", json={"code": code})
    assert again[0] == 401
    jar = {"cookie": cookie.partition(";")[0]}
    status, body, _ = await house.call("GET", f"/v1/sessions/{created['id']}/seat", headers=jar)
    assert (status, body["role"]) == (200, "controller")
    status, _, _ = await house.call("GET", f"/v1/sessions/{other['id']}/seat", headers=jar)
    assert status == 401
    attributes = cookie.lower()
    for word in ("httponly", "samesite=strict", f"path=/v1/sessions/{created['id']}", "max-age="):
        assert word in attributes
    assert "secure" not in attributes, "the test's platform speaks http"


async def test_A08_tickets_expire(house: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("downstage.gateway.tickets.SOCKET_TICKET_S", 1)
    created = await house.create()
    seat = await house.seat(created["id"])
    await anyio.sleep(1.1)
    late = house.socket(created["id"], "media", seat["media_ticket"])
    assert (await refused(late)).status == 401


async def test_A09_tokens_in_a_query_open_nothing_and_are_not_logged(
    house: Any, capsys: Any
) -> None:
    created = await house.create()
    token = await house.token()
    query = f"?accessToken={token}&access_token={token}&token={token}"
    for use in ("signalling", "media"):
        assert (await refused(house.socket(created["id"], use, query=query))).status == 401
        nowhere = house.socket(created["id"], use, query=query, origin=None)
        assert (await refused(nowhere)).status == 401
    assert (await house.call("GET", f"/v1/sessions/{created['id']}{query}"))[0] == 401
    status, _, headers = await house.call("GET", f"/webclient/index.html{query}")
    assert status in (200, 503)
    assert headers["referrer-policy"] == "no-referrer"
    output = capsys.readouterr()
    assert token not in output.out + output.err
    assert "?" not in created["join_url"].partition("#")[0].partition("?")[2]
    assert "join" not in created["join_url"].partition("#")[0]


async def test_A16_the_access_token_is_nowhere_in_clear(house: Any, capsys: Any, data: Any) -> None:
    secret = "Nucleus-Secret-7f3a"
    house.manager.gate = anyio.Event()
    token = await house.token()
    answers: list[Any] = []

    async def create() -> None:
        body = {"application": "test-card", "access_token": secret}
        answers.append(await house.call("POST", "/v1/sessions", token, json=body))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create)
        with anyio.fail_after(20):
            while not house.manager.requests:
                await anyio.sleep(0.005)
        sealed = rows(data, "SELECT sealed_token FROM sessions")
        assert sealed[0][0], "while it waits it is kept"
        house.manager.gate.set()
    session_id = answers[0][1]["id"]
    answers.append(await house.call("GET", f"/v1/sessions/{session_id}", token))
    answers.append(await house.call("GET", "/session-service/session", token))
    assert rows(data, "SELECT sealed_token FROM sessions") == [(None,)], "then it is gone"
    handed = house.manager.requests[0].access_token
    assert handed is not None
    assert handed.get_secret_value() == secret, "the application has it"
    await house.call("DELETE", f"/v1/sessions/{session_id}", token)
    await house.wait(session_id, "ended")
    kept = b"".join(path.read_bytes() for path in data.glob("gateway*"))
    assert secret.encode() not in kept
    assert secret not in str([body for _, body, _ in answers])
    output = capsys.readouterr()
    assert secret not in output.out + output.err


def rows(data: Any, query: str) -> list[Any]:
    connection = sqlite3.connect(data / "gateway.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def test_S10_descriptions_and_addresses_are_not_logged(house: Any, capsys: Any) -> None:
    address = "192.0.2.77"
    sdp = f"v=0\r\no=- 1 1 IN IP4 {address}\r\n"
    async with house.on_stage() as (session_id, streamer), house.viewer(session_id) as viewer:
        await viewer.say(type="want", transport="webrtc")
        peer = (await streamer.hear("peer.open"))["peer"]
        await streamer.say(type="peer.signal", peer=peer, payload={"type": "offer", "sdp": sdp})
        await viewer.hear("offer")
        await viewer.say(type="answer", sdp=sdp)
        await viewer.say(type="candidate", candidate=f"candidate:1 1 udp 1 {address} 5 typ host")
        await viewer.socket.send_str(json.dumps({"type": "answer", "sdp": 1, "ip": address}))
        await viewer.hear("error")
    output = capsys.readouterr()
    assert "signalling.refused" in output.out + output.err
    assert address not in output.out + output.err


async def test_an_admin_sees_and_ends_everybody_s(house: Any) -> None:
    created = await house.create("anna")
    operator = await house.token("operator")
    _, page, _ = await house.call("GET", "/v1/sessions", operator)
    assert [item["id"] for item in page["items"]] == [created["id"]]
    status, _, _ = await house.call("DELETE", f"/v1/sessions/{created['id']}", operator)
    assert status == 202


async def test_bodies_with_unknown_fields_change_nothing(house: Any) -> None:
    status, problem, _ = await house.call(
        "POST",
        "/v1/sessions",
        await house.token(),
        json={"application": "test-card", "owner": "ben", "scopes": ["sessions:admin"]},
    )
    assert (status, problem["code"]) == (422, "invalid-field")
    assert house.manager.requests == []


async def test_A10_news_end_for_whose_token_is_revoked(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "CHECK_S", 0.1)
    created = await house.create()
    asked = {"name": "for a while", "scopes": ["sessions:read"], "expires_in_s": 3600}
    status, made, _ = await house.call("POST", "/v1/tokens", await house.token(), json=asked)
    assert status == 201, made
    url = f"{house.url}/v1/sessions/{created['id']}/events"
    kept = await house.http.get(url, headers={"authorization": f"Bearer {await house.token()}"})
    shown = {"authorization": f"Bearer {made['token']}"}
    async with kept, house.http.get(url, headers=shown) as answer:
        assert answer.status == 200
        while b'"revision"' not in await answer.content.readline():
            pass
        status, _, _ = await house.call("DELETE", f"/v1/tokens/{made['id']}", await house.token())
        assert status in (200, 204)
        with anyio.fail_after(20):
            await answer.content.read()  # to its end
        # Nobody else's ends: the next change is told.
        await house.call("DELETE", f"/v1/sessions/{created['id']}", await house.token())
        with anyio.fail_after(20):
            while b'"ended"' not in await kept.content.readline():
                pass
