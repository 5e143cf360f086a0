"""A whole platform of several regions on one machine: every part a process on a host of its own.

::

    with RegionsPlatform(folder / "data") as platform:
        session = platform.create("test-card", region="eu")
        platform.kill_service("agent-eu")
        platform.start_service("agent-eu")
        platform.cut("manager-eu")
        platform.heal("manager-eu")

Hosts are network namespaces on two switches (`downstage.testing.networks`). On ``control`` stand
identity, the database, NATS, gateways, agents and managers; on ``media`` gateways, the hosts
of managers, where instances run, and the tests' own process. So each part can be cut off from the
others while pictures find their way. It needs root.
"""

from __future__ import annotations

import json
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from downstage.auth.seal import Sealer
from downstage.testing.nats import NatsServer
from downstage.testing.networks import Net, Networks
from downstage.testing.platform import Answer, PlatformProcess, processes_of
from downstage.testing.postgres import PostgresServer
from downstage.testing.serving import ServiceProcess

__all__ = ["CORE", "NATS", "RegionsPlatform"]

CORE, NATS = "core", "nats"
"""Hosts: of identity and the database, and of the bus."""
PORTS = {"identity": 8610, "manager": 8611, "agent": 8612, "gateway": 8600}
PLACES = {"eu": (52.5, 13.4), "us": (40.7, -74.0), "asia": (35.7, 139.7)}
NO_PROXY = json.dumps(["192.0.2.0/24"])
"""A network where nobody is: the hosts' own is private, and no proxy stands before them."""


