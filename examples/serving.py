"""Load an extension's folder into this process and serve it: what the examples' `run.py` share."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import anyio

import downstage.omni
from downstage.omni.settings import use
from downstage.services import IExt
from downstage.services.extensions.manifest import read_manifest
from downstage.services.extensions.settings import SettingsTree
from downstage.services.server import Server, open_port


@contextmanager
def extension(folder: Path, **settings: str) -> Iterator[IExt]:
    """The extension in *folder*, started; *settings* are laid over its own."""
    manifest = read_manifest(folder)
    tree = SettingsTree()
    tree.declare(manifest.name, manifest.settings)
    for key, value in settings.items():
        tree.set(f"/exts/{manifest.name}/{key}", value)
    downstage.omni.install()
    use(tree)
    sys.path.insert(0, str(folder))
    try:
        (root,) = manifest.modules
        (found,) = {
            item
            for item in vars(import_module(root)).values()
            if isinstance(item, type) and issubclass(item, IExt)
        }
        running = found()
        takes = len(signature(running.on_startup).parameters)
        running.on_startup(*[manifest.id][:takes])
        try:
            yield running
        finally:
            running.on_shutdown()
    finally:
        sys.path.remove(str(folder))
        downstage.omni.uninstall()


@asynccontextmanager
async def served(app: Any, port: int = 0) -> AsyncIterator[str]:
    """*app* on a port of this machine; inside, its address."""
    sock = open_port("127.0.0.1", port)
    server = Server(app, [sock])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.stop()
