"""The platform process: sockets, services, servers, and an end within three seconds."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc

from downstage.cli.data_ports import DataPort, open_data_ports
from downstage.cli.origin import FilesPorts, open_files_ports
from downstage.cli.tls import TlsProxy
from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.kernel.net import is_loopback
from downstage.kernel.settings import Settings
from downstage.omni.hosting import hosted
from downstage.services.context import PlatformUrls
from downstage.services.host import BUILT_IN, ServiceHost
from downstage.services.operator import operator_app
from downstage.services.server import Server, open_port, open_unix
from downstage.spawners.keeper import linux

__all__ = ["RunningPlatform", "check_binding", "is_loopback", "run_platform", "stop_signal"]

PRIVATE = 0o700
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    """A platform that answers on its ports."""

    host: ServiceHost
    urls: PlatformUrls
    operator_url: str
    data_ports: tuple[DataPort, ...] = ()
    """Of the data server alone, where the settings name some."""


@dataclass(frozen=True, slots=True)
class _Ports:
    """What is open, before anything answers there."""

    public: socket.socket
    operator: socket.socket
    link: socket.socket
    files: FilesPorts | None
    data: tuple[DataPort, ...] = ()
    pushed: socket.socket | None = None
    """Where streamers push what sessions show."""

    def origin_behind_tls(self) -> tuple[int, int] | None:
        """Port to open in front of the content origin, and where it is behind that."""
        origin = None if self.files is None else self.files.origin
        if origin is None or origin.outer_port is None:
            return None
        return origin.outer_port, origin.listening.getsockname()[1]


def check_binding(settings: Settings) -> None:
    """Refuse a public address without TLS or a trusted proxy, or with demo users.

    Raises:
        SetupError: says which of the three ways to take.
    """
    platform = settings.platform
    if is_loopback(platform.host):
        return
    if platform.demo:
        raise SetupError(
            f"--demo makes a user whose password is printed: it runs on this machine alone, not on "
            f"{platform.host}. Leave --host away, or start without --demo."
        )
    if platform.tls is None and not platform.behind_proxy:
        raise SetupError(
            f"{platform.host} can be reached by others, and nothing would be encrypted. Add "
            "--tls auto (own certificate authority), --tls CERT KEY, or --behind-proxy CIDR "
            "where a proxy of yours does TLS."
        )


@asynccontextmanager
async def run_platform(
    settings: Settings, *, services: tuple[str, ...] = BUILT_IN
) -> AsyncGenerator[RunningPlatform]:
    """Everything is up and answering inside; all of it is gone after.

    Raises:
        SetupError: binding, ports, data folder or databases do not allow a start.
    """
    check_binding(settings)
    data = _prepare_data(settings)
    settings = _with_port(settings)
    tls = TlsProxy(settings, data) if settings.platform.tls == "auto" else None
    inner = open_port("127.0.0.1", 0) if tls else _open_public(settings)
    operator = open_port("127.0.0.1", settings.platform.operator_port)
    link = open_unix(data / "run" / "platform.sock")
    public_url = _public_url(settings, inner)
    files = open_files_ports(settings, data, public_url) if "content" in services else None
    data_ports = tuple(open_data_ports(settings)) if "streams" in services else ()
    pushed = open_unix(data / "run" / "streams.sock") if "streams" in services else None
    urls = PlatformUrls(
        public_url,
        f"unix://{data}/run/platform.sock",
        streams=f"unix://{data}/run/streams.sock" if pushed else "",
        content=files.origin.url if files else "",
        content_folder=str(files.folder) if files else "",
    )
    operator_url = f"http://127.0.0.1:{operator.getsockname()[1]}"
    with hosted(enabled=settings.extensions.omni) as before_import:
        host = ServiceHost(
            settings,
            urls,
            services=services,
            extensions=set(services) in (set(BUILT_IN), set[str]()),
            before_import=before_import,
        )
        async with host.run(), anyio.create_task_group() as tasks:
            ports = _Ports(inner, operator, link, files, data_ports, pushed)
            servers = _servers(settings, host, ports, behind_tls=tls is not None)
            try:
                await _start_servers(tasks, servers, tls, ports)
                _write_facts(data, urls, operator_url)
                gc.freeze()  # what was loaded stays: the collector need not look at it again
                yield RunningPlatform(host, urls, operator_url, data_ports)
            finally:
                (data / "run" / "platform.json").unlink(missing_ok=True)
                for server in servers:
                    server.stop()
                with anyio.CancelScope(shield=True):
                    if tls:
                        await tls.stop()
                tasks.cancel_scope.cancel()


async def _start_servers(
    tasks: anyio.abc.TaskGroup, servers: list[Server], tls: TlsProxy | None, ports: _Ports
) -> None:
    for server in servers:
        tasks.start_soon(server.run)
    for server in servers:
        await server.wait_started()
    if tls:
        inner = ports.public.getsockname()[1]
        await tls.start(tasks, inner, ports.origin_behind_tls())


async def stop_signal() -> signal.Signals:
    """Wait for Ctrl-C or a SIGTERM."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            return number
    raise AssertionError


