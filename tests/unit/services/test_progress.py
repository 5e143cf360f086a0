"""Long work is told of while it runs, and for a while after; to whom it belongs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from downstage.auth.principal import Principal
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import InvalidToken, NotFound, TooMany, Unavailable
from downstage.services import AsyncClient, register_router
from downstage.services.errors import ServiceNotFoundError
from downstage.services.facilities import ProgressFacility, progress
from downstage.services.facilities.principal import Authenticator
from downstage.services.registry import create_app
from downstage.services.transports import Call, create

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ANNA = Principal(subject="u-anna", name="anna", kind="user")
BEN = Principal(subject="u-ben", name="ben", kind="user")
BOSS = Principal(subject="u-boss", name="boss", kind="user", scopes=frozenset({"operate"}))


class Tokens(Authenticator):
    """A person's name is their token."""

    def __init__(self) -> None:
        """Without keys: nothing is verified here."""

    async def principal(self, token: str) -> Principal:
        for person in (ANNA, BEN, BOSS):
            if person.name == token:
                return person
        raise InvalidToken


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tasks(clock: ManualClock) -> ProgressFacility:
    return ProgressFacility(clock=clock)


@pytest.fixture
def app(tasks: ProgressFacility) -> FastAPI:
    app = create_app("Test")
    app.state.authenticator = Tokens()
    register_router(tasks.router(), app=app)
    return app


async def test_it_is_told_as_it_goes(tasks: ProgressFacility, clock: ManualClock) -> None:
    async with tasks.task("import", total=3) as task:
        assert (task.state, task.done, task.total) == ("running", 0, 3)
        task.advance(message="one")
        task.advance(2)
        clock.advance(5)
        assert (task.done, task.message) == (3, "one")
        task.update(total=4, message="x" * 1000)
        assert (task.total, len(task.message)) == (4, 256)
    assert task.state == "done"
    assert task.ended_at is not None
    assert (task.ended_at - task.started_at).total_seconds() == 5
    assert tasks.get(task.id) is task


async def test_an_error_ends_it_and_goes_on_up(tasks: ProgressFacility) -> None:
    with pytest.raises(ValueError, match="hunter2"):
        async with tasks.task("import") as task:
            raise ValueError("the password is hunter2")
    assert (task.state, task.error) == ("failed", "ValueError")


async def test_it_may_be_cancelled(tasks: ProgressFacility) -> None:
    after = list[bool]()

    async def work() -> None:
        async with tasks.task("import"):
            await anyio.sleep_forever()
        after.append(True)

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        task = tasks.tasks()[0]
        task.cancel()
        task.cancel()
    assert (task.state, task.is_cancelled, after) == ("cancelled", True, [True])
    task.cancel()


@pytest.mark.usefixtures("leaping_clock")
async def test_whoever_runs_it_may_be_cancelled(tasks: ProgressFacility) -> None:
    with anyio.move_on_after(0.01):
        async with tasks.task("import") as task:
            await anyio.sleep_forever()
    assert (task.state, task.is_cancelled) == ("cancelled", False)


@pytest.mark.usefixtures("leaping_clock")
async def test_stopping_cancels_all(tasks: ProgressFacility) -> None:
    async def work() -> None:
        async with tasks.task("import"):
            await anyio.sleep_forever()

    with anyio.fail_after(2):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            tasks.stop()
    assert {task.state for task in tasks.tasks()} == {"cancelled"}
    with pytest.raises(Unavailable, match="stopped"):
        async with tasks.task("late"):
            pass


