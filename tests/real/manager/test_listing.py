"""Lists of instances, page by page, and who may see what of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event, update
from tests.real.manager.fleet import Fleeting, Machines, open_fleet, wish

from downstage.contracts.manager import InstanceView
from downstage.identity.extension import Extension as IdentityExtension
from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import InvalidField
from downstage.kernel.settings import load
from downstage.manager import instances as whole
from downstage.manager import store as module
from downstage.manager.extension import Extension as ManagerExtension
from downstage.manager.listing import Wanted
from downstage.manager.store import Store
from downstage.manager.tables import instances as table
from downstage.services import AsyncClient
from downstage.services.context import PlatformUrls
from downstage.services.errors import BaseServiceError, ServiceNotFoundError
from downstage.services.host import ServiceHost
from downstage.testing.spawners import PaperSpawner

pytestmark = [pytest.mark.real, pytest.mark.anyio]
BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@asynccontextmanager
async def some(data: Path, url: str | None, count: int) -> AsyncGenerator[Fleeting]:
    """So many instances, each of its own session, two owners by turns."""
    async with open_fleet(data, url, Machines(places=64)) as manager:
        for number in range(count):
            await manager.instances.create(wish(f"s-{number}", owner=f"u-{number % 2}"))
        yield manager


async def pages(manager: Fleeting, wanted: Wanted) -> list[list[InstanceView]]:
    found, after = list[list[InstanceView]](), None
    while True:
        page = await manager.instances.page(replace(wanted, after=after))
        found.append(page.items)
        if (after := page.next) is None:
            return found


@BOTH
async def test_pages_have_each_instance_once_and_the_newest_first(
    data: Path, database: str | None
) -> None:
    async with some(data, database, 11) as manager:
        async with manager.database.write() as connection:  # made within one microsecond
            moment = "2026-01-01T00:00:00.000000+00:00"
            even = table.c.owner == "u-0"
            await connection.execute(update(table).where(even).values(created_at=moment))
        found = await pages(manager, Wanted(limit=4))
        assert [len(page) for page in found] == [4, 4, 3]
        items = [item for page in found for item in page]
        assert {item.session_id for item in items} == {f"s-{number}" for number in range(11)}
        assert items == sorted(items, key=lambda i: (i.created_at, i.id), reverse=True)
        assert [one.id for one in await manager.instances.list()] == [i.id for i in items][::-1]
        own = await pages(manager, Wanted(owner="u-1", limit=2))
        theirs = {item.session_id for page in own for item in page}
        assert theirs == {f"s-{number}" for number in (1, 3, 5, 7, 9)}
        assert (await manager.instances.page(Wanted(tenant="another"))).items == []
        await manager.instances.stop(items[0].id)
        await manager.until(items[0].id, "ended")
        living = await pages(manager, Wanted(living=True, limit=5))
        assert [len(page) for page in living] == [5, 5]
        for wrong in ("", "x", "2026-01-01_i-1"):
            with pytest.raises(InvalidField, match="no cursor"):
                await manager.instances.page(Wanted(after=wrong))


async def test_a_list_of_all_has_what_lives_however_much_has_ended(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "PAGE", 2)
    monkeypatch.setattr(whole, "MOST_ENDED", 3)
    async with some(data, None, 10) as manager:
        ids = [item.id for item in await manager.instances.list()]
        for instance_id in ids[1:9]:
            await manager.instances.stop(instance_id)
            await manager.until(instance_id, "ended")
        left = [item.id for item in await manager.instances.list()]
        assert left == [ids[0], *ids[6:]], "the oldest lives; of the others the newest are shown"


async def test_a_manager_that_starts_again_reads_its_instances_in_batches(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    async with some(data, None, 9) as manager:
        sent = list[str]()
        engine = manager.database._engine.sync_engine  # pyright: ignore[reportPrivateUsage]
        event.listen(engine, "before_cursor_execute", lambda *told: sent.append(told[2]))
        store = Store(manager.database, SystemClock())
        sizes = [len(batch) async for batch in store.living()]
        assert sizes == [4, 4, 1]
        assert len([one for one in sent if one.startswith("SELECT")]) == 1 + 3


class Quiet(PaperSpawner):
    """Takes the arguments of the spawner whose place it has."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    async def prepare(self) -> None:
        """There is nothing to prepare."""


