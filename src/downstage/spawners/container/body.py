"""From a plan to the body of ``POST /containers/create``: every wall of a container. Pure."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from downstage.spawners.container.plan import INSTANCE, PLACE, USER_PREFIX, ContainerPlan, Seams

__all__ = ["HOME", "Published", "create_body"]

HOME = "/home/app"
SCRATCH: tuple[str, ...] = ("/tmp", "/var/tmp", "/run", HOME)  # noqa: S108 - inside the container
SHARED_MEMORY = 256 << 20
LEAST_NPROC = 1000
GRAPHICS = ("/dev/dri", "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-modeset")

Published = dict[str, Any]
"""A port as published: the fields of `downstage.contracts.manager.PortRoute`."""


def create_body(plan: ContainerPlan, seams: Seams, ports: Sequence[Published]) -> dict[str, Any]:
    """The container: read-only, without privileges, bounded, with no mount but the seams."""
    environment = {**seams.environment, **_port_variables(ports)}
    body: dict[str, Any] = {
        "Image": plan.image,
        "User": f"{plan.uid}:{plan.gid}",
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "Labels": _labels(plan),
        "Hostname": "app",
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "Healthcheck": {"Test": ["NONE"]},
        "ExposedPorts": {_inside(port): {} for port in ports},
        "HostConfig": _host_config(plan, seams, ports),
    }
    if plan.command and plan.command[0].startswith("-"):
        body["Cmd"] = plan.command
    elif plan.command:
        body["Entrypoint"], body["Cmd"] = plan.command[:1], plan.command[1:]
    return body


def _host_config(plan: ContainerPlan, seams: Seams, ports: Sequence[Published]) -> dict[str, Any]:
    memory = plan.memory_mb << 20
    found: dict[str, Any] = {
        "NetworkMode": "bridge" if plan.network else "none",
        "PortBindings": _bindings(ports, plan.host),
        "ReadonlyRootfs": True,
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Memory": memory,
        "MemorySwap": memory,
        "PidsLimit": plan.pids,
        "Ulimits": _ulimits(plan),
        "ShmSize": min(SHARED_MEMORY, memory),
        "Tmpfs": _scratch(plan),
        "Mounts": [_mount(*mount) for mount in seams.mounts],
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "LogConfig": {"Type": "none"},
        "Devices": _devices() if plan.gpu else [],
    }
    if plan.cpus is not None:
        found["NanoCpus"] = round(plan.cpus * 1e9)
    if plan.userns is not None:
        found["UsernsMode"] = plan.userns
    if plan.network and Path("/proc/sys/net/ipv6").exists():
        # The rules of `egress` are IPv4's; what has no address of the other kind needs none.
        found["Sysctls"] = {"net.ipv6.conf.all.disable_ipv6": "1"}
    if plan.is_podman:
        found["CgroupnsMode"] = "private"
    if plan.is_podman and seams.keeper is not None:  # Docker knows no such namespace
        found["IpcMode"] = f"ns:/proc/{seams.keeper}/ns/ipc"
    return found


def _labels(plan: ContainerPlan) -> dict[str, str]:
    theirs = {USER_PREFIX + key: value for key, value in plan.labels.items()}
    return {**theirs, INSTANCE: plan.instance_id, PLACE: plan.place}


def _scratch(plan: ContainerPlan) -> dict[str, str]:
    size = f"rw,nosuid,nodev,size={plan.scratch_mb}m,mode="
    if plan.is_podman:  # else they get content and mode of the image's folders
        size = "notmpcopyup," + size
    found: dict[str, str] = dict.fromkeys(SCRATCH, size + "1777")
    found["/run"] = size + "0755"
    for path in plan.volumes:
        found.setdefault(path, size + "1777")
    return found


def _mount(source: str, target: str, mode: str) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": mode == "ro",
        "BindOptions": {"Propagation": "rprivate"},
    }


def _ulimits(plan: ContainerPlan) -> list[dict[str, Any]]:
    """Bounds that this machine lets anybody have; an engine's own defaults may be above.

    Processes are counted by user as well: with a user of its own, what the container may have.
    """
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    if plan.uid != os.getuid():
        wanted = max(plan.pids, LEAST_NPROC)
        most = wanted if most == resource.RLIM_INFINITY else min(most, wanted)
    found = [{"Name": "core", "Soft": 0, "Hard": 0}]
    if most_files != resource.RLIM_INFINITY:
        found.append({"Name": "nofile", "Soft": min(files, most_files), "Hard": most_files})
    if most != resource.RLIM_INFINITY:
        found.append({"Name": "nproc", "Soft": most, "Hard": most})
    return found


def _devices() -> list[dict[str, str]]:
    paths = [Path(path) for path in GRAPHICS if Path(path).exists()]
    single = [
        entry
        for path in paths
        for entry in (sorted(path.iterdir()) if path.is_dir() else [path])
        if entry.is_char_device()
    ]
    return [
        {"PathOnHost": str(path), "PathInContainer": str(path), "CgroupPermissions": "rw"}
        for path in single
    ]


def _inside(port: Published) -> str:
    return f"{port['number']}/{str(port['type']).lower()}"


def _bindings(ports: Sequence[Published], host: str) -> dict[str, list[dict[str, str]]]:
    """Where they listen: on loopback alone where nothing else of the platform is reached."""
    address = host if host.startswith("127.") else ""
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        binding = {"HostIp": address, "HostPort": str(port["published"])}
        found.setdefault(_inside(port), []).append(binding)
    return found


def _port_variables(ports: Sequence[Published]) -> dict[str, str]:
    """An application that asked for port 0 learns which one it got."""
    return {
        "DOWNSTAGE_PORT_" + "".join(c if c.isalnum() else "_" for c in port["name"].upper()): str(
            port["number"]
        )
        for port in ports
    }
