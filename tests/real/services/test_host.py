"""The host finds extensions, starts them in order, wires them, and stops them in reverse."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings, load
from downstage.services import AsyncClient, host
from downstage.services.context import PlatformUrls
from downstage.services.errors import BaseServiceError, ServiceUnavailableError
from downstage.services.extension import IExt
from downstage.services.host import ServiceHost
from downstage.services.routers import ServiceAPIRouter
from downstage.services.server import Server, open_port
from downstage.testing.watchdog import RUNNER, Watchdog

pytestmark = [pytest.mark.real, pytest.mark.anyio]

happened: list[str] = []


class Base(IExt):
    """Says what happens to it, and answers under its own name."""

    name = ""

    async def on_startup(self, ext_id: str) -> None:
        assert ext_id == f"{self.name}-1.0"
        happened.append(f"{self.name} starts")
        open_to_all, inside = ServiceAPIRouter(), ServiceAPIRouter()
        open_to_all.add_api_route(f"/v1/{self.name}", self.tell)
        inside.add_api_route(f"/v1/{self.name}-inside", self.tell)
        self.context.public(open_to_all)
        self.context.internal(inside)
        self.context.start(self.work, 7, name="work")

    async def tell(self) -> dict[str, Any]:
        return {"name": self.name, "data": str(self.context.data)}

    async def work(self, number: int) -> None:
        assert number == 7
        try:
            await anyio.sleep_forever()
        finally:
            happened.append(f"{self.name} idle")

    async def on_shutdown(self) -> None:
        happened.append(f"{self.name} stops")


class One(Base):
    name = "one"


class Two(Base):
    name = "two"

    async def on_startup(self, ext_id: str) -> None:
        await super().on_startup(ext_id)
        answer = await AsyncClient("local://one").v1.one.get()
        happened.append(f"two asks {answer['name']}")
        self.context.on_ready(self.ready)

    async def ready(self) -> None:
        happened.append("two ready")


class Fails(Base):
    name = "fails"

    async def on_startup(self, ext_id: str) -> None:
        await super().on_startup(ext_id)
        raise SetupError("The disk is full.")


class Hangs(Base):
    name = "hangs"

    async def on_startup(self, ext_id: str) -> None:
        await anyio.sleep_forever()


class NeverReady(Base):
    name = "never-ready"

    async def on_startup(self, ext_id: str) -> None:
        self.context.on_ready(anyio.sleep_forever)


class StopsBadly(Base):
    name = "stops-badly"

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        raise ValueError("cannot stop")


class StopsNever(Base):
    name = "stops-never"

    async def on_shutdown(self) -> None:
        await super().on_shutdown()
        await anyio.sleep_forever()


class Plain(IExt):
    """An extension of the simple kind: nothing asynchronous, no arguments."""

    def on_startup(self) -> None:  # type: ignore[override]
        happened.append("plain starts")

    def on_shutdown(self) -> None:
        happened.append("plain stops")


KINDS = (One, Two, Fails, Hangs, NeverReady, StopsBadly, StopsNever)


@pytest.fixture(autouse=True)
def _installed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Extensions installed as any distribution installs them: by entry points."""
    module = ModuleType("downstage_test_extensions")
    for kind in (*KINDS, Plain):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    info = data / "site" / "downstage_test_extensions-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1.0\n")
    lines = [f"{kind.name} = {module.__name__}:{kind.__name__}" for kind in KINDS]
    lines += [f"plain = {module.__name__}:Plain", "odd = pathlib:Path"]
    (info / "entry_points.txt").write_text("[downstage.extensions]\n" + "\n".join(lines))
    monkeypatch.syspath_prepend(str(info.parent))
    happened.clear()


@pytest.fixture
def settings(data: Path) -> Settings:
    return load(environment={}, overrides={"platform.data": data / "data"})


@asynccontextmanager
async def running(settings: Settings, *names: str) -> AsyncGenerator[ServiceHost]:
    urls = PlatformUrls("http://127.0.0.1:0", "unix:///nowhere")
    with anyio.fail_after(20):
        async with ServiceHost(settings, urls, services=names).run() as ready:
            yield ready


