"""Names of the alias that an extension makes objects of, in an extension that does."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstage.kernel.settings import load
from downstage.omni.hosting import hosted
from downstage.services import AsyncClient, BaseServiceError, ServiceNotFoundError
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost

pytestmark = [pytest.mark.real, pytest.mark.anyio]

MANIFEST = """
[package]
version = "1.0.0"

[dependencies]
"omni.services.core" = {}
"omni.services.facilities.database.manager" = {}

[[python.module]]
name = "omni.example.orders"

[settings]
exts."omni.example.orders".dbs.orders.connection_string = "sqlite:///orders.db"
"""
CODE = """
from typing import Annotated, Any

import carb
import omni.ext
from fastapi import Depends
from omni.services.core import main, routers
from omni.services.facilities.base import Facility
from omni.services.facilities.database.manager import DatabaseManagerFacility
from omni.services.facilities.monitoring.metrics.facilities import MetricsFacility
from omni.services.security.auth.apikey import OmniApiKeyHeader

router = routers.ServiceAPIRouter()
Database = Annotated[DatabaseManagerFacility, Depends(router.get_facility("db"))]
key = OmniApiKeyHeader(check_functions=[lambda given: given == "open"])


class Greeting(Facility):
    text = "hello"


@router.post("/orders/{what}", dependencies=[Depends(key)])
async def add(what: str, databases: Database) -> int:
    async with databases.get("orders") as db:
        await db.execute(query="CREATE TABLE IF NOT EXISTS orders (what TEXT)")
        await db.execute(query="INSERT INTO orders VALUES (:what)", values={"what": what})
        return await db.fetch_val(query="SELECT COUNT(*) FROM orders")


@router.get("/greeting")
async def greeting(found: Annotated[Any, Depends(router.get_facility("greeting"))]) -> str:
    return found.text


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"mounted"})


async def extra() -> str:
    return "extra"


class Orders(omni.ext.IExt):
    metrics: MetricsFacility

    def on_startup(self, ext_id):
        name = omni.ext.get_extension_name(ext_id)
        router.register_facility("db", DatabaseManagerFacility(self))
        main.register_facility("greeting", Greeting())
        main.register_router(router, prefix="shop", tags=["orders"])
        main.register_mount(path="/mounted", app=hello, name="hello")
        main.register_endpoint("get", "/extra", extra)
        self.metrics.counter("orders_starts", "How often it started.").inc()
        carb.log_info(f"{name} has started")

    def on_shutdown(self):
        main.deregister_endpoint("get", "/extra")
        main.deregister_mount("/mounted")
        main.deregister_router(router, prefix="shop")
"""


async def test_an_extension_of_all_of_them(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "omni.example.orders"
    package = folder / "omni" / "example" / "orders"
    package.mkdir(parents=True)
    (folder / "config").mkdir()
    (folder / "config" / "extension.toml").write_text(MANIFEST)
    (package / "__init__.py").write_text(CODE)
    own = {
        "platform.data": data,
        "extensions.folders": [tmp_path],
        "extensions.installed": False,
    }
    with hosted() as before_import:
        host = ServiceHost(
            load(environment={}, overrides=own),
            PlatformUrls("http://127.0.0.1:1", "unix:///nowhere"),
            services=(),
            extensions=True,
            before_import=before_import,
        )
        async with host.run():
            (info,) = host.extensions()
            assert info.state == "running", info.traceback
            shop = AsyncClient("local://", app=host.public_app)
            with pytest.raises(BaseServiceError) as refused:
                await shop.shop.orders.post("tea")
            assert refused.value.status == 401
            for count in (1, 2):
                headers = {"X-API-KEY": "open"}
                assert await shop.shop.orders.post("tea", __headers__=headers) == count
            assert await shop.shop.greeting.get() == "hello"
            assert await shop.mounted.get() == "mounted"
            assert await shop.extra.get() == "extra"
            await host.lifecycle.disable(info.name)
            for gone in (shop.shop.greeting, shop.mounted, shop.extra):
                with pytest.raises(ServiceNotFoundError):
                    await gone.get()
    assert (data / "extensions" / "omni.example.orders" / "orders.db").is_file()