async def test_memory_is_bounded(tasks: ProgressFacility, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MAX_ENDED", 3)
    monkeypatch.setattr(progress, "MAX_RUNNING", 2)
    async with tasks.task("long") as long:
        for number in range(10):
            async with tasks.task(str(number)):
                with pytest.raises(TooMany):
                    async with tasks.task("third"):
                        pass
        names = [task.name for task in tasks.tasks()]
    assert names == ["long", "7", "8", "9"]
    assert tasks.get(long.id) is long


async def test_changes_come_in_order_and_end(tasks: ProgressFacility) -> None:
    seen = list[tuple[float, str]]()

    async def watch(task: progress.Task) -> None:
        async for now in task.changes():
            seen.append((now.done, now.state))

    async with anyio.create_task_group() as group, tasks.task("import", total=3) as task:
        group.start_soon(watch, task)
        await anyio.wait_all_tasks_blocked()
        task.advance()
        await anyio.wait_all_tasks_blocked()
        task.advance()
        task.advance()  # a slow reader skips some
        await anyio.wait_all_tasks_blocked()
    assert seen == [(0, "running"), (1, "running"), (3, "running"), (3, "done")]
    assert [item.state async for item in task.changes()] == ["done"]


async def test_whose_it_is_decides_who_sees_it(tasks: ProgressFacility, app: FastAPI) -> None:
    async with tasks.task("annas", subject=ANNA.subject) as annas, tasks.task("open") as everybodys:
        for viewer, sees in (
            (None, ["open"]),
            (BEN, ["open"]),
            (ANNA, ["annas", "open"]),
            (BOSS, ["annas", "open"]),
        ):
            assert [task.name for task in tasks.tasks(viewer)] == sees
            client = AsyncClient("local://", app, token=viewer.name if viewer else None)
            told = await client.progress.get()
            assert [item["name"] for item in told["items"]] == sees
            for task in (annas, everybodys):
                if task.name in sees:
                    assert (await client.progress[task.id].get())["name"] == task.name
                else:
                    for verb in ("get", "delete"):
                        with pytest.raises(ServiceNotFoundError):
                            await getattr(client.progress[task.id], verb)()
                    with pytest.raises(ServiceNotFoundError):
                        await client.progress[task.id].events.get()
        with pytest.raises(NotFound):
            tasks.get("absent", BOSS)
    assert annas.state == "done"


async def test_it_is_cancelled_over_http(tasks: ProgressFacility, app: FastAPI) -> None:
    client = AsyncClient("local://", app, token="anna")
    async with tasks.task("annas", subject=ANNA.subject) as task:
        assert (await client.progress[task.id].delete())["id"] == task.id
        await anyio.sleep_forever()
    assert task.state == "cancelled"
    assert (await client.progress[task.id].delete())["state"] == "cancelled"


async def test_events_are_served(tasks: ProgressFacility, app: FastAPI) -> None:
    async def events(task: progress.Task) -> AsyncGenerator[dict[str, Any]]:
        call = Call("GET", f"/progress/{task.id}/events", headers={"authorization": "Bearer anna"})
        answer = await create("local://", app).request(call)
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.body.decode().splitlines():
            if line.startswith("data:"):
                yield json.loads(line[5:])

    told = list[dict[str, Any]]()

    async def watch(task: progress.Task) -> None:
        async for event in events(task):
            told.append(event)

    with anyio.fail_after(5):
        async with (
            anyio.create_task_group() as group,
            tasks.task("import", total=2, subject=ANNA.subject) as task,
        ):
            group.start_soon(watch, task)
            await anyio.wait_all_tasks_blocked()
            for number in range(2):
                task.advance(message=f"part {number}")
                await anyio.wait_all_tasks_blocked()
    assert [(e["done"], e["state"]) for e in told] == [
        (0, "running"),
        (1, "running"),
        (2, "running"),
        (2, "done"),
    ]
    assert set(told[0]) == {
        "id", "name", "state", "done", "total", "message", "error", "started_at", "ended_at"
    }  # fmt: skip


async def test_its_routes_say_what_they_refuse() -> None:
    app = create_app("Progress")
    register_router(ProgressFacility().router(), app=app)
    for operations in app.openapi()["paths"].values():
        for operation in operations.values():
            assert {"401", "403", "503"} <= operation["responses"].keys()
            assert operation["security"] == [{"bearer": []}, {}]
