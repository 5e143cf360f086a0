"""Prometheus and Grafana beside the platform: started with our files, ended with it."""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

import downstage
from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.services.child import Child

__all__ = [
    "GRAFANA_PORT",
    "PROMETHEUS_PORT",
    "Monitoring",
    "Started",
    "find_ops",
    "grafana_configuration",
    "prometheus_configuration",
]

PROMETHEUS_PORT, GRAFANA_PORT = 9090, 3000
START_S = 20.0
KEEP = "15d"
log = get_logger(__name__)


def find_ops() -> Path:
    """The folder of rules and dashboards: beside the package, or of a checkout.

    Raises:
        SetupError: it is not there.
    """
    package = Path(downstage.__file__).parent
    for folder in (package / "ops", package.parent.parent / "ops"):
        if (folder / "prometheus" / "alerts.yml").exists():
            return folder
    raise SetupError("The folder ops/ (alert rules, dashboards) is missing from this installation.")


def prometheus_configuration(target: str, rules: Path) -> str:
    """What Prometheus is started with: one platform, looked at every five seconds.

    JSON, which is YAML too: no path can be read as something else.
    """
    return json.dumps(
        {
            "global": {"scrape_interval": "5s", "evaluation_interval": "15s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {"job_name": "downstage", "static_configs": [{"targets": [target]}]},
            ],
        },
        indent=2,
    )


def grafana_configuration(folder: Path, ops: Path, port: int, dashboards: Path) -> str:
    """What Grafana is started with: on loopback, readable without a sign-in, nothing sent home."""
    return f"""\
[paths]
data = {folder}
logs = {folder}/log
provisioning = {ops}/grafana/provisioning
[server]
http_addr = 127.0.0.1
http_port = {port}
[analytics]
reporting_enabled = false
check_for_updates = false
check_for_plugin_updates = false
[security]
disable_initial_admin_creation = true
disable_gravatar = true
[auth]
disable_login_form = true
[auth.anonymous]
enabled = true
org_role = Viewer
[dashboards]
default_home_dashboard_path = {dashboards}/streams.json
"""


@dataclass(frozen=True, slots=True)
class Started:
    """What runs, and where; None: it is not installed here."""

    prometheus: str | None
    grafana: str | None


class Monitoring:
    """Starts what there is.

    Args:
        data: of the platform; they get a private folder in it.
        operator_url: where metrics are.
        prometheus_port: on loopback; 0 takes a free one.
        grafana_port: on loopback; 0 takes a free one.
    """

    def __init__(
        self,
        data: Path,
        operator_url: str,
        *,
        prometheus_port: int = PROMETHEUS_PORT,
        grafana_port: int = GRAFANA_PORT,
    ) -> None:
        self._folder = data / "monitoring"
        self._target = operator_url.removeprefix("http://")
        self._prometheus_port = prometheus_port
        self._grafana_port = grafana_port

    async def start(self, tasks: anyio.abc.TaskGroup) -> Started:
        """Start them in *tasks*; returns once they answer.

        Raises:
            SetupError: a port is taken, or one did not start; says what it printed last.
        """
        ops = find_ops()
        prometheus = shutil.which("prometheus")
        grafana = shutil.which("grafana-server") or shutil.which("grafana")
        first = second = None
        if prometheus is not None:
            port = _free(self._prometheus_port, "Prometheus")
            await self._run(tasks, self._prometheus(prometheus, ops, port), port)
            first = f"http://localhost:{port}"
        if grafana is not None and first is not None:
            port = _free(self._grafana_port, "Grafana")
            await self._run(tasks, self._grafana(grafana, ops, port, first), port)
            second = f"http://localhost:{port}"
        return Started(first, second)

    async def _run(self, tasks: anyio.abc.TaskGroup, child: Child, port: int) -> None:
        tasks.start_soon(child.run)
        with anyio.move_on_after(START_S):
            while not await anyio.to_thread.run_sync(_listens, port):
                if child.starts > 1:
                    break
                await anyio.sleep(0.05)  # neither of them tells in another way
            else:
                return
        raise SetupError(f"{child.name} did not start: {child.last_words or 'it said nothing'}")

    def _prometheus(self, binary: str, ops: Path, port: int) -> Child:
        folder = self._private("prometheus")
        path = folder / "prometheus.yml"
        rules = ops / "prometheus" / "alerts.yml"
        path.write_text(prometheus_configuration(self._target, rules), encoding="utf-8")
        command = [
            binary,
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--storage.tsdb.retention.time={KEEP}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        return Child("prometheus", command, _environment())

    def _grafana(self, binary: str, ops: Path, port: int, prometheus: str) -> Child:
        folder = self._private("grafana")
        path = folder / "grafana.ini"
        dashboards = ops / "grafana" / "dashboards"
        text = grafana_configuration(folder, ops, port, dashboards)
        path.write_text(text, encoding="utf-8")
        command = [binary, *([] if binary.endswith("-server") else ["server"])]
        command += [f"--config={path}", f"--homepath={_grafana_home()}"]
        more = {
            "DOWNSTAGE_PROMETHEUS_URL": prometheus,
            "DOWNSTAGE_DASHBOARDS": str(dashboards),
        }
        return Child("grafana", command, _environment() | more)

    def _private(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"}


def _grafana_home() -> str:
    homes = ("/usr/share/grafana", "/opt/homebrew/share/grafana", "/usr/local/share/grafana")
    return next((home for home in homes if Path(home).exists()), homes[0])


def _free(port: int, name: str) -> int:
    """*port*, if nobody listens there; a free one for 0.

    Raises:
        SetupError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SetupError(
                f"The port {port} for {name} is taken. Stop the program that holds it, or choose "
                f"another with --{name.lower()}-port, 0 for a free one."
            ) from error
        found: int = probe.getsockname()[1]
    return found


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False
