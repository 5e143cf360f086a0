"""A node that is reached by ssh: with a real server where one is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from tests.real.spawners.conftest import reports_until

from downstage.spawners.remote.spawner import RemoteSpawner
from downstage.spawners.spawner import NodeUnreachable

from .conftest import REFUSED, Managers, make_spec, settings_of
from .far import HOST, Far

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(300)]

PORT = 2222
INSTEAD = Path(__file__).parent / "programs" / "ssh.py"
SERVER = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""
CLIENT = "IdentityFile {folder}/key\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"


@pytest.fixture(scope="module")
def address(far: Far) -> Iterator[str]:
    """The engine's address; ``ssh`` in the path knows the key and the host."""
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    folder, before = far.folder / "ssh", os.environ["PATH"]
    folder.mkdir(mode=0o700)
    process = _serve(far, folder, server) if server and shutil.which("ssh") else None
    words = [sys.executable, str(INSTEAD)]
    if process is not None:
        words = [str(shutil.which("ssh")), "-F", str(folder / "config")]
    (folder / "ssh").write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    (folder / "ssh").chmod(0o700)
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        yield f"ssh://root@{far.address}:{PORT}{far.socket}"
    finally:
        os.environ["PATH"] = before
        if process is not None:
            process.terminate()
            process.wait(10)


def _serve(far: Far, folder: Path, server: str) -> subprocess.Popen[bytes]:
    for name in ("host", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    told = SERVER.format(port=PORT, address=far.address, folder=folder)
    (folder / "server").write_text(told)
    (folder / "config").write_text(CLIENT.format(folder=folder))
    key = (folder / "host.pub").read_text().rpartition(" ")[0]
    (folder / "known").write_text(f"[{far.address}]:{PORT} {key}\n")
    with (folder / "words").open("wb") as words:
        process = subprocess.Popen(
            [*far.networks.enter(HOST), server, "-D", "-e", "-f", str(folder / "server")],
            stdin=subprocess.DEVNULL,
            stderr=words,
        )
    until = time.monotonic() + 30
    while "listening" not in (folder / "words").read_text():
        assert process.poll() is None, (folder / "words").read_text()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


async def test_an_instance_runs_on_a_node_behind_ssh(
    far: Far, managers: Managers, address: str
) -> None:
    spawner = await managers(engine=address, certificates=None)
    spec = make_spec("draw", link_url=f"http://{far.outside}:9", start_deadline_s=60.0)
    handle = await spawner.start(spec)
    await reports_until(handle, "running", 90)
    await handle.stop("stopped")
    assert (await reports_until(handle, "ended", 60))[-1].reason == "stopped"
    await handle.close()


async def test_S01_a_host_that_is_not_known_is_refused(far: Far, place: Path, address: str) -> None:
    del address
    engine = f"ssh://root@unknown.test:{PORT}{far.socket}"
    spawner = RemoteSpawner(settings_of(far, place, REFUSED, engine=engine))
    said = ""
    try:
        with anyio.fail_after(60):
            while "ssh does not reach" not in said:
                with suppress(TimeoutError):
                    try:
                        await spawner.check()
                    except NodeUnreachable as error:
                        said = str(error)
                await anyio.sleep(0.05)
    finally:
        await spawner.close()
    assert f"downstage-node-{REFUSED}" not in far.nodes()
