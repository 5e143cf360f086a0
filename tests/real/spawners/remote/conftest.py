"""A machine elsewhere for all tests of a module, and spawners for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.real.spawners.container.conftest import Podman, gone, make_spec, podman

from downstage.spawners.remote.node import NodeSettings
from downstage.spawners.remote.spawner import RemoteSettings, RemoteSpawner
from downstage.spawners.remote.wire import HalfSettings
from downstage.spawners.spawner import NodeUnreachable
from downstage.testing.networks import why_not

from .far import NODE_IMAGE, Far

__all__ = ["podman"]

KEY = f"tests-{os.getpid()}"
"""Of the manager whose node this is: most tests meet the node container of those before."""
REFUSED = f"{KEY}-refused"
"""Of one that gets none."""


@pytest.fixture(scope="module")
def far(podman: Podman) -> Iterator[Far]:
    """The machine; needs root, as namespaces do."""
    if (why := why_not()) is not None:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="ds-far-") as folder, Far(Path(folder), podman) as far:
        yield far


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Folder of what runs there, with a short path."""
    with tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp") as folder:
        yield Path(folder)


def settings_of(far: Far, place: Path, key: str, **changes: Any) -> RemoteSettings:
    """Settings of one manager for that machine; *changes* are of any of the three records."""
    node: dict[str, Any] = {
        "image": NODE_IMAGE,
        "key": key,
        "folder": place,
        "volumes": far.volumes,
        "socket": str(far.socket),
    }
    half: dict[str, Any] = {
        "folder": place / key,
        "user_ports": (32000, 32767),
        "host": far.address,
        "pull_deadline_s": 60.0,
        "audio": False,
        "encoder": "auto",
        "bitrate_kbps": 8000,
        "udp_ports": None,
        "attach_deadline_s": 120.0,
        "stop_grace_s": 0.5,
        "keep_s": 3600.0,
        "keep_bytes": 1 << 20,
    }
    rest: dict[str, Any] = {
        "engine": far.engine,
        "certificates": far.certificates,
        "content": None,
    }
    for record in (node, half, rest):
        record.update({name: value for name, value in changes.items() if name in record})
    return RemoteSettings(node=NodeSettings(**node), half=HalfSettings(**half), **rest)


async def until_there(spawner: RemoteSpawner, seconds: float = 90) -> None:
    """Return once the node answers."""
    last = ""
    try:
        with anyio.fail_after(seconds):
            while True:
                try:
                    return await spawner.check()
                except (NodeUnreachable, TimeoutError) as error:
                    last = str(error)
                await anyio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"the node was not reached: {last}")


async def end(spawner: RemoteSpawner, instance_id: str) -> None:
    """Whatever a test left running."""
    handle = await spawner.attach(instance_id)
    if handle is not None:
        await handle.kill()
        with suppress(NodeUnreachable):
            async for _ in handle.reports():
                pass
        await handle.close()
    await spawner.clean(instance_id)
    await gone(instance_id)


Managers = Callable[..., Any]


@pytest.fixture
async def managers(far: Far, place: Path) -> AsyncIterator[Managers]:
    """Make spawners of one manager: each but the last as if it had been killed meanwhile."""
    made = list[RemoteSpawner]()
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> RemoteSpawner:
            spawner = RemoteSpawner(settings_of(far, place, KEY, **changes))
            made.append(spawner)
            stack.push_async_callback(spawner.close)
            await until_there(spawner)
            return spawner

        yield make
        with suppress(NodeUnreachable):
            for instance_id in await made[-1].known():
                await end(made[-1], instance_id)


__all__ += ["gone", "make_spec"]
