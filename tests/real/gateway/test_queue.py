"""The queue: who waits, who is next, how a place is held, and that nobody is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from downstage.gateway.orders import Order
from downstage.kernel.errors import SessionQuota

pytestmark = [pytest.mark.real, pytest.mark.anyio]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
ASK = {"application": "test-card"}


async def ask(house: Any, who: str = "anna", **body: Any) -> tuple[int, Any, Any]:
    return await house.call("POST", "/v1/sessions", await house.token(who), json={**ASK, **body})


async def order_of(house: Any, who: str = "anna") -> Order:
    """What *who* asks for through the API, without its sockets."""
    _, me, _ = await house.call("GET", "/v1/auth/me", await house.token(who))
    subject = me["subject"]
    return Order("main", subject, who, "test-card", act=subject, wait=True)


async def until(house: Any, session_id: str, *, who: str = "anna", **facts: Any) -> dict[str, Any]:
    """The session, once its events tell all of *facts*."""
    headers = {"authorization": f"Bearer {await house.token(who)}"}
    url = f"{house.url}/v1/sessions/{session_id}/events"
    seen = list[Any]()
    with anyio.fail_after(20):
        async with house.http.get(url, headers=headers) as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    seen.append(json.loads(line[5:]))
                    if facts.items() <= seen[-1].items():
                        return seen[-1]
    pytest.fail(f"never {facts}: {[(item['state'], item['position']) for item in seen]}")


def free_one(house: Any) -> None:
    """An instance ends by itself."""
    living = [key for key, item in house.manager.instances.items() if item["state"] != "ended"]
    house.manager.end(living[0], "application-exited", exit_code=0)


@asynccontextmanager
async def full(house: Any, *, capacity: int = 1) -> AsyncIterator[None]:
    """A machine on which nothing is free."""
    house.manager.capacity = capacity
    for _ in range(capacity):
        assert (await house.create("zoe"))["state"] == "starting"
    yield


@both
async def test_who_finds_no_place_waits_and_is_placed_in_turn(house: Any) -> None:
    async with full(house):
        status, first, headers = await ask(house)
        assert (status, first["state"], first["position"]) == (201, "queued", 1)
        assert int(headers["retry-after"]) > 0
        assert first["eta_s"] is None, "no session has ended yet: nothing is known"
        assert "#join=" in first["join_url"]
        _, second, _ = await ask(house)
        assert second["position"] == 2
        assert house.manager.running() == 1
        free_one(house)
        placed = await until(house, first["id"], state="starting")
        assert placed["position"] is None
        next_one = await until(house, second["id"], position=1)
        assert next_one["state"] == "queued"
        assert next_one["eta_s"] is not None, "one has ended: its length is known"
        free_one(house)
        await until(house, second["id"], state="starting")
        assert house.manager.running() == 1


async def test_a_session_that_waits_has_neither_start_nor_life_counted(house: Any) -> None:
    async with full(house):
        _, waiting, _ = await ask(house)
        session = await house.gateway.sessions.store.get(waiting["id"])
        assert [lease.kind for lease in session.life.leases()] == ["hold", "queue"]
        free_one(house)
        await until(house, waiting["id"], state="starting")
        session = await house.gateway.sessions.store.get(waiting["id"])
        assert [lease.kind for lease in session.life.leases()] == ["start", "maximum"]
        assert (session.order, session.queued_at) == (None, None)


@both
async def test_the_queue_outlives_the_gateway(start: Any, manager: Any) -> None:
    secret = "hunter2-of-the-environment"
    async with start() as house, full(house):
        body = {"environment": {"KEY": secret}, "access_token": "hunter2-token", "priority": -1}
        _, waiting, _ = await ask(house, **body)
        assert waiting["state"] == "queued"
        stored = await house.gateway.sessions.store.get(waiting["id"])
        assert "hunter2" not in f"{stored}"
    manager.instances.clear()
    manager.requests.clear()
    async with start() as house:
        placed = await until(house, waiting["id"], state="starting")
        assert placed["id"] == waiting["id"]
        request = next(r for r in manager.requests if r.session_id == waiting["id"])
        assert request.environment == {"KEY": secret}
        assert request.access_token.get_secret_value() == "hunter2-token"
        stored = await house.gateway.sessions.store.get(waiting["id"])
        assert (stored.order, stored.sealed_token) == (None, None)


async def test_the_higher_priority_is_served_first_and_needs_a_scope(house: Any) -> None:
    async with full(house):
        status, refused, _ = await ask(house, priority=1)
        assert (status, refused["field"]) == (403, "priority")
        _, low, _ = await ask(house, priority=-1)
        _, usual, _ = await ask(house)
        _, high, _ = await ask(house, "operator", priority=5)
        assert [(await house.get(s["id"], "operator"))["position"] for s in (high, usual, low)] == [
            1,
            2,
            3,
        ]
        for session in (high, usual, low):
            free_one(house)
            await until(house, session["id"], who="operator", state="starting")


async def test_who_does_not_want_to_wait_is_refused_and_overtakes_nobody(house: Any) -> None:
    async with full(house):
        _, waiting, _ = await ask(house)
        house.manager.capacity = 2
        status, refused, headers = await ask(house, wait=False)
        assert (status, refused["code"]) == (503, "capacity")
        assert int(headers["retry-after"]) > 0
        free_one(house)
        await until(house, waiting["id"], state="starting")


async def test_a_new_one_that_finds_others_waiting_goes_behind_them(house: Any) -> None:
    async with full(house):
        _, first, _ = await ask(house)
        before = len(house.manager.requests)
        _, second, _ = await ask(house)
        assert second["state"] == "queued"
        asked = [r.session_id for r in house.manager.requests[before:]]
        assert second["id"] not in asked, "it is not even tried while somebody is in front"
        assert (first["position"], second["position"]) == (1, 2)


async def test_S06_a_delete_while_it_waits_ends_it_and_moves_the_others_up(house: Any) -> None:
    async with full(house):
        _, first, _ = await ask(house)
        _, second, _ = await ask(house)
        token = await house.token()
        status, _, _ = await house.call("DELETE", f"/v1/sessions/{first['id']}", token)
        assert status == 202
        ended = await house.wait(first["id"], "ended")
        assert (ended["outcome"], ended["reason"], ended["position"]) == (
            "stopped",
            "stopped",
            None,
        )
        await until(house, second["id"], position=1)
        free_one(house)
        await until(house, second["id"], state="starting")
        assert house.manager.running() == 1


async def test_a_place_is_held_for_who_asks_and_given_up_for_who_does_not(start: Any) -> None:
    async with start(gateway__queue_hold="PT3S") as house, full(house):
        _, kept, _ = await ask(house)
        _, watched, _ = await ask(house)
        _, forgotten, _ = await ask(house)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: until(house, watched["id"], state="starting"))
            with anyio.fail_after(20):
                while (await house.get(forgotten["id"], "operator"))["state"] != "ended":
                    assert (await house.get(kept["id"]))["state"] == "queued"
                    await anyio.sleep(0.2)
            ended = await house.get(forgotten["id"], "operator")
            assert (ended["outcome"], ended["reason"]) == ("expired", "queue-hold")
            assert (await house.get(watched["id"], "operator"))["state"] == "queued"
            for _ in range(2):
                free_one(house)
                await anyio.sleep(0.3)


async def test_an_open_page_holds_the_place_and_is_told_of_every_step(start: Any) -> None:
    async with start(gateway__queue_hold="PT2S") as house, full(house):
        _, first, _ = await ask(house, "bert")
        _, second, _ = await ask(house)
        async with house.viewer(second["id"]) as viewer:
            with anyio.fail_after(20):  # nobody asks after the first
                while (await house.get(first["id"], "operator"))["state"] != "ended":
                    await anyio.sleep(0.1)
            with anyio.fail_after(20):
                while (told := await viewer.hear("session"))["session"]["position"] != 1:
                    pass
            assert told["session"]["state"] == "queued"
            free_one(house)
            with anyio.fail_after(20):
                while (told := await viewer.hear("session"))["session"]["state"] == "queued":
                    pass
            assert told["session"]["state"] == "starting"


async def test_S06_quick_creates_and_deletes_leave_nothing_behind(house: Any) -> None:
    """Each is ended at once by its maker: while it starts, while it waits, while it is placed."""
    house.manager.capacity = 3
    token, made = await house.token(), list[str]()

    async def one() -> None:
        _, session, _ = await ask(house)
        made.append(session["id"])
        await house.call("DELETE", f"/v1/sessions/{session['id']}", token)

    async with anyio.create_task_group() as tasks:
        for _ in range(25):
            tasks.start_soon(one)
    for session_id in made:
        ended = await house.wait(session_id, "ended")
        assert ended["outcome"] == "stopped"
    assert len(set(made)) == 25
    assert house.manager.running() == 0
    assert await house.gateway.sessions.store.waiting() == []


async def test_other_dialects_wait_too(house: Any) -> None:
    async with full(house):
        token = await house.token()
        kit = await house.call("POST", "/streaming/stream", token, json={"id": "test-card"})
        assert kit[0] == 202, kit[1]
        body = {
            "url": "/stages/a.usd",
            "access_token": "content-token",
            "username": "anna",
            "spec": {"image": "registry.example/app:1"},
        }
        older = await house.call("POST", "/session-service/session", token, json=body)
        assert older[0] == 200, older[1]
        waiting = [item.id for item in house.gateway.sessions.line.arranged]
        assert waiting == [kit[1]["id"], older[1]["session_id"]]


async def test_a_wait_ends_after_its_longest_time(start: Any) -> None:
    async with start(gateway__queue_lease="PT0.5S") as house, full(house):
        _, waiting, _ = await ask(house)
        ended = await house.wait(waiting["id"], "ended")
        assert (ended["outcome"], ended["reason"]) == ("expired", "queue-lease")


async def test_a_full_queue_is_told_with_when_to_come_again(start: Any) -> None:
    async with start(gateway__queue_length=2) as house, full(house):
        for _ in range(2):
            assert (await ask(house))[1]["state"] == "queued"
        status, refused, headers = await ask(house)
        assert (status, refused["code"]) == (503, "capacity")
        assert "2 sessions wait already" in refused["detail"]
        assert int(headers["retry-after"]) > 0
        _, page, _ = await house.call("GET", "/v1/sessions", await house.token())
        assert len(page["items"]) == 2


async def test_what_has_become_impossible_fails_and_holds_up_nobody(house: Any) -> None:
    async with full(house):
        _, doomed, _ = await ask(house, application="registry.example/app:1")
        _, behind, _ = await ask(house)
        house.manager.refused_applications.add("registry.example/app:1")
        free_one(house)
        ended = await house.wait(doomed["id"], "ended")
        assert (ended["outcome"], ended["reason"]) == ("failed", "start-failed")
        assert "no application" in ended["detail"]
        await until(house, behind["id"], state="starting")


async def test_S06_a_storm_of_creates_runs_ten_and_serves_the_rest_in_turn(house: Any) -> None:
    """200 at once on 10 places: 10 run, 190 wait; as places become free, each gets one in turn."""
    house.manager.capacity = 10
    sessions, made = house.gateway.sessions, list[Any]()
    order = await order_of(house)

    async def one() -> None:
        made.append(await sessions.create(order))

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(one)
    assert len({session.id for session in made}) == 200
    with anyio.fail_after(60):
        while house.manager.running() < 10 or len(sessions.line.arranged) != 190:
            await anyio.sleep(0.05)
        line = [item.id for item in sessions.line.arranged]
        for served in (10, 20):
            for _ in range(10):
                free_one(house)
            while len(sessions.line.arranged) > 190 - served:
                await anyio.sleep(0.05)
            assert house.manager.running() == 10
            left = [item.id for item in sessions.line.arranged]
            assert left == line[served:], "who was first in the line was served first"


@both
async def test_S06_the_same_key_fifty_times_is_one_session_that_waits(house: Any) -> None:
    async with full(house):
        token, found = await house.token(), list[Any]()

        async def one() -> None:
            found.append(
                await house.call(
                    "POST",
                    "/v1/sessions",
                    token,
                    json=ASK,
                    headers={"idempotency-key": "the-one"},
                )
            )

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(one)
        assert {(status, body["id"]) for status, body, _ in found} == {(201, found[0][1]["id"])}
        assert len(house.gateway.sessions.line.arranged) == 1


@both
async def test_fifty_creates_at_once_never_exceed_the_quota(start: Any) -> None:
    async with start(gateway__sessions_per_user=3) as house:
        house.manager.capacity = 2
        order, made, refused = await order_of(house), list[Any](), list[SessionQuota]()

        async def one() -> None:
            try:
                made.append(await house.gateway.sessions.create(order))
            except SessionQuota as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(one)
        assert (len(made), len(refused)) == (3, 47)
        status, problem, _ = await ask(house)
        assert (status, problem["code"], problem["limit"]) == (403, "session-quota", 3)
        assert problem["oldest"] in {session.id for session in made}
        assert problem["oldest"] in problem["detail"]
        assert (await ask(house, "bert"))[0] == 201, "it is each person's own"
        token = await house.token()
        await house.call("DELETE", f"/v1/sessions/{problem['oldest']}", token)
        await house.wait(problem["oldest"], "ended")
        assert (await ask(house))[0] == 201


async def test_metrics_tell_of_the_queue_by_region(house: Any) -> None:
    async with full(house):
        _, waiting, _ = await ask(house)
        assert 'downstage_queue_length{region="any"} 1' in house.gateway.metrics()
        free_one(house)
        await until(house, waiting["id"], state="starting")
        with anyio.fail_after(5):
            while 'downstage_queue_length{region="any"} 0' not in house.gateway.metrics():
                await anyio.sleep(0.02)
        lines = house.gateway.metrics()
        assert 'downstage_placements_total{region="local"} 2' in lines
        assert 'downstage_queue_wait_seconds_count{region="local"} 1' in lines
        assert 'downstage_queue_wait_seconds_bucket{region="local",le="+Inf"} 1' in lines


@pytest.mark.parametrize("extra", ["is_admin", "owner", "scopes", "tenant", "state"])
async def test_A05_extra_keys_are_refused_by_name_and_change_nothing(
    house: Any, extra: str
) -> None:
    status, refused, _ = await ask(house, **{extra: True})
    assert (status, refused["field"]) == (422, extra)
    _, page, _ = await house.call("GET", "/v1/sessions", await house.token())
    assert page["items"] == []
    assert house.manager.requests == []
