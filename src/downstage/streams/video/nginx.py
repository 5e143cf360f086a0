"""nginx with its RTMP module as a child of ours: takes publishers, asks us about each."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from downstage.services.child import Child

__all__ = ["Nginx", "NginxFound", "configuration", "find_nginx"]

FOLDERS = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/nginx/modules")
MODULE = "ngx_rtmp_module.so"
CONFIGURATION = "nginx.conf"


@dataclass(frozen=True, slots=True)
class NginxFound:
    """What there is on this machine."""

    binary: str
    module: str | None
    """Path of the RTMP module; None: it is not there."""


def find_nginx() -> NginxFound | None:
    """Nginx of this machine, and whether it has its RTMP module."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        return None
    modules = (Path(folder) / MODULE for folder in FOLDERS)
    return NginxFound(binary, next((str(path) for path in modules if path.exists()), None))


def configuration(module: str, folder: Path, callback: Path, host: str, port: int) -> str:
    """What nginx is started with: one port, one application, every publisher asked about.

    Nothing is logged that a publisher sent, since names and queries hold keys.
    """
    shown = f"[{host}]" if ":" in host else host
    ask = f"http://unix:{callback}:"
    return f"""\
load_module {module};
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
rtmp {{
  access_log off;
  server {{
    listen {shown}:{port};
    chunk_size 8192;
    max_message 8M;
    ping 15s;
    ping_timeout 15s;
    timeout 30s;
    notify_method post;
    application live {{
      live on;
      wait_key on;
      publish_notify on;
      drop_idle_publisher 15s;
      on_publish {ask}/publish;
      on_publish_done {ask}/done;
      on_play {ask}/play;
    }}
  }}
}}
"""


class Nginx:
    """Keeps one nginx running.

    Args:
        found: what to run.
        folder: private; its configuration lies there.
        callback: unix socket where it asks us.
        host: where publishers come.
        port: where publishers come.
    """

    def __init__(
        self, found: NginxFound, folder: Path, callback: Path, host: str, port: int
    ) -> None:
        self._found, self._folder = found, folder
        self._callback, self._host, self._port = callback, host, port
        path = folder / CONFIGURATION
        command = [found.binary, "-p", str(folder), "-c", str(path), "-e", "stderr"]
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"}
        self._child = Child("nginx", command, environment)

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._child.pid

    @property
    def why(self) -> str | None:
        """Why it does not run, in its own words; None: it does."""
        return None if self._child.pid is not None else self._child.last_words or "starting"

    async def run(self) -> None:
        """Keep it running until cancelled."""
        await anyio.to_thread.run_sync(self._write)
        await self._child.run()

    def _write(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / CONFIGURATION
        text = configuration(
            self._found.module or MODULE, self._folder, self._callback, self._host, self._port
        )
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
