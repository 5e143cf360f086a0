"""``downstage ext dev``: an extension served alone, and loaded anew at every save."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel
from rich.console import Console
from rich.text import Text

from downstage.cli.platform import is_loopback, stop_signal
from downstage.kernel import logging, settings
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Log, Settings
from downstage.omni.hosting import hosted
from downstage.services.context import PlatformUrls
from downstage.services.extensions.discovery import in_folders
from downstage.services.extensions.provided import HTTP_SERVER
from downstage.services.extensions.settings import SettingsTree
from downstage.services.extensions.unit import Unit
from downstage.services.extensions.watch import Reloaded
from downstage.services.host import ServiceHost
from downstage.services.operator import operator_app
from downstage.services.registry import create_app
from downstage.services.server import Server, open_port

__all__ = ["Binding", "Wish", "binding_of", "develop"]

SERVER = f"/exts/{HTTP_SERVER}"
OURS = re.compile(
    r'^  File "(?:[^"]*/downstage/services/|<frozen importlib|[^"]*/importlib/__init__)',
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for."""

    path: Path
    host: str | None = None
    port: int | None = None
    tls: tuple[Path, Path] | None = None
    demo: bool = False
    assign: tuple[str, ...] = ()
    data: Path | None = None
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """Where it listens."""

    host: str
    port: int
    certificate: tuple[Path, Path] | None

    @property
    def scheme(self) -> str:
        """By which browsers reach it."""
        return "https" if self.certificate else "http"


async def develop(wish: Wish) -> None:
    """Serve until Ctrl-C.

    Raises:
        SetupError: no extension there, or an address that would be open to all.
    """
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_at_signal, tasks.cancel_scope)
        await anyio.lowlevel.checkpoint()  # from here on Ctrl-C is an orderly end
        await _serve(wish)


async def _cancel_at_signal(scope: anyio.CancelScope) -> None:
    await stop_signal()
    scope.cancel()


async def _serve(wish: Wish) -> None:
    console = Console(stderr=True, soft_wrap=True)
    chosen = _settings(wish)
    logging.configure(Log(level="warning", json_lines=chosen.log.json_lines))
    logging.silence("downstage.services.extensions")  # what it says is shown here in words
    binding = binding_of(chosen, wish)
    sock = open_port(binding.host, binding.port)
    operator = open_port("127.0.0.1", 0)
    shown = f"[{binding.host}]" if ":" in binding.host else binding.host
    url = f"{binding.scheme}://{shown}:{sock.getsockname()[1]}"
    with hosted(enabled=chosen.extensions.omni) as before_import:
        host = ServiceHost(
            chosen,
            PlatformUrls(url, ""),
            services=(),
            extensions=True,
            before_import=before_import,
            public_app=create_app("Extensions"),
        )
        host.watcher.listeners.append(lambda report: _tell_reload(console, host, report))
        servers = [
            Server(host.public_app, [sock], certificate=binding.certificate),
            Server(operator_app(host), [operator]),
        ]
        async with host.run(), anyio.create_task_group() as tasks:
            try:
                for server in servers:
                    tasks.start_soon(server.run)
                for server in servers:
                    await server.wait_started()
                _tell_start(console, host, url, operator.getsockname()[1])
                await anyio.sleep_forever()
            finally:
                for server in servers:
                    server.stop()
                tasks.cancel_scope.cancel()


def binding_of(chosen: Settings, wish: Wish) -> Binding:
    """Where to listen: as the command line says, else as the extension's settings do.

    Raises:
        SetupError: others could reach it, and neither TLS nor --demo is there.
    """
    tree = SettingsTree(chosen.exts)
    for found in in_folders(chosen.extensions.folders):
        if found.manifest is not None:
            tree.declare(found.name, found.manifest.settings)
    tree.check(HTTP_SERVER)
    secure = bool(tree.get(f"{SERVER}/https/enabled"))
    host = wish.host or str(tree.get(f"{SERVER}/host"))
    port = int(tree.get(f"{SERVER}/https/port" if secure else f"{SERVER}/port"))
    certificate = wish.tls or (_certificate(tree) if secure else None)
    if certificate:
        _try_certificate(certificate)
    elif not is_loopback(host) and not wish.demo:
        key = f'exts."{HTTP_SERVER}".host'
        raise SetupError(
            f"{host} can be reached by others, and nothing would be encrypted. Give --host "
            f'127.0.0.1 (or set {key} = "127.0.0.1"), or --tls CERT KEY, or --demo if '
            "everybody who reaches this machine may call it."
        )
    return Binding(host, port if wish.port is None else wish.port, certificate)


