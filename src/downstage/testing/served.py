"""A platform whose services run each in a process of its own: what `PlatformProcess` is for one."""

from __future__ import annotations

import json
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from downstage.testing.platform import PlatformProcess

__all__ = ["ORDER", "ServedPlatform"]

ORDER = ("identity", "content", "streams", "manager", "agent", "gateway")
"""Each knows the addresses of those before it."""
START_S = 180.0
END_S = 10.0
ANSWERS = " answers on "


class ServedPlatform(PlatformProcess):
    """``downstage serve`` for each service, each with a data folder of its own below *data*.

    Calls go to the gateway, with the token that identity left for its operator.

    Args:
        data: the folder of all.
        uris: addresses that others are to use for a service in place of its own, for example
            ``{"agent": "nats://127.0.0.1:4222/agent"}``.
        secret: what a service proves itself with; one for all where it is not given.
        environment: further variables for all of them.
        gateways: how many of them there are: ``gateway``, ``gateway-2`` and so on, each with an
            address of its own, which the others know. They need one database: name it by
            ``DOWNSTAGE_PLATFORM__DATABASE``.
        without: services that are not needed.
    """

    def __init__(
        self,
        data: Path,
        *,
        uris: Mapping[str, str] | None = None,
        secret: Callable[[str], str] | None = None,
        environment: Mapping[str, str] | None = None,
        gateways: int = 1,
        without: tuple[str, ...] = (),
    ) -> None:
        super().__init__(data, environment=environment)
        self._ports = [_free_port() for _ in range(gateways)]
        self._order = tuple(name for name in ORDER if name not in without)
        self._given: dict[str, Mapping[str, str]] = {}
        self._secret = secret or _one_secret()
        self._uris = dict(uris or {})
        self._places: dict[str, int] = {}
        """Port of each."""
        self._services: dict[str, subprocess.Popen[str]] = {}

    def start(self) -> None:
        """Start them all at once; further gateways once the first has the key that they share.

        Raises:
            RuntimeError: one did not; the text has the end of its output.
        """
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared = dict(self._environment)
        shared |= {_variable(name): uri for name, uri in self._uris.items()}
        for name in self._order:
            self._given[name] = self._prepared(name, shared)
            port = self._ports[0] if name == "gateway" else _free_port()
            self._places[name] = port
            shared.setdefault(_variable(name), f"http://127.0.0.1:{port}")
        for name in self._order:
            self._begin(name)
        for name in self._order:
            self.facts["url"] = self._wait(name)  # the last one's: the gateway's
        for number, port in enumerate(self._ports[1:], 2):
            name = f"gateway-{number}"
            self._given[name] = self._prepared(name, shared)
            self._places[name] = port
            self.start_service(name)
        token = self.data / "identity" / "run" / "operator.token"
        self.facts["token"] = token.read_text(encoding="ascii").strip()

    def start_service(self, name: str) -> str:
        """Start one service, or start it again where it was; its address.

        Raises:
            RuntimeError: it did not start.
        """
        self._begin(name)
        return self._wait(name)

    def _prepared(self, name: str, shared: Mapping[str, str]) -> dict[str, str]:
        """What *name* is given, with a secret of its own in a file."""
        secret = self.data / f"{name}.secret"
        secret.touch(mode=0o600)
        secret.write_text(self._secret(name), encoding="ascii")
        return {**shared, "DOWNSTAGE_SERVICES__SECRET_FILE": str(secret)}

    def _begin(self, name: str) -> None:
        given, port = dict(self._given[name]), self._places[name]
        if name.startswith("gateway") and len(self._ports) > 1:
            urls = [f"http://127.0.0.1:{other}" for other in self._ports if other != port]
            given["DOWNSTAGE_GATEWAY__URL"] = f"http://127.0.0.1:{port}"
            given["DOWNSTAGE_GATEWAY__PEERS"] = json.dumps(urls)
            self._share_key(name)
        self._spawn(name, given, port)

    def _wait(self, name: str) -> str:
        """The address of one that was begun, once it answers there."""
        url = _address(self._services[name])
        if not url:
            text = self.output()[-2000:]
            self.kill()
            raise RuntimeError(f"{name} did not start: {text}")
        self.facts[name] = url
        return url

    def is_running(self, name: str) -> bool:
        """Whether one service was started and not killed since."""
        return name in self._services

    def kill_service(self, name: str) -> None:
        """``kill -9`` for one service."""
        process = self._services.pop(name)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def freeze_service(self, name: str) -> None:
        """It stands still and says nothing, while its connections stay: cut off, for others."""
        self._services[name].send_signal(signal.SIGSTOP)

    def thaw_service(self, name: str) -> None:
        """It goes on where it was."""
        self._services[name].send_signal(signal.SIGCONT)

    def _share_key(self, name: str) -> None:
        """Gateways on one database read what the others sealed."""
        first, own = (self.data / folder / "gateway.key" for folder in ("gateway", name))
        if first.exists() and not own.exists():
            own.parent.mkdir(mode=0o700)
            own.touch(mode=0o600)
            own.write_bytes(first.read_bytes())

    def _spawn(self, name: str, environment: Mapping[str, str], port: int) -> None:
        service = name.partition("-")[0]
        command = [sys.executable, "-m", "downstage", "serve", service, "--port", str(port)]
        command += ["--operator-port", "0", "--data", str(self.data / name)]
        with self._output().open("a", encoding="utf-8") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=dict(environment),
            )
        self._services[name] = process

    def service_pid(self, name: str) -> int:
        """Process id of one service."""
        return self._services[name].pid

    @property
    def pid(self) -> int:
        """The gateway's."""
        return self.service_pid("gateway")

    def _end(self, number: signal.Signals) -> float:
        began = time.monotonic()
        while self._services:
            _, process = self._services.popitem()  # the last started first
            process.send_signal(number)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if number == signal.SIGINT:
            self._output().unlink(missing_ok=True)
        return time.monotonic() - began


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _one_secret() -> Callable[[str], str]:
    secret = secrets.token_urlsafe(32)

    def tell(_service: str) -> str:
        return secret

    return tell


def _variable(service: str) -> str:
    return f"DOWNSTAGE_SERVICES__{service.upper()}"


def _address(process: subprocess.Popen[str]) -> str:
    """What ``serve`` prints once it answers; "" where it ended or took too long."""
    stdout = process.stdout
    assert stdout is not None  # noqa: S101 - asked for a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        line = stdout.readline() if selector.select(START_S) else ""
    return line.partition(ANSWERS)[2].strip() if ANSWERS in line else ""
