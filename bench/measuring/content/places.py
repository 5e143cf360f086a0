"""Where files are put: our service as a process, nginx's WebDAV, a plain folder: on one disk."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from downstage.testing.content import ContentProcess

__all__ = ["Places", "open_places", "row"]

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
{modules}events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {folder}/tmp; client_body_buffer_size 128k;
  server {{ listen 127.0.0.1:{port}; root {root};
    location / {{ dav_methods PUT DELETE MKCOL COPY MOVE; create_full_put_path on; }} }}
}}
"""
MODULES = Path("/etc/nginx/modules-enabled")


@dataclass
class Places:
    """All of them, and a pool of connections."""

    folder: Path
    """On the disk that is measured."""
    data: Path
    """Of our service."""
    url: str
    """Of our service."""
    token: str
    nginx: str
    """Address of nginx; empty where it is not installed."""
    http: aiohttp.ClientSession

    @property
    def ours(self) -> dict[str, str]:
        """Headers for our service."""
        return {"Authorization": f"Bearer {self.token}"}


async def open_places(stack: AsyncExitStack, folder: Path) -> Places:
    """Start everything; *stack* ends it."""
    process = stack.enter_context(ContentProcess(folder / "data"))
    nginx = await _nginx(stack, folder / "nginx")
    connector = aiohttp.TCPConnector(limit=0, force_close=False)
    http = await stack.enter_async_context(
        aiohttp.ClientSession(connector=connector, auto_decompress=False)
    )
    return Places(folder, folder / "data", process.url, process.tokens["alice"], nginx, http)


async def _nginx(stack: AsyncExitStack, folder: Path) -> str:
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        return ""
    root = folder / "root"
    root.mkdir(parents=True)
    for path in (folder, root, *folder.parents):
        if path.stat().st_mode & 0o005 != 0o005 and path.owner() == "root":
            break  # the worker drops to another user: it is told to stay ours below
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    modules = "".join(path.read_text() for path in sorted(MODULES.glob("*dav*.conf")))
    text = NGINX.format(folder=folder, root=root, port=port, modules="user root;\n" + modules)
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen([program, "-c", folder / "nginx.conf"], stderr=subprocess.PIPE)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    deadline = time.monotonic() + 10
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return f"http://127.0.0.1:{port}"


def row(
    question: str,
    which: str,
    ours: list[float],
    theirs: list[float],
    unit: str,
    *,
    goal: float | None,
    more_is_better: bool = True,
) -> dict[str, object]:
    """One line of the table: what both had in each round."""
    from statistics import median

    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "question": question,
        "which": which,
        "ours": f"{median(ours):,.4g} {unit}",
        "theirs": f"{median(theirs):,.4g} {unit}",
        "ratios": ratios,
        "goal": goal,
        "more_is_better": more_is_better,
    }