async def test_services_start_in_order_and_stop_in_reverse(
    settings: Settings, loop_watchdog: Watchdog
) -> None:
    loop_watchdog.own = RUNNER  # a host is made in it, before it serves anybody
    async with running(settings, "one", "two", "plain") as ready:
        assert happened == ["one starts", "two starts", "two asks one", "plain starts", "two ready"]
        assert settings.platform.data.stat().st_mode & 0o777 == 0o700
        assert (await AsyncClient("local://two").v1.two.get())["data"] == str(
            settings.platform.data
        )
        assert isinstance(ready.extension("two"), Two)
        await anyio.wait_all_tasks_blocked()
        happened.clear()
    assert happened == ["plain stops", "two idle", "two stops", "one idle", "one stops"]
    with pytest.raises(ServiceUnavailableError):
        await AsyncClient("local://one").v1.one.get()


async def test_a_service_may_run_twice_in_one_process_one_after_the_other(
    settings: Settings,
) -> None:
    for _ in range(3):
        async with running(settings, "one"):
            assert (await AsyncClient("local://one").v1.one.get())["name"] == "one"


async def test_internal_routes_are_not_public(settings: Settings) -> None:
    async with running(settings, "one") as ready:
        public = AsyncClient("local://", ready.public_app)
        assert (await public.v1.one.get())["name"] == "one"
        assert (await AsyncClient("local://one").v1.one_inside.get())["name"] == "one"
        with pytest.raises(BaseServiceError, match="404"):
            await public.v1.one_inside.get()


async def test_a_failed_start_stops_what_ran_and_tells_why(settings: Settings) -> None:
    with pytest.raises(SetupError, match="disk is full"):
        async with running(settings, "one", "fails", "two"):
            pytest.fail("not reached")
    assert happened[-1] == "one stops"
    assert "fails stops" in happened  # it had begun
    assert "two starts" not in happened


async def test_an_error_of_the_body_comes_out_as_it_is(settings: Settings) -> None:
    with pytest.raises(KeyError):
        async with running(settings, "one"):
            raise KeyError("mine")
    assert happened[-1] == "one stops"


async def test_cancellation_stops_everything(settings: Settings) -> None:
    with anyio.CancelScope() as scope:
        async with running(settings, "one", "two"):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert [line for line in happened if "stops" in line] == ["two stops", "one stops"]


@pytest.mark.parametrize("name", ["hangs", "never-ready"])
async def test_a_start_has_a_deadline(
    settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "START_S", 1.0)
    with pytest.raises((SetupError, TimeoutError)):
        async with running(settings, "one", name):
            pytest.fail("not reached")
    assert happened[-1] == "one stops"


@pytest.mark.parametrize("name", ["stops-badly", "stops-never"])
async def test_one_that_does_not_stop_holds_up_nobody(
    settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "STOP_S", 0.1)
    async with running(settings, "one", name):
        pass
    assert [line for line in happened if "stops" in line][-2:] == [f"{name} stops", "one stops"]


@pytest.mark.parametrize("name", ["absent", "odd"])
async def test_what_is_not_installed_is_named(settings: Settings, name: str) -> None:
    with pytest.raises(SetupError, match=name):
        async with running(settings, name):
            pytest.fail("not reached")


async def test_asking_for_one_that_does_not_run_here(settings: Settings) -> None:
    async with running(settings, "one") as ready:
        assert ready.app("one").title == "Downstage one"
        for ask in (ready.app, ready.extension):
            with pytest.raises(SetupError, match="two"):
                ask("two")


async def test_a_service_elsewhere_is_reached_by_its_address(settings: Settings) -> None:
    """The same call, once in this process and once over HTTP."""
    async with running(settings, "one") as ready, contextlib.AsyncExitStack() as stack:
        sock = open_port("127.0.0.1", 0)
        server = Server(ready.app("one"), [sock])
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(server.run)
        await server.wait_started()
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        assert (
            await AsyncClient(address).v1.one.get() == await AsyncClient("local://one").v1.one.get()
        )
        server.stop()
