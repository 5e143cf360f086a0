"""``downstage doctor``: facts about this machine in words; what fails ends with its fix."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from rich.console import Console

from downstage.cli.facts import find_platform
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.services.server import open_port
from downstage.spawners import probe

__all__ = ["Finding", "examine"]

LEAST_DISK = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact. `fix` is empty where all is well; a `hint` is no failure."""

    name: str
    fact: str
    fix: str = ""
    is_hint: bool = False


async def examine(settings: Settings, *, network: bool = False) -> bool:
    """Print every finding; returns whether nothing needs a fix.

    Args:
        settings: of the platform that is looked at.
        network: try the paths between browsers and instances instead of this machine's parts.
    """
    console = Console(soft_wrap=True, highlight=False)
    healthy = True
    for check in (
        (_network,)
        if network
        else (
            _python,
            _gl,
            _instances,
            _encoder,
            _ports,
            _udp,
            _fonts,
            _disk,
            _usd,
            _streams,
            _publishers,
            _monitoring,
        )
    ):
        with console.status(f"{check.__name__.strip('_')} …"):
            findings = await anyio.to_thread.run_sync(check, settings)
        for finding in findings:
            mark = (
                "[green]ok  [/]"
                if not finding.fix
                else "[yellow]hint[/]"
                if finding.is_hint
                else "[red]fix [/]"
            )
            fix = f"  →  {finding.fix}" if finding.fix else ""
            console.print(f"{mark} {finding.name:<12} {finding.fact}[bold]{fix}[/]")
            healthy = healthy and (not finding.fix or finding.is_hint)
    return healthy


def _network(settings: Settings) -> list[Finding]:
    from downstage.cli.network.check import examine_network

    return [
        Finding(found.name, found.fact, found.fix, found.is_hint)
        for found in examine_network(settings)
    ]


def _python(_: Settings) -> list[Finding]:
    return [Finding("python", sys.version.split()[0])]


def _gl(_: Settings) -> list[Finding]:
    folders = [Path("/usr/lib"), Path("/usr/lib64")]
    drivers = [p for f in folders if f.exists() for p in f.glob("*/dri/swrast_dri.so")]
    drivers += [p for f in folders if f.exists() for p in f.glob("*/libgallium*.so*")]
    card = "a GPU at /dev/dri" if Path("/dev/dri").exists() else "no GPU, software rendering"
    if drivers:
        return [Finding("gl", f"{card}; Mesa at {drivers[0].parent}")]
    return [Finding("gl", f"{card}; no Mesa driver", "apt install libgl1-mesa-dri libgl1 libegl1")]


def _instances(_: Settings) -> list[Finding]:
    """Isolation, display and sound, as the spawner itself finds them."""
    found = anyio.run(probe.facts)
    soft = ("isolation", "sound", "user")
    return [
        Finding(
            fact.name,
            fact.detail,
            "" if fact.is_ok else fact.fix or "see the log",
            fact.name in soft,
        )
        for fact in found
    ]


def _encoder(settings: Settings) -> list[Finding]:
    """Encode one frame in a process of its own: a broken driver must not take us with it."""
    command = [sys.executable, "-m", "downstage.media.probe", settings.media.encoder]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return [Finding("encoder", "no frame was encoded within 60 s", "--encoder software")]
    line = (done.stdout or done.stderr).strip().splitlines()
    if done.returncode == 0:
        return [Finding("encoder", line[-1] if line else "works")]
    return [Finding("encoder", line[-1][:200] if line else "failed", "--encoder software")]


def _ports(settings: Settings) -> list[Finding]:
    if find_platform(settings.platform.data):
        return [Finding("ports", "held by the platform that runs here")]
    findings = list[Finding]()
    for name, port in (
        ("port", settings.platform.port),
        ("operator", settings.platform.operator_port),
    ):
        try:
            open_port(settings.platform.host, port).close()
            findings.append(Finding(name, f"{settings.platform.host}:{port} is free"))
        except SetupError as error:
            option = "--port" if name == "port" else "--operator-port"
            findings.append(
                Finding(name, error.detail.split(". ")[0], f"choose another with {option}")
            )
    return findings


def _udp(settings: Settings) -> list[Finding]:
    low, high = settings.media.udp_ports or (0, 0)
    for port in range(low, high + 1):
        try:
            _echo(settings.platform.host, port)
        except OSError:
            continue
        span = f"{low}-{high}" if high else "any free port"
        return [Finding("udp", f"a datagram came back on {settings.platform.host} ({span})")]
    fix = "choose others with --udp-ports A-B; viewers fall back to the WebSocket meanwhile"
    return [Finding("udp", f"no UDP port of {low}-{high} can be used", fix)]


def _echo(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(1)
        one.bind((host, port))
        one.sendto(b"echo", one.getsockname())
        one.recv(16)


def _fonts(_: Settings) -> list[Finding]:
    found = next(
        (
            p
            for f in ("/usr/share/fonts", "/usr/local/share/fonts")
            for p in Path(f).rglob("*.[to]tf")
        ),
        None,
    )
    if found:
        return [Finding("fonts", f"{found.parent}")]
    return [Finding("fonts", "no fonts: applications show boxes", "apt install fonts-dejavu-core")]


def _disk(settings: Settings) -> list[Finding]:
    folder = settings.platform.data.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB free at {folder}"
    return [Finding("disk", text, "" if free > LEAST_DISK else "free some space, or choose --data")]


def _usd(_: Settings) -> list[Finding]:
    from downstage.cli.up import demo_application

    if demo_application() == "usd-viewer":
        return [Finding("usd", "usd-core and VTK are installed")]
    return [
        Finding(
            "usd",
            "no USD viewer: --demo shows the test card",
            "pip install 'downstage[demo]'",
            is_hint=True,
        )
    ]


def _streams(settings: Settings) -> list[Finding]:
    from downstage.streams.engine.checkup import check_engine

    return [
        Finding("streams", remark.fact, remark.fix, remark.is_hint)
        for remark in check_engine(settings)
    ]


def _publishers(settings: Settings) -> list[Finding]:
    """Who takes RTMP publishers, where a port for them is set, and how many at once."""
    from downstage.streams.video.nginx import find_nginx

    wanted, port = settings.streams.rtmp_server, settings.streams.rtmp_port
    found = None if wanted == "pyav" else find_nginx()
    if found is not None and found.module is not None:
        return [Finding("rtmp", f"nginx with its RTMP module at {found.module}")]
    if wanted == "pyav":
        return [Finding("rtmp", "one publisher at a time, of this machine, as rtmp_server says")]
    lacks = "no nginx" if found is None else "nginx has no RTMP module"
    fix = "apt install nginx libnginx-mod-rtmp"
    if wanted == "nginx" and port is not None:
        return [Finding("rtmp", f"{lacks}, which rtmp_server demands", fix)]
    fact = f"{lacks}: one RTMP publisher at a time, of this machine alone"
    return [Finding("rtmp", fact, fix, is_hint=True)]


def _monitoring(_: Settings) -> list[Finding]:
    found = list[Finding]()
    for program, package in (("prometheus", "prometheus"), ("grafana-server", "grafana")):
        path = shutil.which(program)
        if path is not None:
            found.append(Finding(package, path))
            continue
        how = "apt install prometheus" if package == "prometheus" else "see grafana.com/docs"
        fix = f"{how} (only for downstage services --full)"
        found.append(Finding(package, "not installed", fix, is_hint=True))
    return found
