"""A host whose settings name NATS: its bus, and its services under their names there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from downstage.bus import MemoryBus
from downstage.bus.nats import NatsBus
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings, load
from downstage.services import AsyncClient
from downstage.services.context import PlatformUrls
from downstage.services.errors import ServiceNotFoundError
from downstage.services.host import ServiceHost
from downstage.services.transports import close_transports
from downstage.testing.nats import NatsServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

URLS = PlatformUrls("http://127.0.0.1:1", "unix:///nowhere")


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer() as running:
        yield running


def settings_for(data: Path, **more: str) -> Settings:
    overrides = {"platform.data": data, **{k.replace("__", "."): v for k, v in more.items()}}
    return load(environment={}, overrides=overrides)


async def test_a_service_is_reached_by_its_name_on_nats(data: Path, server: NatsServer) -> None:
    settings = settings_for(data, bus__url=server.url, services__identity=f"{server.url}/identity")
    host = ServiceHost(settings, URLS, services=("identity",))
    assert isinstance(host.bus, NatsBus)
    async with host.run():
        client = AsyncClient(f"{server.url}/identity")
        keys = await client.v1[".well-known"]["jwks.json"].get()
        assert keys["keys"]
        async with host.bus.subscribe("a") as hints:
            host.bus.publish("a", {"n": 1})
            with anyio.fail_after(20):
                assert (await anext(hints)).payload == {"n": 1}
    with pytest.raises(ServiceNotFoundError):
        await AsyncClient(f"{server.url}/identity").v1[".well-known"]["jwks.json"].get()
    await close_transports()


async def test_an_address_without_a_host_means_the_servers_of_the_bus(
    data: Path, server: NatsServer
) -> None:
    settings = settings_for(data, bus__url=server.url, services__identity="nats:///identity")
    async with ServiceHost(settings, URLS, services=("identity",)).run():
        assert await AsyncClient("nats:///identity").v1[".well-known"]["jwks.json"].get()


async def test_services_of_others_are_not_served_here(data: Path, server: NatsServer) -> None:
    settings = settings_for(data, bus__url=server.url, services__agent=f"{server.url}/agent")
    async with ServiceHost(settings, URLS, services=("identity",)).run():
        with pytest.raises(ServiceNotFoundError):
            await AsyncClient(f"{server.url}/agent").v1.applications.get()


async def test_it_starts_while_nats_is_away_and_is_served_when_it_comes(data: Path) -> None:
    with NatsServer() as server:
        server.kill()
        settings = settings_for(
            data, bus__url=server.url, services__identity=f"{server.url}/identity"
        )
        with anyio.fail_after(30):
            async with ServiceHost(settings, URLS, services=("identity",)).run():
                server.start()
                client = AsyncClient("nats:///identity")
                while True:
                    try:
                        await client.v1[".well-known"]["jwks.json"].get()
                    except ServiceNotFoundError:
                        await anyio.sleep(0.05)
                    else:
                        break


async def test_without_a_server_hints_stay_here(data: Path) -> None:
    assert isinstance(ServiceHost(settings_for(data), URLS).bus, MemoryBus)


async def test_ill_formed_addresses_are_set_up_errors(data: Path) -> None:
    with pytest.raises(SetupError, match=r"bus\.url"):
        ServiceHost(settings_for(data, bus__url="http://h"), URLS)
    host = ServiceHost(
        settings_for(data, services__identity="nats://h/a.b"), URLS, services=("identity",)
    )
    with pytest.raises(SetupError, match=r"services\.identity"):
        async with host.run():
            pass
