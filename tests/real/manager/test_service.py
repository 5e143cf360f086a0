"""The manager as a service: its routes, who may call them, how it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from downstage.identity.extension import Extension as IdentityExtension
from downstage.kernel.ids import new_id
from downstage.kernel.settings import load
from downstage.manager.extension import Extension as ManagerExtension
from downstage.services.client import AsyncClient
from downstage.services.context import PlatformUrls
from downstage.services.errors import BaseServiceError, ServiceNotFoundError
from downstage.services.host import ServiceHost

pytestmark = [pytest.mark.real, pytest.mark.anyio]

DECLARED = 'name = "sleeper"\ntitle = "Sleeper"\ncommand = ["/bin/sleep", "60"]\n'


@pytest.fixture
async def host(data: Path) -> AsyncIterator[ServiceHost]:
    folder = data / "more" / "sleeper"
    folder.mkdir(parents=True)
    (folder / "application.toml").write_text(DECLARED)
    settings = load(
        environment={},
        overrides={
            "platform.data": str(data),
            "manager.applications": [str(data / "more")],
            "manager.capacity": 1,
            "media.audio": False,
        },
    )
    urls = PlatformUrls("http://127.0.0.1:1", "unix:///nowhere")
    running = ServiceHost(settings, urls, services=("identity", "manager"))
    async with running.run():
        yield running


@pytest.fixture
def gateway(host: ServiceHost) -> AsyncClient:
    """A client with the gateway's own token."""
    return host._wiring.as_service("gateway", "manager")


def body(**changes: Any) -> dict[str, Any]:
    values = {
        "session_id": "s-1",
        "owner": "u-1",
        "application": "sleeper",
        "instance_token": "x",
        "link_url": "unix:///nowhere",
    }
    return {**values, **changes}


async def test_applications_are_listed_and_found(gateway: AsyncClient) -> None:
    page = await gateway.v1.applications.get()
    assert {"sleeper", "test-card"} <= {item["name"] for item in page["items"]}
    assert all("command" not in item for item in page["items"])
    assert (await gateway.v1.applications["sleeper"].get())["title"] == "Sleeper"
    with pytest.raises(ServiceNotFoundError):
        await gateway.v1.applications["nope"].get()


async def test_an_instance_by_rest(gateway: AsyncClient, host: ServiceHost) -> None:
    chosen = new_id("i")
    placed = await gateway.v1.instances.post(**body(instance_id=chosen))
    assert (placed["id"], placed["state"]) == (chosen, "starting")
    assert "instance_token" not in placed
    health = await gateway.v1.health.get()
    assert health == {"ok": True, "capacity": 1, "running": 1, "free": 0}
    with pytest.raises(BaseServiceError) as refused:
        await gateway.v1.instances.post(**body(session_id="s-2"))
    assert (refused.value.status, refused.value.retry_after) == (503, 10)
    page = await gateway.v1.instances.get()
    assert [item["id"] for item in page["items"]] == [chosen]
    async with host.bus.subscribe("manager.instance.*") as hints:
        assert (await gateway.v1.instances[chosen].delete())["state"] in ("ending", "ended")
        with anyio.fail_after(15):
            while (await gateway.v1.instances[chosen].get())["state"] != "ended":
                await anext(hints)
    assert (await gateway.v1.instances[chosen].delete())["state"] == "ended"
    assert (await gateway.v1.health.get())["running"] == 0


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"application": "-v/:/host"}, 404, "application"),
        ({"environment": {"LD_PRELOAD": "x"}}, 422, "environment.LD_PRELOAD"),
        ({"stage": "-x"}, 422, "stage"),
        ({"privileged": True}, 422, "privileged"),
        ({"display": {"width": 0}}, 422, "display.width"),
        ({"instance_id": "../../x"}, 422, "instance_id"),
    ],
)
async def test_S01_refusals_name_the_field(
    gateway: AsyncClient, changes: dict[str, Any], status: int, field: str
) -> None:
    with pytest.raises(BaseServiceError) as refused:
        await gateway.v1.instances.post(**body(**changes))
    assert refused.value.status == status
    assert refused.value.problem is not None
    assert refused.value.problem["field"] == field
    assert (await gateway.v1.instances.get())["items"] == []


async def test_who_may_not_is_refused(host: ServiceHost) -> None:
    nobody = AsyncClient("local://manager")
    for call in (nobody.v1.instances.get, nobody.v1.applications.get, nobody.v1.health.get):
        with pytest.raises(BaseServiceError) as refused:
            await call()
        assert refused.value.status == 401
    powerless = host._wiring.as_service("manager", "manager")
    with pytest.raises(BaseServiceError) as refused:
        await powerless.v1.instances.post(**body())
    assert refused.value.status == 403


async def test_nodes_by_rest(host: ServiceHost, gateway: AsyncClient) -> None:
    (local,) = (await gateway.v1.nodes.get())["items"]
    assert (local["name"], local["status"], local["places"]) == ("local", "online", 1)
    assert local["cpus"] > 0 < local["memory_mb"]
    with pytest.raises(ServiceNotFoundError):
        await gateway.v1.nodes["nowhere"].get()
    identity = cast("IdentityExtension", host.extension("identity"))
    operator = AsyncClient("local://manager", token=await identity.operator_token())
    assert (await operator.v1.nodes["local"].cordon.post())["cordoned"]
    with pytest.raises(BaseServiceError) as refused:
        await gateway.v1.instances.post(**body())
    assert (refused.value.status, refused.value.code) == (503, "capacity")
    assert "local: is cordoned" in refused.value.detail
    assert (await operator.v1.nodes["local"].drain.post(deadline_s=60))["draining"]
    assert not (await operator.v1.nodes["local"].uncordon.post())["cordoned"]
    bad = {"name": "x", "engine": "ftp://x", "places": 1, "cpus": 1, "memory_mb": 64}
    for wrong, status in ((bad, 422), ({**bad, "engine": "unix:///x", "name": "../x"}, 422)):
        with pytest.raises(BaseServiceError) as refused:
            await operator.v1.nodes.post(**wrong)
        assert refused.value.status == status
    added = await operator.v1.nodes.post(**{**bad, "engine": "unix:///nowhere/engine.sock"})
    assert (added["status"], added["spawner"]) == ("offline", "container")
    assert added["detail"]
    with pytest.raises(BaseServiceError) as refused:
        await gateway.v1.nodes["x"].delete()
    assert refused.value.status == 403, "reading is no right to remove"
    await operator.v1.nodes["x"].delete()
    assert len((await gateway.v1.nodes.get())["items"]) == 1


async def test_the_manager_tells_its_figures(host: ServiceHost, gateway: AsyncClient) -> None:
    await gateway.v1.instances.post(**body())
    with pytest.raises(BaseServiceError):
        await gateway.v1.instances.post(**body(session_id="s-2"))
    text = "\n".join(cast("ManagerExtension", host.extension("manager")).metrics())
    for line in (
        "downstage_instances 1",
        "downstage_capacity 1",
        'downstage_node_online{node="local"} 1',
        'downstage_node_places{node="local"} 1',
        'downstage_placements_total{how="cold"} 1',
        'downstage_placements_total{how="refused"} 1',
    ):
        assert line in text
