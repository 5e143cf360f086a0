"""The operator's port: everybody on this machine may look, only the operator may change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import pytest

from downstage.identity.extension import Extension as Identity
from downstage.kernel.settings import load
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.operator import operator_app
from downstage.services.server import Server, open_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.extensions.conftest import Write

pytestmark = [pytest.mark.real, pytest.mark.anyio]

COUNTING = """
from downstage.services.facilities import MetricsFacility
class Extension(IExt):
    metrics: MetricsFacility
    def on_startup(self):
        self.count = self.metrics.counter("hello_calls", "Calls.")
        self.router = ServiceAPIRouter()
        self.router.add_api_route("/hello", self.tell)
        register_router(self.router)
    async def tell(self) -> str:
        self.count.inc()
        return "hello"
"""


class Port:
    """The operator's port and the public one, over real sockets."""

    def __init__(self, host: ServiceHost, url: str, public: str, token: str) -> None:
        self.host, self.url, self.public, self.token = host, url, public, token

    async def call(self, method: str, url: str, **headers: str) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers) as response,
        ):
            is_json = "json" in response.headers.get("content-type", "")
            return response.status, (await response.json() if is_json else await response.text())

    async def change(self, name: str, deed: str) -> tuple[int, Any]:
        url = f"{self.url}/extensions/{name}/{deed}"
        return await self.call("POST", url, authorization=f"Bearer {self.token}")


@pytest.fixture
async def port(data: Path, folder: Path, write: Write) -> AsyncIterator[Port]:
    write("hello", COUNTING)
    write("broken", "raise ValueError('no ink')")
    settings = load(
        environment={"DOWNSTAGE_EXTS__HELLO__WROD": "x"},
        overrides={
            "platform.data": data / "d",
            "extensions.folders": [folder],
            "extensions.installed": False,
        },
    )
    urls = PlatformUrls("http://127.0.0.1:0", "unix:///nowhere")
    socks = [open_port("127.0.0.1", 0) for _ in range(2)]
    async with ServiceHost(settings, urls, services=("identity",), extensions=True).run() as host:
        identity = host.extension("identity")
        assert isinstance(identity, Identity)
        servers = [Server(operator_app(host), socks[:1]), Server(host.public_app, socks[1:])]
        async with anyio.create_task_group() as tasks:
            addresses = [f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in socks]
            for server in servers:
                tasks.start_soon(server.run)
                await server.wait_started()
            yield Port(host, *addresses, await identity.operator_token())
            for server in servers:
                server.stop()


async def test_what_failed_is_told_with_its_traceback(port: Port) -> None:
    status, told = await port.call("GET", f"{port.url}/extensions")
    assert status == 200
    found = {item["name"]: item for item in told}
    assert found.keys() == {"identity", "hello", "broken"}
    assert found["broken"]["state"] == "failed"
    assert found["broken"]["reason"] == "ValueError: no ink"
    assert "raise ValueError('no ink')" in found["broken"]["traceback"]
    assert found["hello"]["state"] == "running"
    assert found["hello"]["settings_unknown"] == ["wrod"]
    assert found["hello"]["start_ms"] < 1000
    status, told = await port.call("GET", f"{port.url}/ready")
    assert status == 200, "an extension that failed takes nobody down"
    assert told["ready"] is True
    assert told["services"] == {"identity": "running"}
    assert told["failed"] == {"broken": "ValueError: no ink"}


async def test_the_operator_disables_and_enables(port: Port) -> None:
    hello = f"{port.public}/hello"
    assert await port.call("GET", hello) == (200, "hello")
    assert "hello_calls_total 1.0" in (await port.call("GET", f"{port.url}/metrics"))[1]
    status, told = await port.change("hello", "disable")
    assert (status, told["state"]) == (200, "stopped")
    assert (await port.call("GET", hello))[0] == 404
    assert "hello_calls" not in (await port.call("GET", f"{port.url}/metrics"))[1]
    status, told = await port.change("hello-1.0.0", "enable")
    assert (status, told["state"]) == (200, "running")
    assert await port.call("GET", hello) == (200, "hello")
    status, told = await port.change("hello", "reload")
    assert (status, told["state"]) == (200, "running")


async def test_what_cannot_be_changed(port: Port) -> None:
    assert (await port.change("nobody", "disable"))[0] == 404
    assert (await port.change("identity", "disable"))[0] == 409
    assert (await port.change("hello", "destroy"))[0] == 422


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"cookie": "a=b"}])
async def test_without_the_operator_s_token_nothing_is_changed(
    port: Port, headers: dict[str, str]
) -> None:
    """As a page in a browser would try: it can send a request here, but no token."""
    url = f"{port.url}/extensions/hello/disable"
    status, _ = await port.call("POST", url, origin="https://evil.example", **headers)
    assert status == 401
    assert port.host.lifecycle.units["hello"].state == "running"


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8602", "10.0.0.1", "", "[::2]:1"])
async def test_a_name_that_was_pointed_here_is_refused(port: Port, name: str) -> None:
    status, _ = await port.call("GET", f"{port.url}/extensions", host=name)
    assert status in (400, 403)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:8602"])
async def test_loopback_names_are_answered(port: Port, name: str) -> None:
    assert (await port.call("GET", f"{port.url}/extensions", host=name))[0] == 200
