"""A region's own NATS server as a leaf of the platform's: TLS, a token, and what stays at home."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from pydantic import SecretStr

from downstage.bus.nats import NatsBus
from downstage.bus.nats_options import NatsOptions, from_settings
from downstage.bus.nats_pool import close_connections, configured
from downstage.kernel.settings import Bus
from downstage.services.errors import ServiceNotFoundError
from downstage.services.nats_service import serve_nats
from downstage.services.server import open_port
from downstage.services.transports import Call, create
from downstage.testing.nats import NatsServer

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

TOKEN = "central-token"
CALL_S = 20


@dataclass(frozen=True)
class Servers:
    """The platform's server and a region's."""

    central: NatsOptions
    leaf: NatsServer


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("leaf")
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    names = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    ca.cert_pem.write_to_path(str(names["ca"]))
    issued.cert_chain_pems[0].write_to_path(str(names["cert"]))
    issued.private_key_pem.write_to_path(str(names["key"]))
    tls = f'tls {{ cert_file: "{names["cert"]}", key_file: "{names["key"]}" }}'
    with open_port("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    central = f"""
        {tls}
        authorization {{ token: "{TOKEN}" }}
        leafnodes {{
            listen: "127.0.0.1:{port}"
            {tls}
            authorization {{ user: eu, password: of-eu }}
        }}
    """
    leaf = f"""
        leafnodes {{ remotes = [ {{
            url: "tls://eu:of-eu@127.0.0.1:{port}"
            tls {{ ca_file: "{names["ca"]}" }}
            deny_exports: ["downstage.bus.manager.>"]
        }} ] }}
    """
    with NatsServer(central) as first, NatsServer(leaf) as second:
        yield Servers(_options(first, names["ca"]), second)


def _options(server: NatsServer, ca: Path) -> NatsOptions:
    given = Bus(url=SecretStr(server.url), token=SecretStr(TOKEN), tls_ca=ca)
    options = from_settings(given)
    assert options is not None
    return options


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    await close_connections()


async def agent(scope: Any, receive: Any, send: Any) -> None:
    del receive
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def test_an_agent_behind_a_leaf_is_called_and_heard(servers: Servers) -> None:
    """Calls go down, announcements come up; what managers tell stays in their region."""
    address = f"{servers.leaf.url}/agent-eu"
    region = NatsBus(from_settings(Bus(url=SecretStr(servers.leaf.url))) or servers.central)
    central = NatsBus(servers.central)
    async with anyio.create_task_group() as tasks:
        for bus in (region, central):
            tasks.start_soon(bus.run)
        with anyio.fail_after(60), configured(servers.central):
            async with (
                central.subscribe(">") as heard,
                region.subscribe("manager.>") as at_home,
                serve_nats(agent, address, drain_s=0),
            ):
                answer = await _call("nats:///agent-eu")
                assert answer == b"/v1/health"
                region.publish("manager.instance.changed", {"n": 1})
                region.publish("agent.eu.announce", {"n": 2})
                told = [await anext(heard)]
                while told[-1].payload != {"n": 2}:
                    told.append(await anext(heard))
                assert (await anext(at_home)).payload == {"n": 1}
                assert {item.subject for item in told if item.subject} == {"agent.eu.announce"}
        tasks.cancel_scope.cancel()


async def _call(uri: str) -> bytes:
    """Once the leaf has told of its service, which takes a moment."""
    with anyio.fail_after(CALL_S):
        while True:
            try:
                call = Call("GET", "/v1/health", timeout_s=CALL_S)
                return (await create(uri).request(call)).body
            except ServiceNotFoundError:
                await anyio.sleep(0.05)
