"""The compatibility checklist, as far as REST and signalling go, against a platform that runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest

from downstage.testing.anbox import AnboxClient, encoded
from downstage.testing.instances import own_folder
from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.anyio]

PAGE = "https://page.example"
Somebody = Callable[[str | None], AnboxClient]
Asked = dict[str, str]


def preflight(origin: str, method: str = "POST") -> Asked:
    return {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type",
    }


async def gone(client: AnboxClient, session_id: str) -> None:
    answer = await client.call("DELETE", f"/sessions/{session_id}?sync=true")
    assert (answer.status, answer.body["status"]) == (200, "success"), answer.body
    assert (await client.call("GET", f"/sessions/{session_id}")).status == 404


async def test_line_01_the_preflight_lets_the_page_in(somebody: Somebody) -> None:
    stranger = somebody(None)
    for path in ("/sessions/", "/sessions", "/sessions/x/join", "/shares/x", "/status"):
        answer = await stranger.call("OPTIONS", path, headers=preflight(PAGE))
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == PAGE
        allowed = answer.headers["access-control-allow-headers"]
        assert {"authorization", "content-type"} <= {name.strip() for name in allowed.split(",")}
        assert "origin" in answer.headers["vary"].lower()
    answer = await stranger.call("OPTIONS", "/sessions/", headers=preflight(PAGE))
    assert "POST" in answer.headers["access-control-allow-methods"]


async def test_lines_02_03_05_sessions_are_made_as_the_sdk_asks(
    client: AnboxClient, platform: PlatformProcess, session_id: str
) -> None:
    body: dict[str, Any] = {
        "app": "test-card",
        "region": "",
        "joinable": True,
        "extra_data": None,
        "screen": {"width": 1281, "height": 721, "fps": 60, "density": 240},
    }
    made = await client.call("POST", "/sessions/", body)
    assert made.status == made.body["status_code"] == 201
    assert (made.body["type"], made.body["status"]) == ("sync", "success")
    found = made.metadata
    assert {"id", "region", "status", "joinable", "url", "stun_servers"} <= set(found)
    assert found["url"].startswith("ws://")
    assert found["status"] == "created"
    # Both places are taken now.
    full = await client.call("POST", "/sessions", body)
    assert full.status == 404
    assert "place" in full.error or "capacity" in full.error
    assert int(full.headers["retry-after"]) > 0
    listed = (await client.call("GET", "/sessions")).metadata
    assert set(listed) == {found["id"], session_id}
    # Ended while it starts: nothing is left of it.
    await gone(client, found["id"])
    without = await client.call("POST", "/sessions", {**body, "app_version": -1})
    assert without.status == 201
    await gone(client, without.metadata["id"])


async def test_line_03_a_join_is_answered_by_200(client: AnboxClient, session_id: str) -> None:
    joined = await client.call(
        "POST", f"/sessions/{session_id}/join", {"screen": {"width": 800, "height": 600}}
    )
    assert joined.status == joined.body["status_code"] == 200
    assert joined.body["status"] == "success"
    assert joined.metadata["id"] == session_id


async def test_line_04_the_token_is_read_as_it_is_spelled(
    platform: PlatformProcess, somebody: Somebody
) -> None:
    token, stranger = platform.facts["token"], somebody(None)
    for spelled in (f"Macaroon root={token}", f"macaroon ROOT={token}", f"Bearer {token}"):
        answer = await stranger.call("GET", "/sessions", headers={"authorization": spelled})
        assert answer.status == 200, spelled
    assert (await stranger.call("GET", f"/sessions?api_token={token}")).status == 200
    for spelled in (f"Macaroon {token}", f"Basic {token}", "Macaroon root=", "root=x"):
        answer = await stranger.call("GET", "/sessions", headers={"authorization": spelled})
        assert (answer.status, answer.body["type"]) == (401, "error"), spelled
    nobody = await stranger.call("GET", "/sessions")
    assert nobody.status == 401
    assert "Macaroon root=" in nobody.error
    assert token not in platform.output(), "a token in an address is never logged"


async def test_A10_who_is_not_known_learns_nothing_of_what_would_fit(
    platform: PlatformProcess, somebody: Somebody
) -> None:
    stranger, paths = somebody("forged"), platform.call("GET", "/openapi.json").body["paths"]
    answers = set[str]()
    for path, operations in paths.items():
        if not path.startswith("/1.0/") or path.endswith(("/connect", "/status")):
            continue
        for method in operations:
            below = path.removeprefix("/1.0").replace("{", "").replace("}", "")
            body = None if method == "get" else {"nonsense": True}
            answer = await stranger.call(method.upper(), below, body)
            assert answer.status == 401, (method, path, answer.body)
            answers.add(answer.error)
    assert answers == {"The token is not valid."}


async def test_lines_06_07_24_only_the_gateway_s_servers_count_and_all_can_be_used(
    client: AnboxClient, session_id: str
) -> None:
    servers = (await client.join(session_id))["stun_servers"]
    assert isinstance(servers, list)
    assert {server["urls"][0].partition(":")[0] for server in servers} == {"stun", "turn", "turns"}
    for server in servers:
        if not server["urls"][0].startswith("stun:"):
            assert server["username"]
            assert server["password"]
            assert int(server["username"].partition(":")[0]) > time.time() + 300


async def test_line_08_and_pain_01_discover_is_answered_at_once(
    client: AnboxClient, session_id: str
) -> None:
    best = 9.0
    for _ in range(3):
        place = await client.join(session_id)
        async with client.socket(place["url"]) as socket:
            began = time.monotonic()
            await socket.say(type="discover")
            found = await socket.hear("resp:discover")
            best = min(best, time.monotonic() - began)
    assert found["max_api_version"] >= 2
    assert found["fps"] > 0
    assert isinstance(found["capabilities"], list)
    assert best < 0.1


async def test_lines_09_and_14_the_instance_offers_and_takes_candidates(
    client: AnboxClient, session_id: str
) -> None:
    place = await client.join(session_id)
    candidate = encoded("candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host")
    async with client.socket(place["url"]) as socket:
        await socket.say(type="discover")
        await socket.hear("resp:discover")
        await socket.say(type="settings", api_version=2, data_channels=["news"])
        # Before the offer is here.
        await socket.say(type="candidate", candidate=candidate, sdpMid="0", sdpMLineIndex=0)
        offer = await socket.hear("offer")
        assert set(offer) == {"type", "sdp"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", 1007),
        ("[" * 50_000, 1007),
        ('{"type":"answer","sdp":"%%%"}', 1007),
        (json.dumps({"type": "answer", "sdp": encoded("v=0\r\n" + "a=x\r\n" * 3)}), 1008),
        (json.dumps({"type": "candidate", "candidate": "A" * 30_000}), 1007),
        (b"\x00\x01", 1007),
    ],
)
async def test_T05_line_16_an_error_is_told_before_the_close(
    client: AnboxClient, session_id: str, text: str | bytes, code: int
) -> None:
    place = await client.join(session_id)
    async with client.socket(place["url"]) as socket:
        if isinstance(text, bytes):
            await socket.socket.send_bytes(text)
        else:
            await socket.socket.send_str(text)
        told, closed = await socket.ending()
        assert told
        assert closed == code
    session = await client.call("GET", f"/sessions/{session_id}")
    assert session.metadata["status"] == "active", "only that socket ends"


async def test_T06_a_flood_ends_its_socket_alone(client: AnboxClient, session_id: str) -> None:
    place = await client.join(session_id)
    async with client.socket(place["url"]) as socket:
        for _ in range(2000):
            try:
                await socket.say(type="discover")
            except ConnectionError:
                break
        told, closed = await socket.ending()
        assert told is None or "Too many" in told
        assert closed in (1008, 1006, None)
    began = time.monotonic()
    assert (await client.call("GET", "/status")).metadata["status"] == "healthy"
    assert time.monotonic() - began < 5


async def test_line_18_a_joiner_is_led_to_the_slave_socket_in_its_size(
    client: AnboxClient, session_id: str, platform: PlatformProcess
) -> None:
    place = await client.join(session_id, 1025, 577)
    address, _, query = place["url"].partition("?")
    base = platform.url.replace("http", "ws", 1)
    assert address == f"{base}/1.0/sessions/{session_id}/sockets/slave"
    assert query.startswith("token=")
    singular = place["url"].replace("/sessions/", "/session/").replace("slave?", "slave/?")
    async with client.socket(singular) as socket:
        await socket.say(type="discover")
        await socket.hear("resp:discover")


async def test_line_19_early_versions_offer_themselves(
    client: AnboxClient, session_id: str
) -> None:
    place = await client.join(session_id)
    async with client.socket(place["url"]) as socket:
        await socket.say(type="settings", api_version=1)
        await socket.say(type="offer", sdp=encoded("v=0\r\n"), dataChannels=["control"])
        # An empty offer is none that the instance could answer: it says so, and why.
        told, _ = await socket.ending()
        assert told


async def test_pain_06_own_data_and_streaming_go_together(
    client: AnboxClient, session_id: str, platform: PlatformProcess
) -> None:
    found = (await client.call("GET", f"/sessions/{session_id}")).metadata
    assert found["joinable"] is True
    data = own_folder(platform.data / "run" / found["container_id"]) / "user-data"
    assert json.loads(data.read_text()) == {"extra_data": {"level": 3}}


async def test_pain_09_and_25_refusals_name_cause_and_remedy(client: AnboxClient) -> None:
    for body, status, words in (
        ({}, 400, "app"),
        ({"app": "no-such"}, 400, "no-such"),
        ({"app": "test-card", "region": "moon"}, 400, "moon"),
        ({"app": "test-card", "screen": {"width": 9000}}, 400, "screen.width"),
        ({"app": "test-card", "extra_data": "x" * 11_000}, 400, "extra_data"),
        ({"app": "test-card", "app_version": -7}, 400, "app_version"),
    ):
        answer = await client.call("POST", "/sessions", body)
        assert (answer.status, answer.body["status"]) == (status, "failed"), answer.body
        assert answer.body["type"] == "error"
        assert words in answer.error, answer.error
    json_type = {"content-type": "application/json"}
    wrong = await client.call("POST", "/sessions", data="{", headers=json_type)
    assert wrong.status == 400
    for path in ("/sessions/none", "/sessions/none/join", "/shares/none", "/nothing/here"):
        method = "POST" if path.endswith("join") else "GET"
        missing = await client.call(method, path)
        assert (missing.status, missing.body["status"]) == (404, "failed")
    assert (await client.call("GET", "/sessions?status=odd")).status == 400
    assert (await client.call("GET", "/sessions?sort_order=up")).status == 400


async def test_pain_22_the_description_has_every_path(platform: PlatformProcess) -> None:
    paths = platform.call("GET", "/openapi.json", token=None).body["paths"]
    wanted = {
        "/1.0/status": "get",
        "/1.0/applications": "get",
        "/1.0/regions": "get",
        "/1.0/config": "get patch",
        "/1.0/sessions": "get post delete",
        "/1.0/sessions/{session_id}": "get delete",
        "/1.0/sessions/{session_id}/join": "post",
        "/1.0/sessions/{session_id}/connect": "get",
        "/1.0/sessions/{session_id}/share": "post",
        "/1.0/shares": "get",
        "/1.0/shares/{share_id}": "get patch delete",
    }
    for path, methods in wanted.items():
        assert set(methods.split()) == set(paths[path])
    created = paths["/1.0/sessions"]["post"]["responses"]
    assert {"201", "400", "401", "404"} <= set(created)


async def test_pain_23_a_page_may_read_answers_and_errors_alike(
    client: AnboxClient, session_id: str
) -> None:
    for path in ("/sessions", f"/sessions/{session_id}", "/sessions/none", "/nothing"):
        answer = await client.call("GET", path, headers={"origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in answer.headers
    place = await client.join(session_id)
    async with client.socket(place["url"], origin=PAGE) as socket:
        await socket.say(type="discover")
        await socket.hear("resp:discover")


async def test_places(client: AnboxClient, somebody: Somebody) -> None:
    open_to_all = await somebody(None).call("GET", "/status")
    assert open_to_all.metadata == {"status": "healthy"}
    mine = (await client.call("GET", "/status/")).metadata
    assert (mine["agents"], mine["database_nodes"], mine["status"]) == (1, 1, "healthy")
    applications = await client.call("GET", "/applications")
    assert {"name": "test-card"} in applications.metadata
    assert applications.body["total_size"] == len(applications.metadata)
    assert (await client.call("GET", "/regions")).metadata == [{"name": "local"}]


async def test_items_can_be_set_and_count_at_once(client: AnboxClient) -> None:
    known = (await client.call("GET", "/config")).metadata
    assert known["session.idle_time_min"] == 30
    try:
        change = {"name": "session.idle_time_min", "value": 45}
        assert (await client.call("PATCH", "/config", change)).status == 200
        assert (await client.call("GET", "/config")).metadata["session.idle_time_min"] == 45
    finally:
        await client.call("PATCH", "/config", {**change, "value": 30})
    for wrong in ({"name": "nonsense", "value": 1}, {"name": "share.limit", "value": 9}, {}):
        assert (await client.call("PATCH", "/config", wrong)).status == 400


async def test_the_list_is_sorted_and_cut(client: AnboxClient, session_id: str) -> None:
    all_ = await client.call("GET", "/sessions?recursion=true&sort_by=app&sort_order=desc")
    (found,) = all_.metadata
    assert found["id"] == session_id
    assert (found["app"], found["status"], found["region"]) == ("test-card", "active", "local")
    assert all_.body["total_size"] == 1
    cut = await client.call("GET", "/sessions?limit=1&offset=1&status=active")
    assert (cut.metadata, cut.body["total_size"]) == ([], 1)
    assert (await client.call("GET", "/sessions?status=error")).metadata == []


async def test_several_are_deleted_and_each_failure_is_told(client: AnboxClient) -> None:
    made = await client.create("test-card")
    UUID(made["id"])
    body = {"ids": [made["id"], "none"]}
    partly = await client.call("DELETE", "/sessions?sync=true", body)
    assert partly.status == 207
    assert partly.metadata["deleted_sessions"] == [made["id"]]
    (failed,) = partly.metadata["errors"]
    assert (failed["session_id"], failed["status_code"]) == ("none", 404)
    again = await client.call("DELETE", "/sessions", {"ids": [made["id"]]})
    assert again.status == 404


async def test_A03_a_form_of_another_site_changes_nothing(
    platform: PlatformProcess, somebody: Somebody, session_id: str
) -> None:
    headers = {
        "origin": "https://evil.example",
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "no-cors",
        "content-type": "application/x-www-form-urlencoded",
        "cookie": "downstage-seat=whatever",
    }
    stranger, token = somebody(None), platform.facts["token"]
    for path in ("/sessions/", f"/sessions?api_token={token}", f"/sessions/{session_id}/join"):
        answer = await stranger.call("POST", path, data="app=test-card", headers=headers)
        assert answer.status in (401, 403), path
        assert "access-control-allow-origin" not in answer.headers


async def test_A04_an_origin_that_is_not_listed_is_told_nothing(
    client: AnboxClient, somebody: Somebody
) -> None:
    for origin in (
        "https://evil.example",
        "null",
        f"{PAGE}.evil.example",
        "https://PAGE.example:1",
    ):
        asked = await somebody(None).call("OPTIONS", "/sessions/", headers=preflight(origin))
        read = await client.call("GET", "/sessions", headers={"origin": origin})
        for answer in (asked, read):
            assert "access-control" not in " ".join(answer.headers).lower()
    headers = {"origin": "null"}
    refused = await client.call("POST", "/sessions", {"app": "test-card"}, headers=headers)
    assert refused.status == 403
    assert "platform.origins" in refused.error


async def test_A12_long_and_odd_names_are_refused(client: AnboxClient) -> None:
    body = BytesIO(json.dumps({"app": "x" * 3_000_000}).encode())
    json_type = {"content-type": "application/json"}
    big = await client.call("POST", "/sessions", data=body, headers=json_type)
    assert big.status == 413
    for app in ("x" * 600, ""):
        assert (await client.call("POST", "/sessions", {"app": app})).status == 400
    odd = await client.call("POST", "/sessions", {"app": "a\x1b[31m\nb"})
    assert odd.status == 400
