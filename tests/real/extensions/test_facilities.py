"""A stranger's extension has metrics, a database, progress and a schedule, until it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from downstage.services import AsyncClient
from downstage.services.host import ServiceHost
from downstage.services.operator import operator_app
from downstage.services.transports import Call, create

if TYPE_CHECKING:
    from tests.real.extensions.conftest import Running, Write

pytestmark = [pytest.mark.real, pytest.mark.anyio]

BAKERY = """
from typing import Annotated
from fastapi import Depends
from downstage.services.facilities import (
    DatabaseFacility, Facility, MetricsFacility, ProgressFacility, SchedulerFacility, facility
)

class Oven(Facility):
    facility_name = "oven"
    heat = 180

Baker = Annotated[ProgressFacility, Depends(facility(ProgressFacility))]
Store = Annotated[DatabaseFacility, Depends(facility("database"))]

class Extension(IExt):
    metrics: MetricsFacility
    jobs: SchedulerFacility
    oven: Oven

    async def on_startup(self):
        self.cakes = self.metrics.counter("cakes", "Baked.", ["kind"])
        self.router = ServiceAPIRouter(prefix="/bakery")
        self.router.add_api_route("/cakes/{kind}", self.bake, methods=["POST"])
        self.router.add_api_route("/orders", self.orders, methods=["GET"])
        register_router(self.router)
        register_router(self.context.facilities.find(ProgressFacility).router(), "/bakery")
        self.jobs.every(3600, self.clean, name="clean", immediately=True)
        async with self.context.facilities.find(DatabaseFacility).get("orders") as db:
            await db.execute(query="CREATE TABLE IF NOT EXISTS orders (kind TEXT)")

    async def bake(self, kind: str, progress: Baker, store: Store) -> str:
        async with progress.task(f"bake {kind}", total=1) as task, store.get("orders") as db:
            await db.execute("INSERT INTO orders (kind) VALUES (:kind)", {"kind": kind})
            task.advance()
        self.cakes.labels(kind).inc()
        return f"{kind} at {self.oven.heat}"

    async def orders(self, store: Store) -> list[str]:
        async with store.get("orders") as db:
            return [row["kind"] for row in await db.fetch_all("SELECT kind FROM orders")]

    async def clean(self) -> None:
        pass

"""
ORDERS = """
[settings]
exts."bakery".dbs.orders.connection_string = "sqlite:///orders.db"
"""


async def scrape(host: ServiceHost) -> dict[str, dict[tuple[str, ...], float]]:
    """Sample name → label values → value, from the operator's port."""
    answer = await create("local://", operator_app(host)).request(Call("GET", "/metrics"))
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = dict[str, dict[tuple[str, ...], float]]()
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            values = tuple(v for _, v in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[values] = sample.value
    return found


async def test_it_has_all_it_asks_for_and_leaves_nothing(running: Running, write: Write) -> None:
    write("bakery", BAKERY, more=ORDERS)
    write("neighbour")
    async with running() as host:
        client = AsyncClient("local://", host.public_app)
        for kind in ("plum", "plum", "nut"):
            assert await client.bakery.cakes[kind].post() == f"{kind} at 180"
        assert await client.bakery.orders.get() == ["plum", "plum", "nut"]
        told = (await client.bakery.progress.get())["items"]
        assert [(item["name"], item["state"]) for item in told] == [
            ("bake plum", "done"),
            ("bake plum", "done"),
            ("bake nut", "done"),
        ]
        await client.neighbour.get()
        found = await scrape(host)
        assert found["cakes_total"] == {("nut",): 1, ("plum",): 2}
        answered = found["downstage_requests_total"]
        assert answered["POST", "/bakery/cakes/{kind}", "bakery", "2xx"] == 3
        assert answered["GET", "/neighbour", "neighbour", "2xx"] == 1
        assert found["downstage_job_runs_total"] == {("clean", "bakery"): 1}
        assert found["process_cpu_seconds_total"][()] > 0
        assert found["process_resident_memory_max_bytes"][()] > 1e6

        await host.lifecycle.disable("bakery")
        found = await scrape(host)
        assert not [name for name in found if name.startswith(("cakes", "downstage_job"))]
        assert not [key for key in found["downstage_requests_total"] if "bakery" in str(key)]
        assert found["downstage_requests_total"]["GET", "/neighbour", "neighbour", "2xx"] == 1

        await host.lifecycle.enable("bakery")
        assert await client.bakery.orders.get() == ["plum", "plum", "nut"]
        assert (await scrape(host))["downstage_job_runs_total"]["clean", "bakery"] == 1


async def test_one_that_contradicts_another_says_so_and_takes_nobody_down(
    running: Running, write: Write
) -> None:
    code = """
    from downstage.services.facilities import MetricsFacility
    class Extension(IExt):
        metrics: MetricsFacility
        def on_startup(self):
            self.cakes = self.metrics.{kind}("cakes", "Baked.")
    """
    write("first", code.format(kind="counter"))
    write("second", code.format(kind="gauge"))
    async with running() as host:
        states = {info.name: (info.state, info.reason) for info in host.extensions()}
        assert states["first"][0] == "running"
        assert states["second"][0] == "failed"
        assert "cakes exists already as counter" in states["second"][1]
        with anyio.fail_after(20):
            assert "cakes_total" in await scrape(host)
