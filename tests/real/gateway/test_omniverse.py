"""The Omniverse public streaming API, call by call, as its clients make them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from downstage.services import AsyncClient, ServiceNotFoundError

pytestmark = [pytest.mark.real, pytest.mark.anyio]

IMAGE = "registry.example/app:1"
BODY: dict[str, Any] = {
    "url": "omniverse://content.example/Projects/stage.usd",
    "access_token": "content-token",
    "username": "anna",
    "spec": {"image": IMAGE},
}


def body(**changes: Any) -> dict[str, Any]:
    spec = {**BODY["spec"], **changes.pop("spec", {})}
    return {**BODY, "spec": spec, **changes}


async def client(house: Any, who: str = "anna") -> AsyncClient:
    return AsyncClient(uri=house.url, token=await house.token(who))


async def test_create_list_delete_as_the_samples_call_them(house: Any) -> None:
    api = await client(house)
    assert await api.healthcheck.get() == {"ok": True}
    created = await api.session_service.session.post(
        **body(spec={"kit_args": ["--wide"], "kit_env": {"COLOUR": "red"}})
    )
    assert sorted(created) == ["redirect", "session_id", "session_routes"]
    UUID(created["session_id"])
    request = house.manager.requests[0]
    assert request.stage == BODY["url"]
    assert request.arguments == ["--wide"]
    assert request.environment == {"COLOUR": "red"}
    assert request.access_token.get_secret_value() == "content-token"
    listed = await api.session_service.session.get(
        limit=10, offset=0, username="anna", sortBy="created_at", orderBy="DESC"
    )
    (item,) = listed["results"]
    record, status = item["session_record"], item["status"]
    assert record["session_id"] == created["session_id"]
    assert record["username"] == "anna"
    assert record["nucleus"] == "content.example"
    assert record["pod_name"] == f"ovc-v1-kit-{created['session_id']}"
    assert record["pod_name"] == record["service_name"] == record["configmap_name"]
    assert record["session_routes"] == created["session_routes"]
    assert datetime.fromisoformat(record["created_at"]).utcoffset() is not None
    assert "." not in status["start_time"]
    assert status["phase"] == "Pending"
    ended = await getattr(api.session_service.session, created["session_id"]).delete()
    assert ended == "OK"
    await house.wait(created["session_id"], "ended")
    with pytest.raises(ServiceNotFoundError) as gone:
        await getattr(api.session_service.session, created["session_id"]).delete()
    assert gone.value.body["message"]
    assert (await api.session_service.session.get())["results"] == []


async def test_the_web_client_s_address_has_every_parameter(house: Any) -> None:
    api = await client(house)
    created = await api.session_service.session.post(**BODY)
    (item,) = (await api.session_service.session.get())["results"]
    for text, has_code in (
        (created["redirect"], True),
        (item["session_record"]["session_link"], False),
    ):
        parts = urlsplit(text)
        assert f"{parts.scheme}://{parts.netloc}" == house.url
        assert parts.path == "/webclient/index.html"
        query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        assert query == {
            "signalingserver": "127.0.0.1",
            "signalingport": house.url.rpartition(":")[2],
            "mediaserver": "127.0.0.1",
            "mediaport": "0",
            "sessionid": created["session_id"],
            "mic": "0",
            "cursor": "free",
            "server": "",
            "nucleus": "content.example",
            "resolution": "1280x720",
            "fps": "60",
            "autolaunch": "true",
            "backendurl": house.url,
            "terminateVerb": "DELETE",
        }
        assert parts.fragment.startswith("join=") is has_code
        assert "content-token" not in text
    code = urlsplit(created["redirect"]).fragment.removeprefix("join=")
    seat, _, _ = await house.call(
        "POST", f"/v1/sessions/{created['session_id']}/seat", json={"code": code}
    )
    assert seat == 200


async def test_phases_are_kubernetes_words(house: Any) -> None:
    api = await client(house)

    async def phase() -> str:
        (item,) = (await api.session_service.session.get())["results"]
        return item["status"]["phase"]

    created = await api.session_service.session.post(**BODY)
    assert await phase() == "Pending"
    async with house.dial(created["session_id"]) as streamer:
        await streamer.say(type="ready", width=1280, height=720, encoder="x264", audio=True)
        await house.wait(created["session_id"], "ready")
        assert await phase() == "Running"
    house.manager.end(house.instance_of(created["session_id"]), "streamer-died")
    await house.wait(created["session_id"], "ended")
    assert await phase() == "Failed"


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"spec": {"user_ports": [{"name": "a", "number": 1, "type": "TCP"}]}}, 422, "user_ports"),
        ({"spec": {"node_labels": {"gpu": "yes"}}}, 422, "spec.node_labels"),
        ({"spec": {"streaming_mode": "odd"}}, 422, "spec.streaming_mode"),
        ({"spec": {"kit_env": {"LD_PRELOAD": "x"}}}, 422, "spec.kit_env.LD_PRELOAD"),
        ({"spec": {"image": "registry.example/other:2"}}, 404, None),
        ({"colour": 1}, 422, "colour"),
        ({"username": "ben"}, 403, "username"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    house: Any, change: dict[str, Any], status: int, field: str | None
) -> None:
    found, problem, _ = await house.call(
        "POST", "/session-service/session", await house.token(), json=body(**change)
    )
    assert found == status
    assert problem["message"]
    if field:
        assert field in problem["field"]
    assert house.manager.instances == {}


async def test_the_whole_spec_reaches_the_manager(house: Any) -> None:
    house.manager.has_containers = True
    wanted = {
        "user_ports": [{"name": "api", "number": 8011, "type": "TCP"}],
        "node_labels": {"gpu": "none"},
        "user_labels": {"team": "lighting"},
    }
    status, _, _ = await house.call(
        "POST", "/session-service/session", await house.token(), json=body(spec=wanted)
    )
    assert status == 200
    (asked,) = house.manager.requests
    assert [port.model_dump() for port in asked.ports] == wanted["user_ports"]
    assert (asked.node_labels, asked.labels) == (wanted["node_labels"], wanted["user_labels"])
    assert (asked.image, asked.streaming_mode) == (BODY["spec"]["image"], "secure")


@pytest.mark.parametrize("missing", ["url", "access_token", "username", "spec"])
async def test_required_fields(house: Any, missing: str) -> None:
    request = {key: value for key, value in BODY.items() if key != missing}
    status, problem, _ = await house.call(
        "POST", "/session-service/session", await house.token(), json=request
    )
    assert (status, problem["field"]) == (422, missing)


async def test_unknown_keys_of_the_spec_are_kept_and_told(house: Any) -> None:
    status, created, _ = await house.call(
        "POST",
        "/session-service/session",
        await house.token(),
        json=body(spec={"gpu_model": "any", "user_labels": {"team": "a"}}),
    )
    assert status == 200
    session = await house.get(created["session_id"])
    assert [w for w in session["warnings"] if "spec.gpu_model" in w]
    row = await house.gateway.sessions.store.get(created["session_id"])
    assert row.spec["gpu_model"] == "any"
    assert row.spec["user_labels"] == {"team": "a"}


async def test_a_bare_host_is_no_stage(house: Any) -> None:
    status, _, _ = await house.call(
        "POST",
        "/session-service/session",
        await house.token(),
        json=body(url="omniverse://content.example"),
    )
    assert status == 200
    assert house.manager.requests[0].stage is None


async def test_admins_act_for_others(house: Any) -> None:
    status, created, _ = await house.call(
        "POST", "/session-service/session", await house.token("operator"), json=BODY
    )
    assert status == 200
    assert (await house.get(created["session_id"], "anna"))["owner"] == "anna"


async def test_lists_filter_sort_and_slice(house: Any) -> None:
    operator = await house.token("operator")
    made: dict[str, str] = {}
    for name in ("ben", "anna", "cleo"):
        _, created, _ = await house.call(
            "POST", "/session-service/session", operator, json=body(username=name)
        )
        made[created["session_id"]] = name

    async def names(query: str) -> list[str]:
        status, page, _ = await house.call("GET", f"/session-service/session?{query}", operator)
        assert status == 200, page
        return [item["session_record"]["username"] for item in page["results"]]

    assert await names("") == ["ben", "anna", "cleo"]
    assert await names("orderBy=desc") == ["cleo", "anna", "ben"]
    assert await names("sortBy=username") == ["anna", "ben", "cleo"]
    assert await names("sort-by=username&order=DESC") == ["cleo", "ben", "anna"]
    assert await names("sortBy=created_time&limit=1&offset=1") == ["anna"]
    assert await names("username=ben") == ["ben"]
    for query, field in (
        ("sortBy=colour", "sortBy"),
        ("orderBy=sideways", "orderBy"),
        ("limit=0", "limit"),
        ("offset=-1", "offset"),
    ):
        status, problem, _ = await house.call("GET", f"/session-service/session?{query}", operator)
        assert (status, problem["field"]) == (422, field)


async def test_without_a_token_nobody_comes_in(house: Any) -> None:
    for method, path in (
        ("GET", "/session-service/session"),
        ("POST", "/session-service/session"),
        ("DELETE", "/session-service/session/x"),
    ):
        status, problem, _ = await house.call(method, path, json=BODY)
        assert status == 401
        assert problem["message"]


async def test_a_demo_takes_calls_without_a_token_from_this_machine_alone(start: Any) -> None:
    async with start(platform__demo=True) as house:
        path = "/session-service/session"
        status, created, _ = await house.call("POST", path, json=body(username="user@email.com"))
        assert status == 200
        _, page, _ = await house.call("GET", f"{path}?username=user@email.com")
        assert len(page["results"]) == 1
        one = f"{path}/{created['session_id']}"
        for headers in (
            {"origin": "https://evil.example"},
            {"sec-fetch-site": "cross-site"},
            {"host": "evil.example"},
        ):
            status, _, _ = await house.call("DELETE", one, headers=headers)
            assert status == 401, headers
        assert (await house.call("DELETE", one, json={}))[:2] == (200, "OK")


async def test_swagger_works_offline_and_lists_the_routes(house: Any) -> None:
    status, page, headers = await house.call("GET", "/backend/api-docs")
    assert status == 200
    assert "https://" not in page
    assert (
        "script-src" in headers["content-security-policy"]
        or "default-src 'self'" in headers["content-security-policy"]
    )
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f"/backend/api-docs/{name}" in page
        assert (await house.call("GET", f"/backend/api-docs/{name}"))[0] == 200
    assert (await house.call("GET", "/backend/api-docs/index.html"))[0] == 404
    _, document, _ = await house.call("GET", "/backend/api-docs/openapi.json")
    assert sorted(document["paths"]) == [
        "/healthcheck",
        "/session-service/session",
        "/session-service/session/{session_id}",
    ]
    assert sorted(document["paths"]["/session-service/session"]) == ["get", "post"]
