"""Run a folder of extensions in this process: what the examples' `run.py` share."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from downstage.kernel.settings import load
from downstage.omni.hosting import hosted
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.server import Server, open_port


@asynccontextmanager
async def extension(folder: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """The extension in *folder*, run by a host of its own and served; inside, its address.

    *settings* are laid over its own. Within the process it is at ``local://``.
    """
    given = [f'exts."{folder.name}".{key}={value}' for key, value in (settings or {}).items()]
    with tempfile.TemporaryDirectory(prefix="ds-") as data, hosted() as before_import:
        sock = open_port("127.0.0.1", 0)
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        own = {
            "platform.data": Path(data),
            "extensions.folders": [folder],
            "extensions.installed": False,
        }
        host = ServiceHost(
            load(environment={}, overrides=own, assignments=given),
            PlatformUrls(address, "unix:///nowhere"),
            services=(),
            extensions=True,
            before_import=before_import,
        )
        async with host.run(), _serving(Server(host.public_app, [sock])):
            for found in host.extensions():
                if found.state != "running":
                    raise RuntimeError(f"{found.id} is {found.state}: {found.reason}")
            yield address


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """*app* on a port of this machine; inside, its address."""
    sock = open_port("127.0.0.1", 0)
    async with _serving(Server(app, [sock])):
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@asynccontextmanager
async def _serving(server: Server) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        try:
            yield
        finally:
            server.stop()
