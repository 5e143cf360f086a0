"""Addresses of engines, and what may be on another machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from downstage.contracts.manager import Needs, PortWish
from downstage.kernel.errors import Unavailable
from downstage.spawners.exec import Exec
from downstage.spawners.remote.reach import Reach, why_not_elsewhere
from downstage.spawners.remote.ways import Address, address_of, ssh_command
from downstage.spawners.remote.wire import error_of, fault_of, packed, report_of, unpacked
from downstage.spawners.spawner import Adoption, InstanceSpec, NodeUnreachable, SpawnFailed

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("engine", "address"),
    [
        ("unix:///run/podman/podman.sock", Address("unix", path="/run/podman/podman.sock")),
        ("tcp://10.1.2.3", Address("tls", "10.1.2.3", 2376)),
        ("https://node.example:99", Address("tls", "node.example", 99)),
        ("tcp://[fd00::1]:99", Address("tls", "fd00::1", 99)),
        ("http://127.0.0.1:2375", Address("plain", "127.0.0.1", 2375)),
        ("ssh://me@node", Address("ssh", "node", None, "me", "/run/podman/podman.sock")),
        (
            "ssh://node:22/var/run/docker.sock",
            Address("ssh", "node", 22, "", "/var/run/docker.sock"),
        ),
    ],
)
def test_addresses(engine: str, address: Address) -> None:
    assert address_of(engine) == address


@pytest.mark.parametrize(
    "engine",
    [
        "http://10.1.2.3:2375",
        "http://node.example",
        "ssh://-oProxyCommand=id",
        "ssh://me:secret@node",
        "ssh://-l@node",
        "ssh://",
        "tcp://me@node",
        "tcp://node/path",
        "tcp://node:99999",
        "unix://host/path",
        "ftp://node",
        "tcp://a b",
    ],
)
def test_S01_addresses_that_are_refused(engine: str) -> None:
    with pytest.raises(ValueError, match=r"plain text|no address"):
        address_of(engine)


def test_S01_ssh_asks_nobody_and_trusts_no_stranger() -> None:
    command = ssh_command(address_of("ssh://me@node:2222/run/x.sock"), Path("/tmp/y"))
    assert command[-4:] == ["-L", "/tmp/y:/run/x.sock", "--", "node"]
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ExitOnForwardFailure=yes"):
        assert option in command
    assert command[command.index("-l") + 1] == "me"


@pytest.mark.parametrize(
    ("url", "is_reached"),
    [
        (None, True),
        ("https://gateway.example", True),
        ("http://10.0.0.1:8600", True),
        ("unix:///run/platform.sock", False),
        ("http://localhost:8600", False),
        ("http://[::1]:8600", False),
        ("http://127.8.8.8", False),
    ],
)
def test_gateways_that_are_reached_from_elsewhere(url: str | None, is_reached: bool) -> None:
    reach = Reach(url, ["http://127.0.0.1", "https://other.example"])
    assert (reach.why_not is None) == is_reached
    assert reach.others == ("https://other.example",)


def test_records_travel_whole_with_their_secrets() -> None:
    spec = InstanceSpec(
        instance_id="i-1",
        session_id="s-1",
        command=("a", "b"),
        display_kind="x11",
        instance_token=SecretStr("token"),
        link_url="https://gateway.example",
        link_urls=("https://other.example",),
        folder=Path("/x"),
        access_token=SecretStr("access"),
        needs=Needs(cpus=0.5),
        ports=(PortWish(name="api", number=80, type="TCP"),),
        largest=(1, 2),
        ice_servers=({"urls": "turn:x"},),
    )
    assert unpacked(InstanceSpec, packed(spec)) == spec
    adoption = Adoption("i-2", "s-2", SecretStr("token"), "https://gateway.example")
    assert unpacked(Adoption, packed(adoption)) == adoption
    asked = unpacked(Exec, packed(Exec(("a",), {"b": "c"}, tty=True)))
    assert (list(asked.command), asked.environment, asked.tty) == (["a"], {"b": "c"}, True)
    with pytest.raises(SpawnFailed) as failed:
        unpacked(InstanceSpec, {**packed(spec), "display_kind": "secret"})
    assert "secret" not in failed.value.detail
    assert why_not_elsewhere(spec) is None


def test_errors_and_reports_of_another_version() -> None:
    for error in (NodeUnreachable("a"), SpawnFailed("b"), Unavailable("c")):
        again = fault_of(error_of(error))
        assert (type(again), again.detail) == (type(error), error.detail)
    assert type(fault_of({"code": "unheard-of", "detail": "x"})) is SpawnFailed
    assert report_of({"instance_id": "i-1", "phase": "running", "new": 1}).phase == "running"
