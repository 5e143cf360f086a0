"""A real PostgreSQL server for tests: one for all of them, a database of its own for each.

::

    with PostgresServer() as server:
        settings = load(overrides={"platform.database": server.database()})

As root it runs as the user ``postgres``, which the Debian package makes. It is no child of the
tests' process, so that checks for processes left behind see it in none of them; should that
process be killed, the server ends by itself.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from functools import cached_property
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

__all__ = ["PostgresServer", "find_postgres"]

START_S = 60
TRIES = 3
USER = "downstage"
ACCOUNT = "postgres"
"""Who runs it where we are root: the server refuses to."""
FAST = ("fsync=off", "full_page_writes=off", "max_connections=200")
WATCH = "while kill -0 {owner} 2>/dev/null; do sleep 2; done; {stop}; rm -rf {folder}"


def find_postgres() -> Path:
    """The folder of the server's programs: the newest that Debian has, else of the path.

    Raises:
        RuntimeError: there is none.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if folders:
        return folders[-1].parent
    found = shutil.which("initdb")
    if found is None:
        raise RuntimeError("there is no PostgreSQL: apt-get install postgresql")
    return Path(found).parent


class PostgresServer:
    """A cluster in a folder of its own, on a unix socket and a free port of the loopback.

    Rows are sorted as people's languages want it (ICU), so that whoever counts on the order of
    bytes is found out. Nothing is synced to the disk.

    Args:
        host: where it listens, in place of the loopback.
        prefix: words before the command, for example to enter a network namespace.
    """

    def __init__(self, *, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> None:
        self._host = host
        self._prefix = prefix
        self._folder: Path | None = None
        self._numbers = count(1)
        self._is_up = False
        self.port = 0
        self.password = secrets.token_urlsafe(12)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop("immediate")
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @cached_property
    def _programs(self) -> Path:
        return find_postgres()

    @property
    def folder(self) -> Path:
        """Where its socket is."""
        assert self._folder is not None, "not started"  # noqa: S101 - a test's own mistake
        return self._folder

    def database(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}", database="postgres")
        return self.url(name)

    def url(self, database: str, password: str | None = None) -> str:
        """The address of *database*, over TCP."""
        given = self.password if password is None else password
        return f"postgresql://{USER}:{given}@{self._host}:{self.port}/{database}"

    def run(self, statement: str, database: str) -> str:
        """Run one SQL statement as the administrator; its rows, a line each."""
        command = [self._programs / "psql", "-h", self.folder, "-p", str(self.port), "-U", USER]
        command += ["-d", database, "-Atqc", statement, "-v", "ON_ERROR_STOP=1"]
        return _run(command, as_postgres=False).strip()

    def start(self) -> None:
        """Start it, on the port it had before; returns once it takes connections.

        Raises:
            RuntimeError: it did not start; the text has its output.
        """
        if self._folder is None:
            self._make()
        for attempt in range(TRIES):
            self.port = self.port or _free_port()
            try:
                self._control("start", "-w", "-t", str(START_S), "-l", str(self.folder / "output"))
            except RuntimeError as error:
                if attempt == TRIES - 1:
                    raise RuntimeError(f"{error}\n{self.output()[-2000:]}") from None
                self.port = 0  # somebody was faster to take it
            else:
                self._is_up = True
                return

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """End it: in order, or as a crash would; safe to repeat."""
        if self._is_up:
            self._is_up = False
            self._control("stop", "-w", "-m", mode)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """End it, and start it on the same port: every connection is cut."""
        self.stop(mode)
        self.start()

    def output(self) -> str:
        """What it has written."""
        path = self.folder / "output"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _make(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ds-pg-", dir="/tmp"))
        secret = self._folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            for path in (self._folder, secret):
                shutil.chown(path, ACCOUNT, ACCOUNT)
        command = [self._programs / "initdb", "-D", self._folder / "data", "-U", USER, "--no-sync"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8"]
        _run([*command, "--locale-provider=icu", "--icu-locale=en-US"], as_postgres=True)
        with (self._folder / "data" / "postgresql.conf").open("a") as config:
            config.write("\n".join(FAST) + f"\nunix_socket_directories='{self._folder}'\n")
        if self._host != "127.0.0.1":
            with (self._folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet scram-sha-256\n")
        self._watch()

    def _watch(self) -> None:
        """A process that is nobody's child ends the server when its owner is no more."""
        stop = " ".join(map(str, [*_as_postgres(), *self._pg_ctl("stop", "-m", "immediate")]))
        script = WATCH.format(owner=os.getpid(), stop=stop, folder=self.folder)
        command = ["sh", "-c", 'setsid sh -c "$1" </dev/null >/dev/null 2>&1 &', "sh", script]
        _run(command, as_postgres=False)

    def _control(self, verb: str, *arguments: str) -> None:
        options = f"-p {self.port} -c listen_addresses={self._host}"
        more = ["-o", options] if verb == "start" else []
        command = [*self._pg_ctl(verb, *arguments), *more]
        _run(command, as_postgres=True, prefix=self._prefix)

    def _pg_ctl(self, verb: str, *arguments: str) -> list[str | Path]:
        return [self._programs / "pg_ctl", "-D", self.folder / "data", "-s", verb, *arguments]


def _run(
    command: list[str | Path] | list[str], *, as_postgres: bool, prefix: tuple[str, ...] = ()
) -> str:
    whole = [*prefix, *(_as_postgres() if as_postgres else []), *command]
    # The server inherits what pg_ctl has: a pipe would stay open for as long as it runs.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            whole,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            timeout=START_S * 2,
            check=False,
        )
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if done.returncode:
        raise RuntimeError(f"{Path(whole[0]).name} failed: {text[-2000:]}")
    return text


def _as_postgres() -> list[str]:
    return ["runuser", "-u", ACCOUNT, "--"] if os.geteuid() == 0 else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parts[-3].split(".") if part.isdigit())