def _prepare_data(settings: Settings) -> Path:
    data = settings.platform.data.absolute()
    try:
        (data / "run").mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        data.chmod(PRIVATE)
        (data / "run").chmod(PRIVATE)
    except OSError as error:
        raise SetupError(
            f"The data folder {data} cannot be used: {error.strerror}. Choose another with --data."
        ) from error
    _refuse_second(data)
    return data


def _refuse_second(data: Path) -> None:
    """One platform a data folder: two would fight over the same rows."""
    facts = data / "run" / "platform.json"
    try:
        known = json.loads(facts.read_text())
        pid, started = int(known["pid"]), known.get("started")
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    if started is not None and linux.start_time(pid) != started:
        return  # that one was killed, and its number given to another since
    if pid != os.getpid() and b"downstage" in _command_of(pid):
        raise SetupError(
            f"A platform (process {pid}) already runs on {data}. Stop it, or choose --data."
        )


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _with_port(settings: Settings) -> Settings:
    """With ``--tls auto`` Caddy opens the port, and cannot tell which free one it took."""
    platform = settings.platform
    if platform.tls != "auto" or platform.port:
        return settings
    with open_port(platform.host, 0) as probe:
        free = probe.getsockname()[1]
    changed: dict[str, object] = {"platform": platform.model_copy(update={"port": free})}
    if settings.content.origin_port is None:  # who wants any port wants any for that, too
        changed["content"] = settings.content.model_copy(update={"origin_port": 0})
    return settings.model_copy(update=changed)


def _open_public(settings: Settings) -> socket.socket:
    return open_port(settings.platform.host, settings.platform.port)


def _public_url(settings: Settings, inner: socket.socket) -> str:
    platform = settings.platform
    if platform.public_url:
        return platform.public_url.rstrip("/")
    port = platform.port if platform.tls == "auto" else inner.getsockname()[1]
    name = settings.media.public_ip or platform.host
    if name in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        name = socket.getfqdn()
    scheme = "https" if platform.tls else "http"
    return f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}"


def _servers(
    settings: Settings,
    host: ServiceHost,
    ports: _Ports,
    *,
    behind_tls: bool,
) -> list[Server]:
    platform = settings.platform
    certificate = None
    if platform.tls == "files":
        if platform.tls_certificate is None or platform.tls_key is None:
            raise SetupError("--tls needs two files: the certificate chain and its key.")
        certificate = (platform.tls_certificate, platform.tls_key)
    trusted = ["127.0.0.1"] if behind_tls else platform.behind_proxy
    names = [name for name, _ in host.running()]
    # A service that is served alone is called by others, who need its internal routes too.
    face = host.app(names[0]) if len(names) == 1 else host.public_app
    servers = [
        Server(face, [ports.public], trusted=trusted, certificate=certificate),
        Server(operator_app(host), [ports.operator]),
    ]
    if "gateway" in names:
        servers.append(Server(host.app("gateway"), [ports.link]))
    if ports.pushed is not None:
        servers.append(Server(host.app("streams"), [ports.pushed]))
    if ports.files is not None:
        servers += ports.files.servers(host, trusted, certificate)
    servers += [item.server(host, platform.behind_proxy, certificate) for item in ports.data]
    return servers


def _write_facts(data: Path, urls: PlatformUrls, operator_url: str) -> None:
    """What other commands need to find this platform; no secret among it."""
    facts = {
        "pid": os.getpid(),
        "started": linux.start_time(os.getpid()),
        "url": urls.public,
        "link": urls.link,
        "operator_url": operator_url,
        "content_url": urls.content,
    }
    path = data / "run" / "platform.json"
    path.write_text(json.dumps(facts), encoding="utf-8")
    path.chmod(0o600)
