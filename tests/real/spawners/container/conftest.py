"""Real Podman on a socket of the tests' own, and an image that they made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from downstage.kernel.ids import new_id
from downstage.spawners.container.spawner import ContainerSettings, ContainerSpawner
from downstage.spawners.process import ProcessSettings, run_folder
from downstage.spawners.spawner import InstanceSpec

from . import image

STORE = Path("/var/tmp") / f"downstage-tests-podman-{os.getuid()}"
IMAGE = "localhost/downstage-tests/card"
CONFIG = """\
[containers]
default_ulimits = ["nofile=1024:20000", "nproc=1000:1000"]
[engine]
runtime = "runc"
"""
READY_S = 30.0


class Podman:
    """An engine that listens on a socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "podman.sock"
        (folder / "containers.conf").write_text(CONFIG)
        (folder / "registries.conf").write_text(
            '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
        }

    def command(self, *arguments: str) -> list[str]:
        return ["podman", "--root", f"{STORE}/root", "--runroot", f"{STORE}/run", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        with (self.folder / "podman.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("system", "service", "--time=0", self.url),
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=self.socket.parent,  # conmon leaves a file where it stands when memory ran out
            )
        until = time.monotonic() + READY_S
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.skip("podman's service does not start: " + self.words())
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)

    def words(self) -> str:
        return (self.folder / "podman.log").read_text()[-400:]

    def containers(self) -> dict[str, str]:
        """State of each container of ours, by name."""
        told = self.run("ps", "--all", "--format", "json", "--filter", "name=^downstage-i-")
        return {one["Names"][0]: one["State"] for one in json.loads(told.stdout or "[]")}


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """A running engine with our image in it."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed: apt install podman runc")
    STORE.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ds-podman-") as folder:
        engine = Podman(Path(folder))
        name = f"{IMAGE}:{image.key()}"
        if engine.run("image", "exists", name).returncode != 0:
            tar = image.copy_of(STORE / "image")
            done = engine.run("import", str(tar), name)
            tar.unlink()
            engine.run("image", "prune", "--force")
            if done.returncode != 0:
                pytest.skip("podman cannot import an image here: " + done.stderr[-400:])
        tried = engine.run("run", "--rm", "--network=none", name, "/usr/bin/python3", "-c", "0")
        if tried.returncode != 0:
            pytest.skip("podman runs no container here: " + tried.stderr[-400:])
        engine.start()
        yield engine
        engine.stop()


def make_spawner(data: Path, podman: Podman, **changes: Any) -> ContainerSpawner:
    settings = ContainerSettings(podman.url, **changes)
    common = ProcessSettings(audio=False, stop_grace_s=0.5)
    return ContainerSpawner(run_folder(data), common, settings)


def make_spec(*arguments: str, **changes: Any) -> InstanceSpec:
    values: dict[str, Any] = {
        "instance_id": new_id("i"),
        "session_id": "s-1",
        "command": ("/usr/bin/python3", "/programs/naughty.py", *arguments),
        "image": f"{IMAGE}:{image.key()}",
        "display_kind": "x11",
        "instance_token": SecretStr("the-instance-token"),
        "link_url": "unix:///nowhere",
        "memory_mb": 256,
        "start_deadline_s": 30.0,
    }
    return InstanceSpec(**{**values, **changes})


async def gone(instance_id: str) -> None:
    """Wait until nothing of the instance runs: all of it carries the mark.

    The engine's own watcher of a program that was started inside does not; Podman lets it wait
    for five minutes in case somebody asks how the program ended.
    """
    mark = b"DOWNSTAGE_INSTANCE=" + instance_id.encode()
    with anyio.fail_after(60):
        while any(mark in _environ(entry) for entry in Path("/proc").iterdir()):
            await anyio.sleep(0.05)


def _environ(entry: Path) -> bytes:
    try:
        return (entry / "environ").read_bytes() if entry.name.isdigit() else b""
    except OSError:
        return b""


async def said(data: Path, instance_id: str) -> dict[str, Any]:
    """The first line of JSON that the application wrote."""
    path = data / "run" / instance_id / "app.log"
    with anyio.fail_after(30):
        while True:
            for line in path.read_text().splitlines() if path.exists() else []:
                if line.startswith("{"):
                    return json.loads(line)
            await anyio.sleep(0.05)


Launch = Callable[..., Any]


@pytest.fixture
async def launch(data: Path, podman: Podman) -> AsyncIterator[Launch]:
    """Start instances; each is killed at the end if the test did not end it."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, spawner: ContainerSpawner | None = None, **changes: Any):
            own = spawner or make_spawner(data, podman)
            spec = make_spec(*arguments, **changes)
            handle = await own.start(spec)

            async def end() -> None:
                await handle.kill()
                await handle.close()
                await gone(spec.instance_id)
                await own.clean(spec.instance_id)

            stack.push_async_callback(end)
            return handle, spec

        yield start
