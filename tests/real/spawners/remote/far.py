"""Another machine: an engine on a host of its own, which nothing reaches but by TLS."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path

import trustme
from tests.real.spawners.container.conftest import CONFIG, Podman

import downstage
from downstage.testing.networks import Networks

PLACES = f"{Path(sys.executable).parent}:{os.defpath}"
# The store of images outlives a run, and another checkout has another Python.
NODE_IMAGE = f"localhost/downstage-tests/node-{blake2s(PLACES.encode(), digest_size=6).hexdigest()}"
HOST = "far"
PORT, PLAIN = 2376, 2375
READY_S = 30.0
RELAY = Path(__file__).parent / "programs" / "relay.py"
EMPTY = (
    *("usr", "etc", "etc/alternatives", "etc/fonts", "etc/ssl", "proc", "sys", "dev", "run"),
    *("tmp", "var", "var/tmp", "root"),
)


class Far:
    """The machine; a context manager that leaves nothing."""

    def __init__(self, folder: Path, podman: Podman) -> None:
        self.folder, self.podman = folder, podman
        self.networks = Networks(control=(), media=(HOST,))
        self.certificates = folder / "certificates"
        self.socket = folder / "far.sock"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return self.networks.address(HOST, "media")

    @property
    def outside(self) -> str:
        """Where the tests' own process, and all that it runs, is reached from there."""
        return self.networks.address("", "media")

    @property
    def engine(self) -> str:
        return f"tcp://{self.address}:{PORT}"

    @property
    def volumes(self) -> tuple[str, ...]:
        """What an image of a release would hold."""
        source = Path(downstage.__file__).resolve().parents[2]
        folders = {"/usr", sys.prefix, sys.base_prefix, str(source)}
        folders |= {"/etc/alternatives", "/etc/fonts", "/etc/ssl"}
        return tuple(f"{folder}:{folder}:ro" for folder in sorted(folders))

    def __enter__(self) -> Far:
        self.networks.__enter__()
        try:
            self._certify()
            self._import()
            self._serve("engine", f"unix://{self.socket}")
            self._serve("plain", f"tcp://127.0.0.1:{PLAIN}")
            files = (self.certificates / name for name in ("ca.pem", "server.pem", "server.key"))
            here = self.networks.enter(HOST)
            self._processes["relay"] = self.relay(
                self.address, PORT, "127.0.0.1", PLAIN, *files, prefix=here
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
        for name in self.nodes():
            self.podman.run("rm", "--force", "--time=0", name)
        self.networks.close()

    def open(self) -> None:
        """Let them in again."""
        self._tell(signal.SIGUSR2)

    def sever(self) -> None:
        """Everything that goes through is cut off, and nothing gets in."""
        self._tell(signal.SIGUSR1)

    def _tell(self, number: signal.Signals) -> None:
        relay = self._processes["relay"]
        relay.send_signal(number)
        assert relay.stdout is not None
        assert relay.stdout.readline() == b"READY\n"

    def relay(self, *arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """A relay that listens already."""
        command = [*prefix, sys.executable, str(RELAY), *(str(item) for item in arguments)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"READY\n"
        return process

    def nodes(self) -> list[str]:
        """Names of the node containers of this machine; others may have their own on the disk."""
        told = self.podman.run(
            "ps", "--all", "--format", "json", "--filter", "name=^downstage-node-"
        )
        names = [one["Names"][0] for one in json.loads(told.stdout or "[]")]
        return [
            name for name in names if str(self.socket) in self.podman.run("inspect", name).stdout
        ]

    def _serve(self, name: str, url: str) -> None:
        command = self.podman.command("system", "service", "--time=0", url)
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*self.networks.enter(HOST), *command],
                env={**self.podman.environment, "CONTAINERS_CONF": str(self._bounds())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes[name] = process
        until = time.monotonic() + READY_S
        while not self._answers(url):
            if process.poll() is not None or time.monotonic() > until:
                text = (self.folder / f"{name}.log").read_text()
                raise RuntimeError(f"no engine on {url}: {text[-400:]}")
            time.sleep(0.05)

    def _bounds(self) -> Path:
        """As the podman of the other tests, but for its API, which swaps a bound's two numbers."""
        path = self.folder / "containers.conf"
        path.write_text(CONFIG.replace("1024:20000", "20000:20000"))
        return path

    def _answers(self, url: str) -> bool:
        if url.startswith("unix"):
            return self.socket.exists()
        text = Path(f"/proc/{self._processes['plain'].pid}/net/tcp").read_text()
        return f":{PLAIN:04X} 00000000:0000 0A" in text

    def _certify(self) -> None:
        self.certificates.mkdir(mode=0o700)
        authority = trustme.CA()
        server = authority.issue_cert(self.address)
        client = authority.issue_cert("manager@downstage.test")
        authority.cert_pem.write_to_path(str(self.certificates / "ca.pem"))
        server.private_key_and_cert_chain_pem.write_to_path(str(self.certificates / "server.pem"))
        server.private_key_pem.write_to_path(str(self.certificates / "server.key"))
        client.cert_chain_pems[0].write_to_path(str(self.certificates / "cert.pem"))
        client.private_key_pem.write_to_path(str(self.certificates / "key.pem"))
        (self.certificates / "key.pem").chmod(0o600)

    def _import(self) -> None:
        """An image without anything: its folders are this machine's own."""
        if self.podman.run("image", "exists", NODE_IMAGE).returncode == 0:
            return
        path = self.folder / "node.tar"
        with tarfile.open(path, "w") as archive:
            for name in EMPTY:
                item = tarfile.TarInfo(name)
                item.type, item.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(item)
            for name in ("bin", "sbin", "lib", "lib64"):
                item = tarfile.TarInfo(name)
                item.type, item.linkname = tarfile.SYMTYPE, f"usr/{name}"
                archive.addfile(item)
            users = b"root:x:0:0:root:/root:/bin/sh\n"
            item = tarfile.TarInfo("etc/passwd")
            item.size = len(users)
            archive.addfile(item, io.BytesIO(users))
        done = self.podman.run("import", "--change", f"ENV PATH={PLACES}", str(path), NODE_IMAGE)
        path.unlink()
        assert done.returncode == 0, done.stderr[-400:]


__all__ = ["HOST", "NODE_IMAGE", "Far"]
