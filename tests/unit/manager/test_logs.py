"""Who may read what instances wrote."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import httpx
import pytest
from fastapi import FastAPI

from downstage.auth.principal import Principal
from downstage.kernel.errors import NotFound
from downstage.manager import logs
from downstage.services.problems import install

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class OneInstance:
    """Of the tenant ``ours``."""

    async def get(self, instance_id: str) -> Any:
        if instance_id != "i-1":
            raise NotFound("There is no such instance.")
        return SimpleNamespace(tenant="ours")

    async def runs_as(self, instance_id: str) -> str:
        return (await self.get(instance_id)) and instance_id

    async def logs_elsewhere(self, instance_id: str) -> None:
        await self.get(instance_id)


@pytest.mark.parametrize(("tenant", "status"), [("ours", 200), ("theirs", 404)])
async def test_A07_logs_of_another_tenant_s_instance_are_as_if_it_were_not_there(
    tmp_path: Path, tenant: str, status: int
) -> None:
    (tmp_path / "i-1").mkdir()
    (tmp_path / "i-1" / "app.log").write_text("its words\n")
    app = FastAPI()
    install(app)
    app.include_router(logs.log_routes(logs.InstanceLogs(cast("Any", OneInstance()), tmp_path)))
    caller = Principal("u-9", "operator", "user", tenant=tenant)
    app.dependency_overrides[get_args(logs.Looker)[1].dependency] = lambda: caller
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        for name in ("", "/app.log"):
            answer = await client.get(f"/v1/instances/i-1/logs{name}")
            assert answer.status_code == status
            if status == 404:
                absent = await client.get(f"/v1/instances/i-2/logs{name}")
                assert absent.json()["detail"] == answer.json()["detail"]
