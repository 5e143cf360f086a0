"""Sessions from end to end: created, driven by their streamer, ended; and what may go wrong."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from downstage.kernel.errors import Unavailable

pytestmark = [pytest.mark.real, pytest.mark.anyio]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@both
async def test_a_session_lives_from_queue_to_end(house: Any) -> None:
    created = await house.create(display={"width": 640, "height": 480, "fps": 30})
    assert created["state"] == "starting"
    assert created["owner"] == "anna"
    assert "#join=" in created["join_url"]
    assert created["join_url"].startswith(house.url)
    async with house.dial(created["id"]) as streamer:
        await streamer.say(
            type="ready",
            width=642,
            height=480,
            encoder="x264",
            audio=False,
            encoder_reason="no GPU",
            audio_reason="no sound server",
        )
        ready = await house.wait(created["id"], "ready")
        assert (ready["width"], ready["height"]) == (642, 480)
        assert ready["encoder"] == "x264 (no GPU)"
        assert ready["warnings"] == ["No sound: no sound server"]
        status, ending, _ = await house.call(
            "DELETE", f"/v1/sessions/{created['id']}", await house.token()
        )
        assert status == 202
        assert ending["state"] in ("ending", "ended")
        assert (await streamer.hear("end"))["reason"] == "stopped"
    ended = await house.wait(created["id"], "ended")
    assert (ended["outcome"], ended["reason"]) == ("stopped", "stopped")
    assert house.manager.running() == 0


async def test_an_instance_is_asked_for_in_the_name_of_who_wants_it(house: Any) -> None:
    await house.create("anna")
    await house.create("bert")
    first, second = house.manager.claims
    assert first["sub"] == second["sub"] == "service:agent"
    assert first["act"]["sub"] != second["act"]["sub"]
    assert "instances:write" in first["scope"]
    assert "tickets:write" not in first["scope"]


async def test_ending_twice_is_one_end(house: Any) -> None:
    created = await house.create()
    token = await house.token()
    for _ in range(3):
        status, _, _ = await house.call("DELETE", f"/v1/sessions/{created['id']}", token)
        assert status == 202
    assert (await house.wait(created["id"], "ended"))["outcome"] == "stopped"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"application": "nonsense"}, 404, None),
        ({"application": "test-card", "region": "moon"}, 422, "region"),
        ({"application": "test-card", "colour": 1}, 422, "colour"),
        ({"application": "test-card", "display": {"width": 0}}, 422, "display.width"),
        ({"application": "test-card", "environment": {"LD_PRELOAD": "x"}}, 422, "environment"),
        ({}, 422, "application"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    house: Any, body: dict[str, Any], status: int, field: str | None
) -> None:
    found, problem, headers = await house.call(
        "POST", "/v1/sessions", await house.token(), json=body
    )
    assert found == status
    assert headers["content-type"] == "application/problem+json"
    assert problem["message"]
    if field:
        assert problem["field"].startswith(field)
    assert house.manager.instances == {}
    _, page, _ = await house.call("GET", "/v1/sessions", await house.token())
    assert page["items"] == []


@both
async def test_50_creates_on_capacity_4(house: Any) -> None:
    token = await house.token()
    answers: list[tuple[int, Any, Any]] = []

    async def one() -> None:
        answers.append(
            await house.call(
                "POST", "/v1/sessions", token, json={"application": "test-card", "wait": False}
            )
        )

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(one)
    taken = [body for status, body, _ in answers if status == 201]
    refused = [(body, headers) for status, body, headers in answers if status == 503]
    assert (len(taken), len(refused)) == (4, 46)
    assert all(body["code"] == "capacity" for body, _ in refused)
    assert all(headers["retry-after"] == "7" for _, headers in refused)
    _, page, _ = await house.call("GET", "/v1/sessions", token)
    assert {item["id"] for item in page["items"]} == {item["id"] for item in taken}
    assert house.manager.running() == 4
    for item in taken:
        await house.call("DELETE", f"/v1/sessions/{item['id']}", token)
        await house.wait(item["id"], "ended")
    assert house.manager.running() == 0


@both
async def test_an_end_during_the_start_leaves_nothing(house: Any) -> None:
    house.manager.gate = anyio.Event()
    token = await house.token()
    answers: list[tuple[int, Any, Any]] = []

    async def create() -> None:
        answers.append(
            await house.call("POST", "/v1/sessions", token, json={"application": "test-card"})
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create)
        with anyio.fail_after(20):
            while not house.manager.requests:
                await anyio.sleep(0.005)
        session_id = house.manager.requests[0].session_id
        assert (await house.get(session_id))["state"] == "queued"
        status, body, _ = await house.call("DELETE", f"/v1/sessions/{session_id}", token)
        assert (status, body["state"]) == (202, "ending")
        house.manager.gate.set()
    ended = await house.wait(session_id, "ended")
    assert (ended["outcome"], house.manager.running()) == ("stopped", 0)
    assert len(house.manager.instances) == 1


async def test_an_end_during_a_start_that_is_refused(house: Any) -> None:
    house.manager.gate = anyio.Event()
    house.manager.capacity = 0
    token = await house.token()
    statuses: list[int] = []

    async def create() -> None:
        status, _, _ = await house.call(
            "POST", "/v1/sessions", token, json={"application": "test-card", "wait": False}
        )
        statuses.append(status)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create)
        with anyio.fail_after(20):
            while not house.manager.requests:
                await anyio.sleep(0.005)
        session_id = house.manager.requests[0].session_id
        await house.call("DELETE", f"/v1/sessions/{session_id}", token)
        house.manager.gate.set()
    assert statuses == [503]
    assert (await house.wait(session_id, "ended"))["outcome"] == "stopped"


async def test_a_manager_without_a_clear_answer_leaves_nothing(house: Any) -> None:
    house.manager.fail_create = Unavailable("It may have begun.")
    status, problem, headers = await house.call(
        "POST", "/v1/sessions", await house.token(), json={"application": "test-card"}
    )
    assert status == 503
    assert headers["retry-after"]
    session_id = house.manager.requests[0].session_id
    ended = await house.wait(session_id, "ended")
    assert (ended["outcome"], ended["reason"]) == ("failed", "start-failed"), problem


@both
async def test_the_same_key_starts_one_session(house: Any) -> None:
    token = await house.token()
    answers: list[tuple[int, Any, Any]] = []

    async def one() -> None:
        answers.append(
            await house.call(
                "POST",
                "/v1/sessions",
                token,
                json={"application": "test-card"},
                headers={"idempotency-key": "once"},
            )
        )

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(one)
    assert {status for status, _, _ in answers} == {201}
    assert len({body["id"] for _, body, _ in answers}) == 1
    assert len(house.manager.requests) == 1
    status, problem, _ = await house.call(
        "POST",
        "/v1/sessions",
        token,
        json={"application": "test-card", "stage": "x.usd"},
        headers={"idempotency-key": "once"},
    )
    assert (status, problem["code"]) == (409, "conflict")
    other = await house.call(
        "POST",
        "/v1/sessions",
        await house.token("ben"),
        json={"application": "test-card"},
        headers={"idempotency-key": "once"},
    )
    assert other[0] == 201, "another person's key is another key"


@both
async def test_a_refused_start_frees_its_key(house: Any) -> None:
    token = await house.token()
    house.manager.capacity = 0
    body = {"application": "test-card", "wait": False}
    options = {"json": body, "headers": {"idempotency-key": "again"}}
    assert (await house.call("POST", "/v1/sessions", token, **options))[0] == 503
    house.manager.capacity = 1
    assert (await house.call("POST", "/v1/sessions", token, **options))[0] == 201


@both
async def test_pages_are_newest_first_and_follow_their_cursor(house: Any) -> None:
    house.manager.capacity = 10
    made = [(await house.create())["id"] for _ in range(5)]
    token = await house.token()
    found, after = list[str](), ""
    for _ in range(3):
        _, page, _ = await house.call("GET", f"/v1/sessions?limit=2{after}", token)
        found += [item["id"] for item in page["items"]]
        after = "&after=" + (page["next"] or "").replace("+", "%2B")
    assert found == made[::-1]
    assert page["next"] is None
    status, problem, _ = await house.call("GET", "/v1/sessions?after=nonsense", token)
    assert (status, problem["field"]) == (422, "after")


@pytest.mark.parametrize(
    ("reason", "code", "when", "outcome"),
    [
        ("application-exited", 0, "starting", "failed"),
        ("application-exited", 0, "ready", "stopped"),
        ("application-exited", 1, "ready", "failed"),
        ("streamer-died", None, "ready", "failed"),
        ("never-drew", None, "starting", "failed"),
    ],
)
async def test_an_instance_that_ends_ends_its_session(
    house: Any, reason: str, code: int | None, when: str, outcome: str
) -> None:
    if when == "ready":
        async with house.on_stage() as (session_id, streamer):
            house.manager.end(
                house.instance_of(session_id), reason, exit_code=code, detail="Look here."
            )
            ended = await house.wait(session_id, "ended")
            assert await streamer.closed() == (1000, "ended")
    else:
        session_id = (await house.create())["id"]
        house.manager.end(
            house.instance_of(session_id), reason, exit_code=code, detail="Look here."
        )
        ended = await house.wait(session_id, "ended")
    assert (ended["outcome"], ended["reason"], ended["detail"]) == (outcome, reason, "Look here.")


async def test_progress_is_told_while_it_starts(house: Any) -> None:
    created = await house.create()
    instance = house.instance_of(created["id"])
    for stage in ("display", "audio", "streamer", "application"):
        house.manager.change(instance, stage=stage)
        with anyio.fail_after(20):
            while (await house.get(created["id"]))["progress"] != stage:
                await anyio.sleep(0.01)


@both
async def test_events_go_on_from_the_last_one_seen(house: Any) -> None:
    created = await house.create()
    token = await house.token()
    url = f"{house.url}/v1/sessions/{created['id']}/events"
    headers = {"authorization": f"Bearer {token}", "last-event-id": str(created["revision"])}
    async with house.http.get(url, headers=headers) as answer:
        await house.call("DELETE", f"/v1/sessions/{created['id']}", token)
        with anyio.fail_after(20):
            text = (await answer.content.read()).decode()  # it ends by itself
    states = [json.loads(line[5:])["state"] for line in text.splitlines() if line[:5] == "data:"]
    ids = [int(line[3:]) for line in text.splitlines() if line.startswith("id:")]
    assert states[-1] == "ended"
    assert set(states) <= {"ending", "ended"}
    assert ids == sorted(ids)
    assert ids[0] > created["revision"]


async def test_leases_end_what_nobody_uses(start: Any) -> None:
    async with start(gateway__connect_lease="PT0.5S") as house:
        created = await house.create()
        async with house.dial(created["id"]) as streamer:
            await streamer.say(type="ready", width=1280, height=720, encoder="x264", audio=True)
            ended = await house.wait(created["id"], "ended")
        assert (ended["outcome"], ended["reason"]) == ("expired", "connect-lease")
        assert house.manager.running() == 0


async def test_a_start_that_never_shows_a_picture_fails(start: Any) -> None:
    async with start(gateway__start_deadline="PT0.6S") as house:
        created = await house.create()
        ended = await house.wait(created["id"], "ended")
        assert (ended["outcome"], ended["reason"]) == ("failed", "start-deadline")


async def test_an_instance_that_does_not_end_keeps_its_session_ending(start: Any) -> None:
    async with start(gateway__end_deadline="PT0.1S") as house:
        house.manager.obeys = False
        created = await house.create()
        await house.call("DELETE", f"/v1/sessions/{created['id']}", await house.token())
        await anyio.sleep(0.4)
        assert (await house.get(created["id"]))["state"] == "ending"
        house.manager.obeys = True  # told again and again, it obeys in the end
        assert (await house.wait(created["id"], "ended"))["outcome"] == "stopped"


async def test_lost_hints_are_made_up_for(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        instance = house.instance_of(session_id)
        house.manager.change(instance, hint=False, state="ended", reason="streamer-died")
        await streamer.socket.close()  # a broken link makes the gateway look
        assert (await house.wait(session_id, "ended"))["reason"] == "streamer-died"


async def test_health_names_a_silent_manager_in_two_seconds(house: Any) -> None:
    assert (await house.call("GET", "/healthcheck"))[:2] == (200, {"ok": True})
    house.manager.silent = anyio.Event()
    with anyio.fail_after(20):
        status, body, _ = await house.call("GET", "/healthcheck")
    assert status == 503
    assert body["ok"] is False
    assert "2 s" in body["message"] or "1.9 s" in body["message"]
    house.manager.silent.set()