def _certificate(tree: SettingsTree) -> tuple[Path, Path]:
    files = [str(tree.get(f"{SERVER}/https/ssl/{key}")) for key in ("ssl_certfile", "ssl_keyfile")]
    if not all(files):
        raise SetupError(
            f'exts."{HTTP_SERVER}".https needs ssl.ssl_certfile and ssl.ssl_keyfile, or --tls '
            "CERT KEY."
        )
    return Path(files[0]), Path(files[1])


def _try_certificate(files: tuple[Path, Path]) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*files)
    except (OSError, ssl.SSLError) as error:
        raise SetupError(
            f"{files[0]} and {files[1]} are no certificate and key: {error}"
        ) from error


def _settings(wish: Wish) -> Settings:
    chosen = settings.load(
        file=wish.config,
        overrides={
            "platform.data": wish.data,
            "extensions.folders": [wish.path],
            "extensions.installed": False,
            "extensions.reload": True,
        },
        assignments=wish.assign,
    )
    if not in_folders([wish.path]):
        raise SetupError(
            f"{wish.path} is no extension and holds none: config/extension.toml is missing. "
            "Make one with: downstage ext new NAME"
        )
    return chosen


def _tell_start(console: Console, host: ServiceHost, url: str, operator: int) -> None:
    for unit in host.lifecycle.units.values():
        _tell_unit(console, unit)
    for found in in_folders(host.settings.extensions.folders):
        if found.name not in host.lifecycle.units:
            console.print(
                f"✗ {found.name}: this name is a service's of the platform. Choose another.",
                style="bold red",
                markup=False,
            )
    for given in host.unclaimed_settings():
        console.print(
            f"! {given} is set for an extension that is not here", style="yellow", markup=False
        )
    text = Text("\nServing on ")
    text.append(url, style="bold cyan")
    text.append(f"\n  /docs shows it and tries it; /extensions and /metrics are on port {operator}")
    console.print(text)
    _tell_routes(console, host)
    console.print("\nWaiting for changes. Ctrl-C ends.", style="dim")


def _tell_reload(console: Console, host: ServiceHost, report: Reloaded) -> None:
    names = ", ".join(sorted({Path(file).name for file in report.files})[:3])
    if report.unit is None:
        console.print(f"− {report.name} is gone", style="yellow")
    else:
        _tell_unit(console, report.unit, f" in {report.ms:.0f} ms after {names}")
    if report.unit is not None and report.unit.state == "running":
        _tell_routes(console, host)


def _tell_unit(console: Console, unit: Unit, more: str = "") -> None:
    if unit.state == "running":
        took = more or f" in {unit.start_ms:.0f} ms"
        console.print(f"✓ {unit.id} runs{took}", style="green", highlight=False)
    else:
        console.print(f"✗ {unit.id} {unit.state}: {unit.reason}", style="bold red", markup=False)
        shown = own_frames(unit.traceback)
        if "\n" in shown.partition("Traceback (most recent call last):\n")[2]:  # else said already
            console.print(shown, style="dim", markup=False, highlight=False)
    for key in unit.settings_unknown:
        console.print(f"! {unit.id}: unknown setting {key}", style="yellow", markup=False)


def own_frames(traceback: str) -> str:
    """*traceback* without the frames of the framework and of the import system."""
    kept, is_ours = list[str](), False
    for line in traceback.rstrip().splitlines():
        if line.startswith("  File "):
            is_ours = bool(OURS.match(line))
        elif not line.startswith("    "):
            is_ours = False
        if not is_ours:
            kept.append(line)
    return "\n".join(kept)


def _tell_routes(console: Console, host: ServiceHost) -> None:
    paths = host.public_app.openapi().get("paths", {})
    for path, operations in paths.items():
        verbs = " ".join(verb.upper() for verb in operations if verb in VERBS)
        summary = next((o.get("summary", "") for o in operations.values()), "")
        console.print(f"  {verbs:<8} {path}  ", end="", highlight=False, markup=False)
        console.print(summary, style="dim", markup=False)


VERBS = ("get", "post", "put", "patch", "delete")
