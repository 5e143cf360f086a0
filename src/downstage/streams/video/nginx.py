"""nginx with its RTMP module as a child of ours: takes publishers, asks us about each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from downstage.kernel.logging import get_logger

__all__ = ["LAUNCH", "Nginx", "NginxFound", "configuration", "find_nginx"]

log = get_logger(__name__)

FOLDERS = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/nginx/modules")
MODULE = "ngx_rtmp_module.so"
LINES = 20
STOP_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
STEADY_S = 30.0

LAUNCH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(113)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Asks for SIGTERM when the thread that started it ends, then becomes the program: what runs
between fork and exec of a process with threads may hang."""


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
    max_streams 8;
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
        self._lines: deque[str] = deque(maxlen=LINES)
        self.pid: int | None = None
        """None while it does not run."""
        self.why: str | None = None
        """Why it does not run, in its own words."""

    async def run(self) -> None:
        """Keep it running until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            began = anyio.current_time()
            await self._one_life()
            if anyio.current_time() - began > STEADY_S:
                pause = FIRST_PAUSE_S
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _one_life(self) -> None:
        path = await anyio.to_thread.run_sync(self._write)
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid())]
        command = [self._found.binary, "-p", str(self._folder), "-c", str(path), "-e", "stderr"]
        process = await anyio.open_process(
            [*launcher, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        self.pid, self.why = process.pid, None
        log.info("rtmp.started", pid=process.pid, port=self._port)
        try:
            await self._read(process)
            code = await process.wait()
            self.why = " ".join(list(self._lines)[-2:])[:300] or f"it ended with {code}"
            log.warning("rtmp.died", code=code, last_words=self.why)
        finally:
            self.pid = None
            with anyio.CancelScope(shield=True):
                await _end(process)

    def _write(self) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / "nginx.conf"
        text = configuration(
            self._found.module or MODULE, self._folder, self._callback, self._host, self._port
        )
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    async def _read(self, process: anyio.abc.Process) -> None:
        if process.stderr is None:
            return
        async for chunk in process.stderr:
            self._lines.extend(chunk.decode("utf-8", "replace").strip().splitlines())


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(STOP_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await process.aclose()