class RegionsPlatform(PlatformProcess):
    """Regions, gateways on one database, identity, NATS; a context manager that leaves nothing.

    Services are called ``identity``, ``gateway``, ``gateway-2``, ``agent-<region>`` and
    ``manager-<region>``, the bus ``nats``. ``facts`` has the address of each gateway by its name,
    and calls go to ``facts["url"]``, at first the first gateway.

    Args:
        data: the folder of all.
        regions: their names.
        gateways: how many.
        settings: further ones of all services, dotted.
    """

    def __init__(
        self,
        data: Path,
        *,
        regions: Sequence[str] = ("eu", "us", "asia"),
        gateways: int = 2,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(data)
        self.regions = tuple(regions)
        self.gateways = ("gateway", *(f"gateway-{number}" for number in range(2, gateways + 1)))
        agents = [f"agent-{name}" for name in regions]
        managers = [f"manager-{name}" for name in regions]
        self.networks = Networks(
            control=(CORE, NATS, *self.gateways, *agents, *managers),
            media=(*self.gateways, *managers),
        )
        self.nats = NatsServer()
        self._more = dict(settings or {})
        self._services: dict[str, ServiceProcess] = {}
        self._stack = ExitStack()

    def start(self) -> None:
        """Start all; returns when every region answers at every gateway.

        Raises:
            RuntimeError: something did not start; the text has the end of its output.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self.data.mkdir(mode=0o700, parents=True)
        secret = self.data / "services.secret"
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(32), encoding="ascii")
        networks = self._stack.enter_context(self.networks)
        core = networks.address(CORE, "control")
        self.nats = NatsServer(prefix=networks.enter(NATS), host=networks.address(NATS, "control"))
        self._stack.enter_context(self.nats)
        self._begin("identity", {})
        postgres = PostgresServer(host=core, prefix=networks.enter(CORE))
        database = self._stack.enter_context(postgres).database()
        self._services["identity"].wait()
        gateways = {name: self._gateway(name, database) for name in self.gateways}
        for region in self.regions:
            self._begin(f"manager-{region}", {})
            self._begin(f"agent-{region}", self._agent(region))
        for name, settings in gateways.items():
            self._share_key(name)
            self._begin(name, settings)
        for name, service in self._services.items():
            if name != "identity":
                service.wait()
        token = self.data / "identity" / "run" / "operator.token"
        self.facts |= {name: self.url_of(name) for name in self.gateways}
        self.facts |= {
            "url": self.url_of("gateway"),
            "token": token.read_text(encoding="ascii").strip(),
        }
        for name in self.gateways:
            self.until_answering(*self.regions, gateway=name)

    def url_of(self, gateway: str) -> str:
        """Where browsers and streamers reach *gateway*, before it has started, too."""
        return f"http://{self.networks.address(gateway, 'media')}:{PORTS['gateway']}"

    def _gateway(self, name: str, database: str) -> dict[str, object]:
        peers = [self.url_of(other) for other in self.gateways if other != name]
        return {
            "platform.host": "0.0.0.0",  # noqa: S104 - on both switches
            "platform.public_url": self.url_of(name),
            "platform.database": database,
            "gateway.discover": "true",
            "gateway.url": self.url_of(name),
            "gateway.peers": json.dumps(peers),
        }

    def _agent(self, region: str) -> dict[str, object]:
        latitude, longitude = PLACES.get(region, (0.0, 0.0))
        manager = self.networks.address(f"manager-{region}", "control")
        return {
            "services.manager": f"http://{manager}:{PORTS['manager']}",
            "agent.region": region,
            "agent.announce": "true",
            "agent.latitude": latitude,
            "agent.longitude": longitude,
        }

    def _begin(self, name: str, settings: Mapping[str, object]) -> None:
        kind = name.partition("-")[0]
        host = CORE if name == "identity" else name
        core = self.networks.address(CORE, "control")
        given = {
            "platform.host": self.networks.address(host, "control"),
            "platform.behind_proxy": NO_PROXY,
            "services.secret_file": self.data / "services.secret",
            "services.identity": f"http://{core}:{PORTS['identity']}",
            "services.gateway": "nats:///gateway",
            "bus.url": self.nats.url,
            **settings,
            **self._more,
        }
        if kind in ("identity", "gateway"):
            del given[f"services.{kind}"]
        service = ServiceProcess(
            kind, self.data / name, given, port=PORTS[kind], prefix=self.networks.enter(host)
        )
        self._services[name] = service
        service.begin()

    def _share_key(self, name: str) -> None:
        """Gateways on one database read what the others sealed."""
        first, own = (self.data / folder / "gateway.key" for folder in ("gateway", name))
        own.parent.mkdir(mode=0o700)
        Sealer.from_file(first)  # makes it, the first time
        if not own.exists():
            own.touch(mode=0o600)
            own.write_bytes(first.read_bytes())

    def kill_service(self, name: str) -> None:
        """``kill -9`` for one service, or for ``nats``."""
        (self.nats if name == NATS else self._services[name]).kill()

    def start_service(self, name: str) -> None:
        """Start it again; returns once it answers."""
        (self.nats if name == NATS else self._services[name]).start()

    def cut(self, name: str, net: Net | None = None) -> None:
        """Pull the cables of its host: of ``control`` for a manager, whose instances play on."""
        self.networks.cut(*self._cables(name, net))

    def heal(self, name: str, net: Net | None = None) -> None:
        """Put them back."""
        self.networks.heal(*self._cables(name, net))

    def _cables(self, name: str, net: Net | None) -> tuple[str, Net | None]:
        return name, net or ("control" if name.startswith("manager") else None)

    def call_manager(self, region: str, method: str, path: str) -> Answer:
        """One request to the manager of *region*, from its own host."""
        url = f"http://{self.networks.address(f'manager-{region}', 'control')}:{PORTS['manager']}"
        caller = PlatformProcess(self.data)
        caller.facts = {"url": url, "token": self.facts["token"]}
        return self.networks.inside(f"manager-{region}", lambda: caller.call(method, path))

    def instances(self, region: str) -> dict[str, str]:
        """What the manager of *region* says is running: session → instance."""
        items = self.call_manager(region, "GET", "/v1/instances").body["items"]
        return {item["session_id"]: item["id"] for item in items if item["state"] != "ended"}

    def sessions(self, region: str, gateway: str = "gateway") -> dict[str, dict[str, Any]]:
        """Sessions of *region* that have not ended, as *gateway* answers."""
        items = self.call_at(gateway, "GET", "/v1/sessions").body["items"]
        return {
            item["id"]: item
            for item in items
            if item["region"] == region and item["state"] != "ended"
        }

    def streamer_of(self, region: str, session_id: str) -> int:
        """Process id of the session's streamer.

        Raises:
            LookupError: it has none.
        """
        instance = self.instances(region)[session_id]
        for pid, command in processes_of(str(self.data / f"manager-{region}")).items():
            if "-m downstage.streamer" in command and instance in command:
                return pid
        raise LookupError(f"no streamer of {instance}")

    def call_at(self, gateway: str, method: str, path: str, body: object = None) -> Answer:
        """One request to *gateway*."""
        before, self.facts["url"] = self.facts["url"], self.url_of(gateway)
        try:
            return self.call(method, path, body)
        finally:
            self.facts["url"] = before

    def until_answering(
        self, *names: str, gateway: str = "gateway", deadline_s: float = 30
    ) -> float:
        """Seconds until *gateway* holds exactly these regions to answer.

        Raises:
            RuntimeError: the deadline passed.
        """
        began = time.monotonic()
        while True:
            items = self.call_at(gateway, "GET", "/v1/regions").body["items"]
            took = time.monotonic() - began
            if {item["name"] for item in items if item["answering"]} == set(names):
                return took
            if took > deadline_s:
                raise RuntimeError(f"waited for {names}: {items}")
            time.sleep(0.05)

    def output(self) -> str:
        """What every service has written to standard error."""
        texts = [f"--- {name}\n{item.output()}" for name, item in self._services.items()]
        return "\n".join(texts)

    @property
    def pid(self) -> int:
        """The first gateway's."""
        return self._services["gateway"].pid

    def _end(self, number: signal.Signals) -> float:
        began = time.monotonic()
        while self._services:
            _, service = self._services.popitem()  # the last started first
            if number == signal.SIGKILL:
                service.kill()
            else:
                service.stop()
        self._stack.close()
        return time.monotonic() - began
