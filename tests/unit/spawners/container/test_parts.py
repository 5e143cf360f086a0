"""The pure parts of containers: bodies, rules, progress, log-ins, counters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from downstage.kernel.errors import SetupError
from downstage.spawners.container import egress
from downstage.spawners.container.body import create_body
from downstage.spawners.container.engine import socket_path
from downstage.spawners.container.images import Progress
from downstage.spawners.container.memory import counter_of
from downstage.spawners.container.plan import ContainerPlan, Seams
from downstage.spawners.container.ports import NoPort, choose
from downstage.spawners.container.registries import login_for, registry_of

pytestmark = pytest.mark.unit


def plan(**changes: Any) -> ContainerPlan:
    values: dict[str, Any] = {
        "instance_id": "i-1",
        "engine": "/e.sock",
        "place": "here",
        "is_podman": True,
        "image": "sha256:1",
        "uid": 61184,
        "gid": 61184,
    }
    return ContainerPlan(**{**values, **changes})


def body(found: ContainerPlan, *ports: dict[str, Any], keeper: int | None = None) -> dict[str, Any]:
    return create_body(found, Seams({"A": "1"}, [["/here", "/run/app", "rw"]], keeper), ports)


@pytest.mark.parametrize("is_podman", [True, False])
@pytest.mark.parametrize("network", [True, False])
def test_S01_every_container_has_its_walls(is_podman: bool, network: bool) -> None:
    host = body(plan(is_podman=is_podman, network=network), keeper=7)["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["PidsLimit"] > 0
    assert host["NetworkMode"] == ("bridge" if network else "none")
    assert host["Devices"] == []
    assert [mount["Source"] for mount in host["Mounts"]] == ["/here"]
    assert not {"Binds", "PidMode", "UTSMode", "VolumesFrom", "CapAdd"} & host.keys()
    assert ("IpcMode" in host) == is_podman


@pytest.mark.parametrize(
    ("command", "entrypoint", "rest"),
    [
        ([], None, None),
        (["--fast", "; rm -rf /"], None, ["--fast", "; rm -rf /"]),
        (["/bin/app", "-v/:/host"], ["/bin/app"], ["-v/:/host"]),
    ],
)
def test_S01_commands_are_vectors(
    command: list[str], entrypoint: list[str] | None, rest: list[str] | None
) -> None:
    found = body(plan(command=command))
    assert (found.get("Entrypoint"), found.get("Cmd")) == (entrypoint, rest)


def test_S01_labels_of_callers_never_become_ours() -> None:
    labels = body(plan(labels={"org.downstage.place": "other"}))["Labels"]
    assert labels["org.downstage.place"] == "here"
    assert labels["org.downstage.user.org.downstage.place"] == "other"


def test_volumes_of_an_image_are_memory_with_a_bound() -> None:
    scratch = body(plan(volumes=["/data", "/tmp"], scratch_mb=64))["HostConfig"]["Tmpfs"]
    assert {"/tmp", "/var/tmp", "/run", "/home/app", "/data"} == set(scratch)
    assert all("size=64m" in options and "nodev" in options for options in scratch.values())


def test_ports_listen_where_the_platform_does() -> None:
    port = {"name": "web-1", "number": 80, "type": "TCP", "host": "h", "published": 32001}
    found = body(plan(network=True), port)
    assert found["ExposedPorts"] == {"80/tcp": {}}
    assert "DOWNSTAGE_PORT_WEB_1=80" in found["Env"]
    bindings = found["HostConfig"]["PortBindings"]
    assert bindings == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32001"}]}
    wide = body(plan(network=True, host="192.0.2.1"), port)["HostConfig"]["PortBindings"]
    assert wide["80/tcp"][0]["HostIp"] == ""


def test_ports_are_chosen_once_each_and_run_out() -> None:
    wishes = [
        {"name": str(n), "number": 0, "type": kind} for n in (1, 2) for kind in ("TCP", "UDP")
    ]
    found = choose(wishes, (42_000, 42_300), "h")
    assert len({port["published"] for port in found}) == 4
    assert all(port["number"] == port["published"] for port in found)
    with pytest.raises(NoPort, match=r"manager\.user_ports"):
        choose(wishes, (42_000, 42_002), "h")


def test_S02_rules_refuse_this_machine_and_what_is_near() -> None:
    port = {"number": 8011, "type": "TCP"}
    lines = egress.rules(["203.0.113.9"], ["10.0.0.53"], [port]).splitlines()
    assert lines.index("-A OUTPUT -d 10.0.0.53 -p udp --dport 53 -j ACCEPT") < lines.index(
        "-A OUTPUT -d 10.0.0.0/8 -j REJECT"
    )
    for network in ("169.254.0.0/16", "192.168.0.0/16", "172.16.0.0/12", "203.0.113.9"):
        assert f"-A OUTPUT -d {network} -j REJECT" in lines
    assert ":INPUT DROP [0:0]" in lines
    assert "-A INPUT -p tcp --dport 8011 -j ACCEPT" in lines
    assert lines[0] == "*filter"
    assert lines[-1] == "COMMIT"


def test_resolvers_are_addresses_and_nothing_else() -> None:
    text = "# x\nnameserver 10.0.0.2\nnameserver 127.0.0.53\nnameserver -j\nnameserver fe80::1\n"
    assert egress.resolvers(text) == ["10.0.0.2"]


def test_own_addresses_are_read_from_the_kernel_s_table() -> None:
    table = " |-- 10.88.0.1\n    /32 host LOCAL\n |-- 10.88.0.9\n    /24 link UNICAST\n"
    assert egress.addresses_of_this_machine(table) == ["10.88.0.1"]
    assert "127.0.0.1" in egress.addresses_of_this_machine()


def test_progress_counts_bytes_where_they_are_told_and_layers_where_not() -> None:
    progress = Progress()
    assert progress.percent is None
    progress.learn({"status": "Pulling fs layer", "id": "a"})
    progress.learn({"status": "Pulling fs layer", "id": "b"})
    assert progress.percent == 0
    progress.learn({"status": "Download complete", "id": "a"})
    assert progress.percent == 50
    progress.learn(
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 25, "total": 100}}
    )
    assert progress.percent == 25
    progress.learn({"status": "Pull complete", "id": "b"})
    progress.learn({"status": "Status: done"})
    assert progress.percent == 100


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("alpine", "docker.io"),
        ("team/app:1", "docker.io"),
        ("quay.io/team/app@sha256:1", "quay.io"),
        ("localhost/app", "localhost"),
        ("127.0.0.1:5000/app:2", "127.0.0.1:5000"),
    ],
)
def test_a_reference_names_its_registry(reference: str, registry: str) -> None:
    assert registry_of(reference) == registry


def test_log_ins_are_read_from_a_file_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "registries.toml"
    path.write_text('["quay.io"]\nuser = "me"\npassword = "secret"\n')
    path.chmod(0o644)
    with pytest.raises(SetupError, match="chmod 600"):
        login_for(path, "quay.io/a")
    path.chmod(0o600)
    found = login_for(path, "quay.io/a:1")
    assert found == {"username": "me", "password": "secret", "serveraddress": "quay.io"}
    assert login_for(path, "docker.io/a") is None
    assert login_for(None, "quay.io/a") is None
    path.write_text('"quay.io" = "me:secret"')
    with pytest.raises(SetupError, match="user and password") as error:
        login_for(path, "quay.io/a")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("table", "file"),
    [
        ("4:memory:/libpod/x\n0::/libpod/x\n", "memory/libpod/x/memory.oom_control"),
        ("0::/libpod/x\n", "libpod/x/memory.events"),
    ],
)
def test_killed_for_memory_is_read_from_either_version(
    tmp_path: Path, table: str, file: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text("oom 3\noom_kill 2\n")
    counter = counter_of(1, groups=tmp_path, table=table)
    assert counter.read() == 2
    path.unlink()
    assert counter.read() == 2, "the last that was known"
    assert counter_of(1, groups=tmp_path, table="").read() == 0


def test_an_engine_elsewhere_is_refused() -> None:
    assert socket_path("unix:///run/podman/podman.sock") == "/run/podman/podman.sock"
    for url in ("tcp://host:2375", "ssh://host", "unix://host/x", "unix:x"):
        with pytest.raises(ValueError, match="unix:///path"):
            socket_path(url)
