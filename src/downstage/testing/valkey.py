"""Real engines of streams for tests: Valkey alone, with a replica, as a cluster; an old Redis.

Each is a context manager that leaves nothing running::

    with valkey_process() as server:
        settings = Settings.model_validate({"streams": {"url": server.url}})
        server.kill9()
        server.restart()
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import hiredis

from downstage.streams.engine.configuration import find_engine

__all__ = [
    "EngineServer",
    "ValkeyCluster",
    "ValkeyPair",
    "redis_process",
    "valkey_cluster",
    "valkey_pair",
    "valkey_process",
]

START_S = 20.0
STOP_S = 10.0
POLL_S = 0.01
PASSWORD = "only-for-tests"  # noqa: S105 - of servers that live as long as a test


class EngineServer:
    """One server on a loopback port, in a folder of its own.

    Args:
        program: path of ``valkey-server`` or ``redis-server``.
        configuration: further lines of its configuration file.
        password: of everybody; empty: none is asked for.
        tls: certificate, key and authority: it then speaks TLS alone.
    """

    def __init__(
        self,
        program: str,
        configuration: str = "",
        *,
        password: str = PASSWORD,
        tls: tuple[Path, Path, Path] | None = None,
    ) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="ds-vk-", dir="/tmp"))
        self._program = program
        self._configuration = configuration
        self._password = password
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """What ``streams.url`` takes."""
        secret = f":{self._password}@" if self._password else ""
        if self._tls is not None:
            authority = self._tls[2]
            return f"rediss://{secret}localhost:{self.port}?ssl_ca_certs={authority}"
        return f"redis://{secret}127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "not started"  # noqa: S101 - a test's own mistake
        return self._process.pid

    def start(self, *, loaded: bool = True) -> None:
        """Start it; return once it answers, with *loaded* once it has read its data too.

        Raises:
            RuntimeError: it ended or did not answer in time; the text has its output.
        """
        path = self.folder / "server.conf"
        path.write_text("\n".join(self._lines()) + "\n" + self._configuration, encoding="utf-8")
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_for(lambda: self._is_up(loaded=loaded), "the engine of streams")
        except RuntimeError as error:
            self.kill9()
            raise RuntimeError(f"{error}: {self.output()[-2000:]}") from None

    def _lines(self) -> list[str]:
        lines = ["bind 127.0.0.1", f"dir {self.folder}", 'save ""', "repl-diskless-sync-delay 0"]
        if self._password:
            lines += [f"requirepass {self._password}", f"masterauth {self._password}"]
        if self._tls is None:
            return [*lines, f"port {self.port}"]
        certificate, key, authority = self._tls
        lines += ["port 0", f"tls-port {self.port}", "tls-auth-clients no"]
        files = [f"tls-cert-file {certificate}", f"tls-key-file {key}"]
        return [*lines, *files, f"tls-ca-cert-file {authority}"]

    def _is_up(self, *, loaded: bool) -> bool:
        assert self._process is not None  # noqa: S101 - set just before
        if self._process.poll() is not None:
            raise RuntimeError("the engine of streams ended")
        if self._tls is not None:  # good enough: TLS is for one small test
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False
        try:
            answer = self.call("PING")
        except OSError:
            return False
        return not (loaded and isinstance(answer, hiredis.ReplyError))

    def call(self, *arguments: str | int | bytes) -> Any:
        """Send one command on a connection of its own; errors are returned, not raised.

        Raises:
            OSError: nobody answers.
        """
        reader = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            commands = [("AUTH", self._password)] if self._password else []
            answer: Any = None
            for command in [*commands, arguments]:
                connection.sendall(hiredis.pack_command(command))
                while (answer := reader.gets()) is False:
                    received = connection.recv(65536)
                    if not received:
                        raise ConnectionError("the engine closed the connection")
                    reader.feed(received)
        return answer

    def info(self, name: str) -> str:
        """One field of its INFO; empty where there is none."""
        text = bytes(self.call("INFO")).decode()
        lines = (line.partition(":") for line in text.splitlines())
        return next((value for key, _, value in lines if key == name), "")

    def output(self) -> str:
        """What it has printed."""
        return (self.folder / "output").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Ask it to end; return when it has. Safe to repeat."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill9()

    def kill9(self) -> None:
        """End it and what it forked at once, as a crash would."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_S)

    def restart(self, *, loaded: bool = True) -> None:
        """Stop it, if it runs, and start it on the same port with the same data."""
        self.stop()
        self.start(loaded=loaded)

    def pause(self) -> None:
        """Stop its clock: connections stay, nothing moves."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


def valkey_process(
    configuration: str = "", *, fsync: str = "everysec", password: str = PASSWORD
) -> EngineServer:
    """A Valkey alone.

    *fsync*: ``everysec``, ``always``, ``no`` (it writes before it answers, and does not sync), or
    ``none``: it then keeps no log.
    """
    return EngineServer(find_engine(), _log(fsync) + configuration, password=password)


def redis_process(
    configuration: str = "",
    *,
    fsync: str = "everysec",
    password: str = PASSWORD,
    tls: tuple[Path, Path, Path] | None = None,
) -> EngineServer:
    """The system's ``redis-server``, which may be old.

    Raises:
        RuntimeError: there is none.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("there is no redis-server: apt install redis-server")
    return EngineServer(program, _log(fsync) + configuration, password=password, tls=tls)