@asynccontextmanager
async def service(data: Path) -> AsyncGenerator[ServiceHost]:
    overrides: dict[str, object] = {"platform.data": str(data), "manager.capacity": 8}
    settings = load(environment={}, overrides=overrides)
    urls = PlatformUrls("http://127.0.0.1:1", "unix:///nowhere")
    host = ServiceHost(settings, urls, services=("identity", "manager"))
    async with host.run():
        yield host


async def person(host: ServiceHost, name: str) -> tuple[str, AsyncClient]:
    """Subject and client of somebody who may use sessions and nothing else."""
    identity = cast("IdentityExtension", host.extension("identity"))
    operator = AsyncClient("local://identity", token=await identity.operator_token())
    await operator.v1.users.post(name=name, password="correct horse battery")
    token = (await identity.service.token_for(name)).token
    return (await host.authenticator.principal(token)).subject, AsyncClient(
        "local://manager", token=token
    )


async def ids(client: AsyncClient, **query: Any) -> set[str]:
    return {item["session_id"] for item in (await client.v1.instances.get(**query))["items"]}


async def test_A07_people_see_the_instances_of_their_own_sessions_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("downstage.manager.extension.ProcessSpawner", Quiet)
    async with service(data) as host:
        anna, hers = await person(host, "anna")
        _, his = await person(host, "berta")
        gateway = host._wiring.as_service("gateway", "manager")
        for number, owner in enumerate((anna, anna, "somebody")):
            request = wish(f"s-{number}", "test-card", owner=owner)
            await cast("ManagerExtension", host.extension("manager"))._instances.create(request)  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
        assert await ids(hers) == {"s-0", "s-1"}
        assert await ids(his) == set()
        assert await ids(gateway) == {"s-0", "s-1", "s-2"}
        identity = cast("IdentityExtension", host.extension("identity"))
        operator = AsyncClient("local://manager", token=await identity.operator_token())
        assert await ids(operator) == {"s-0", "s-1", "s-2"}
        page = await hers.v1.instances.get(limit=1)
        assert len(page["items"]) == 1
        assert len((await hers.v1.instances.get(after=page["next"]))["items"]) == 1
        (own,) = page["items"]
        assert (own["node"], own["node_reason"], own["media_socket"]) == ("", None, None)
        assert (await operator.v1.instances[own["id"]].get())["node"] == "local"
        assert (await gateway.v1.instances[own["id"]].get())["media_socket"]
        assert (await hers.v1.instances[own["id"]].get())["id"] == own["id"]
        with pytest.raises(ServiceNotFoundError):
            await his.v1.instances[own["id"]].get()
        for query in ({"limit": 0}, {"limit": 201}, {"after": "x"}):
            with pytest.raises(BaseServiceError) as refused:
                await hers.v1.instances.get(**query)
            assert refused.value.status == 422
        for call in (his.v1.instances.post, his.v1.instances[own["id"]].delete):
            with pytest.raises(BaseServiceError) as refused:
                await call()
            assert refused.value.status in (403, 422), "reading is no right to start or end"


async def test_reading_takes_one_of_two_scopes(data: Path) -> None:
    async with service(data) as host:
        powerless = host._wiring.as_service("content", "manager")
        for call in (powerless.v1.instances.get, powerless.v1.instances["i-1"].get):
            with pytest.raises(BaseServiceError) as refused:
                await call()
            assert (refused.value.status, refused.value.detail) == (
                403,
                "This needs the scope sessions:read.",
            )
