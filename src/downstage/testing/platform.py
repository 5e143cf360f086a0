"""A whole platform as a process of its own: started, called, killed, started again."""

from __future__ import annotations

import json
import os
import selectors
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Self, cast

__all__ = ["Answer", "PlatformProcess", "processes_of"]

START_S = 180.0
"""A machine that is busy with much else takes twenty seconds and more for one."""
END_S = 10.0
POLL_S = 0.05
FILES_PORT = "DOWNSTAGE_CONTENT__ORIGIN_PORT"
"""A free one: started again on the port it had, a platform would take 8601, as would all others."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, its body decoded where it is JSON."""

    status: int
    headers: Message
    body: Any


class PlatformProcess:
    """``downstage up --json`` on a data folder; a context manager that leaves nothing running.

    Args:
        data: its data folder; the same one again is the same platform, started again.
        arguments: further options of ``downstage up``.
        command: ``up`` or another command that prints the JSON line.
        environment: further variables.
    """

    def __init__(
        self,
        data: Path,
        *arguments: str,
        command: str = "up",
        environment: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.data = data
        self._port = 0
        self._command = command
        self._arguments = arguments
        self._prefix = prefix
        self._environment = {FILES_PORT: "0", **os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self.facts: dict[str, Any] = {}
        """What the JSON line said: url, join_url, token, user, password."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the platform, as long as it runs."""
        assert self._process is not None, "not started"  # noqa: S101 - a test's own mistake
        return self._process.pid

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return str(self.facts["url"])

    def start(self) -> None:
        """Start it, on the port it had before, and return once it said that all is ready.

        Raises:
            RuntimeError: it ended or said nothing in time; the text has the end of its output.
        """
        command = [*self._prefix, sys.executable, "-m", "downstage", self._command, "--json"]
        command += ["--port", str(self._port), "--operator-port", "0"]
        command += ["--data", str(self.data), *self._arguments]
        with self._output().open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self._environment,
            )
        line = self._first_line(START_S)
        if not line:
            self.kill()
            raise RuntimeError(f"the platform did not start: {self.output()[-2000:]}")
        self.facts = json.loads(line)
        self._port = int(self.url.rsplit(":", 1)[1])

    def _first_line(self, deadline_s: float) -> str:
        stdout = cast("subprocess.Popen[str]", self._process).stdout
        assert stdout is not None  # noqa: S101 - asked for a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            return stdout.readline() if selector.select(deadline_s) else ""

    def _output(self) -> Path:
        return self.data.with_name(f"{self.data.name}.output")

    def output(self) -> str:
        """Everything it wrote to standard error, and its log."""
        log = self.data / "log" / "platform.log"
        texts = [p.read_text(errors="replace") for p in (self._output(), log) if p.exists()]
        return "\n".join(texts)

    def stop(self) -> float:
        """Ctrl-C; returns how many seconds it took. By force after `END_S`."""
        return self._end(signal.SIGINT)

    def kill(self) -> None:
        """``kill -9``: what it started is left to its keepers."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> float:
        process, began = self._process, time.monotonic()
        if process is None:
            return 0.0
        process.send_signal(number)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._process = None
        if number == signal.SIGINT:
            self._output().unlink(missing_ok=True)
        return time.monotonic() - began

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        token: str | None = "",
    ) -> Answer:
        """One request with the platform's own token (another, or None for none)."""
        given = {"content-type": "application/json", **(headers or {})}
        bearer = self.facts["token"] if token == "" else token
        if bearer:
            given["authorization"] = f"Bearer {bearer}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(  # noqa: S310 - our own platform
            self.url + path, method=method, data=data, headers=given
        )
        try:
            with urllib.request.urlopen(  # noqa: S310 - our own platform
                request, timeout=15, context=self._trust()
            ) as answer:
                return _decoded(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return _decoded(error.code, error.headers, error.read())

    def _trust(self) -> ssl.SSLContext | None:
        """Where the platform has its own authority, that one alone."""
        root = self.data / "tls" / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        return ssl.create_default_context(cafile=str(root)) if root.exists() else None

    def create(self, application: str, **fields: object) -> dict[str, Any]:
        """A session that is ready.

        Raises:
            RuntimeError: it was refused or ended instead.
        """
        made = self.call("POST", "/v1/sessions", {"application": application, **fields})
        if made.status != 201:  # noqa: PLR2004 - HTTP
            raise RuntimeError(f"{made.status}: {made.body}")
        self.wait_state(made.body["id"], "ready", "active")
        return made.body

    def wait_state(self, session_id: str, *states: str, deadline_s: float = 40) -> dict[str, Any]:
        """The session once it is in one of *states*.

        Raises:
            RuntimeError: it ended before, or the deadline passed.
        """
        end = time.monotonic() + deadline_s
        while True:
            session = self.call("GET", f"/v1/sessions/{session_id}").body
            if session["state"] in states:
                return session
            if session["state"] == "ended" or time.monotonic() > end:
                raise RuntimeError(f"waited for {states}: {session}")
            time.sleep(POLL_S)

    def link(self, session_id: str, **parameters: str) -> str:
        """A new join link, with *parameters* in its query."""
        url = str(self.call("POST", f"/v1/sessions/{session_id}/links").body["join_url"])
        address, _, fragment = url.partition("#")
        for key, value in parameters.items():
            address += ("&" if "?" in address else "?") + f"{key}={value}"
        return f"{address}#{fragment}"

    def processes(self) -> dict[int, str]:
        """Every process of this platform, its keepers and instances: pid → command line."""
        return processes_of(str(self.data))


def processes_of(marker: str) -> dict[int, str]:
    """Processes whose command line names *marker*, and all their descendants."""
    table = dict[int, tuple[int, str]]()
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names are enough
        try:
            status = Path("/proc", name, "stat").read_text().rsplit(") ", 1)[1].split()
            raw = Path("/proc", name, "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if status[0] not in "ZX":
            table[int(name)] = (int(status[1]), raw.replace(b"\0", b" ").decode(errors="replace"))
    found = {pid for pid, (_, text) in table.items() if marker in text and pid != os.getpid()}
    grew = True
    while grew:
        children = {pid for pid, (parent, _) in table.items() if parent in found} - found
        found |= children
        grew = bool(children)
    return {pid: table[pid][1] for pid in found}


def _decoded(status: int, headers: Message, raw: bytes) -> Answer:
    if "json" in headers.get("content-type", ""):
        return Answer(status, headers, json.loads(raw) if raw else None)
    return Answer(status, headers, raw.decode("utf-8", "replace"))