def _log(fsync: str) -> str:
    if fsync == "none":
        return "appendonly no\n"
    return f"appendonly yes\nappendfsync {fsync}\n"


@dataclass(slots=True)
class ValkeyPair:
    """A primary and a replica that follows it."""

    primary: EngineServer
    replica: EngineServer

    @property
    def url(self) -> str:
        """Of the primary."""
        return self.primary.url

    def promote(self) -> None:
        """Let the replica lead; names are changed: `primary` leads afterwards.

        The other one follows it, if it runs. One that was killed does not follow: `follow`.
        """
        self.replica.call("REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary
        with suppress(OSError):
            self.follow()

    def follow(self) -> None:
        """Have `replica` follow `primary`, and return once it is level."""
        self.replica.call("REPLICAOF", "127.0.0.1", self.primary.port)
        wait_for(lambda: self.replica.info("master_link_status") == "up", "the replica")


@contextmanager
def valkey_pair(configuration: str = "", *, fsync: str = "everysec") -> Generator[ValkeyPair]:
    """A primary with one replica, which is up to date."""
    with (
        valkey_process(configuration, fsync=fsync) as primary,
        valkey_process(configuration, fsync=fsync) as replica,
    ):
        pair = ValkeyPair(primary, replica)
        pair.follow()
        wait_for(lambda: "state=online" in primary.info("slave0"), "the primary")
        yield pair


@dataclass(frozen=True, slots=True)
class ValkeyCluster:
    """Nodes that hold a part of the slots each; then as many replicas, if wanted, in that order."""

    nodes: tuple[EngineServer, ...]

    @property
    def url(self) -> str:
        """Of one node: the others are found."""
        return self.nodes[0].url

    def wait_ok(self) -> None:
        """Return once every node that runs finds the cluster whole."""

        def is_ok() -> bool:
            for node in self.nodes:
                with suppress(OSError):
                    if b"cluster_state:ok" not in node.call("CLUSTER", "INFO"):
                        return False
            return True

        wait_for(is_ok, "the cluster")


@contextmanager
def valkey_cluster(
    count: int = 3, *, replicas: bool = False, fsync: str = "everysec", configuration: str = ""
) -> Generator[ValkeyCluster]:
    """A cluster of *count* primaries that share the slots, each with a replica if wanted."""
    with ExitStack() as stack:
        nodes = tuple(
            stack.enter_context(valkey_process(_member() + configuration, fsync=fsync))
            for _ in range(count * (2 if replicas else 1))
        )
        cluster = ValkeyCluster(nodes)
        bounds = [16384 * n // count for n in range(count + 1)]
        for number, node in enumerate(nodes):
            node.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < count:
                node.call("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        for node in nodes[1:]:
            node.call("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, _bus_port(nodes[0]))
        wait_for(lambda: all(_knows(node, len(nodes)) for node in nodes), "the cluster")
        for primary, replica in zip(nodes, nodes[count:], strict=False):
            replica.call("CLUSTER", "REPLICATE", bytes(primary.call("CLUSTER", "MYID")))
            wait_for(
                lambda at=replica: at.info("master_link_status") == "up", "a replica of the cluster"
            )
        cluster.wait_ok()
        yield cluster


def _member() -> str:
    return (
        f"cluster-enabled yes\ncluster-port {free_port()}\ncluster-announce-ip 127.0.0.1\n"
        "cluster-node-timeout 2000\ncluster-require-full-coverage no\n"
        "cluster-replica-validity-factor 0\n"
    )


def _bus_port(node: EngineServer) -> int:
    return int(node.call("CONFIG", "GET", "cluster-port")[1])


def _knows(node: EngineServer, count: int) -> bool:
    facts = bytes(node.call("CLUSTER", "NODES")).decode()
    lines = facts.splitlines()
    return len(lines) == count and "handshake" not in facts and "disconnected" not in facts


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    """Return once *is_so* answers True.

    Raises:
        RuntimeError: it did not in time.
    """
    deadline = time.monotonic() + START_S
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} was not ready within {START_S:g} s")
        time.sleep(POLL_S)
