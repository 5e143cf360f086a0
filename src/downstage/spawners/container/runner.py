"""``python -m downstage.spawners.container.runner <instance folder> [--remove]``: one container.

A child of the keeper, in the place where bubblewrap would be. It creates the container, writes
out what the container writes (standard output), tells the keeper what it learns (standard error,
JSON lines), and is gone when the container is. ``SIGTERM`` is handed on, ``SIGQUIT`` kills the
container; that also comes when the keeper dies. The end is seen by the process itself, not by
the engine's word, so neither a hanging engine nor a lost answer holds an instance.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from downstage.spawners.container import egress
from downstage.spawners.container.body import Published, create_body
from downstage.spawners.container.engine import Attached, Engine, EngineError, Refused
from downstage.spawners.container.memory import OomCounter, counter_of
from downstage.spawners.container.plan import PLAN, SEAMS, ContainerPlan, Seams, name_of
from downstage.spawners.container.ports import NoPort, choose

__all__ = ["Runner", "main"]

TRIES = 5
"""To find ports that nobody takes between our look and the engine's."""

SETTLE_S = 5.0
"""For the engine to tell the exit code of a container that has ended."""

DRAIN_S = 2.0
KILLED = 137
NO_START = 125
MAX_DETAIL = 1000
MAX_RESOLVING = 64 * 1024


class _CannotStart(Exception):
    """With what a person is told."""


class Runner:
    """Everything about one container; see the module."""

    def __init__(self, plan: ContainerPlan, seams: Seams, engine: Engine) -> None:
        self._plan, self._seams, self._engine = plan, seams, engine
        self._name = name_of(plan.instance_id)
        self._attached: Attached | None = None
        self._pid, self._handle = 0, -1
        self._counter = OomCounter(None)
        self._asked = list[int]()
        self._is_killed = False
        self._wake, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, lambda number, _frame: self._asked.append(number))

    def run(self) -> int:
        """From its creation to its removal; the exit code."""
        try:
            self._start()
        except (_CannotStart, EngineError, egress.EgressError, NoPort) as error:
            self._remove()
            detail = f"The container cannot be started: {error}"[:MAX_DETAIL]
            _tell(ended={"reason": "start-failed", "detail": detail, "exit_code": None})
            return NO_START
        self._stay()
        code = self._end()
        self._remove()
        return code

    # Starting

    def _start(self) -> None:
        container, ports = self._created()
        self._attached = self._engine.attach(container)
        if self._plan.network:
            self._fence(container, ports)
        self._engine.start(container)
        if ports:
            _tell(ports=ports)
        self._hold(container)

    def _created(self) -> tuple[str, list[Published]]:
        """The container, on ports that the engine could have; a fresh choice for each try."""
        plan = self._plan
        for left in reversed(range(TRIES)):
            self._engine.remove(self._name)
            ports = choose(plan.ports, plan.port_range, plan.host)
            body = create_body(plan, self._seams, ports)
            container = self._engine.create(self._name, body)
            if not ports or not plan.is_podman:
                return container, ports
            try:
                self._engine.prepare(container)
            except Refused as error:
                if left == 0 or "in use" not in str(error):
                    raise
                continue
            return container, ports
        raise _CannotStart("no ports could be published")

    def _fence(self, container: str, ports: list[Published]) -> None:
        if not self._plan.is_podman:
            raise _CannotStart(
                "applications with network need Podman: this engine cannot bound what they reach"
            )
        if not ports:
            self._engine.prepare(container)
        found = self._engine.inspect(container)
        pid = int(found["State"]["Pid"])
        text = _resolving(str(found["ResolvConfPath"]), pid)
        egress.apply(
            pid,
            egress.rules(egress.addresses_of_this_machine(), egress.resolvers(text), ports),
            in_user_namespace=os.getuid() != 0,
        )

    def _hold(self, container: str) -> None:
        """Get hold of its first process; one that has ended already is none."""
        state = self._engine.inspect(container)["State"]
        self._pid = int(state.get("Pid") or 0)
        if not self._pid:
            return
        self._counter = counter_of(self._pid)
        try:
            self._handle = os.pidfd_open(self._pid)
        except OSError:
            return  # gone between the two calls
        if int(self._engine.inspect(container)["State"].get("Pid") or 0) != self._pid:
            os.close(self._handle)
            self._handle = -1
            return
        _tell(pid=self._pid)

    # While it runs

    def _stay(self) -> None:
        while self._handle >= 0:
            for ready in self._wait():
                if ready == self._handle:
                    self._counter.read()
                    os.close(self._handle)
                    self._handle = -1
            while self._asked:
                self._signal(self._asked.pop(0))

    def _wait(self) -> list[int]:
        attached = self._attached
        handles = [self._handle, self._wake]
        if attached is not None and attached.is_open:
            handles.append(attached.fileno())
        ready, _, _ = select.select(handles, [], [])
        if self._wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
        if attached is not None and attached.is_open and attached.fileno() in ready:
            self._pass_on(attached)
        return ready

    def _pass_on(self, attached: Attached) -> None:
        _write(1, attached.take())
        if not attached.is_open:
            attached.close()
            # The engine was restarted, or the program closed its output; the first is worth a try.
            with contextlib.suppress(EngineError):
                found = self._engine.inspect(self._name)
                if found["State"].get("Running") and self._is_alive():
                    time.sleep(0.1)
                    self._attached = self._engine.attach(self._name)

    def _is_alive(self) -> bool:
        return self._handle >= 0 and not select.select([self._handle], [], [], 0)[0]

    def _signal(self, number: int) -> None:
        """Hand it on by the kernel where we may, else by the engine."""
        number = signal.SIGKILL if number == signal.SIGQUIT else number
        self._is_killed |= number == signal.SIGKILL
        try:
            signal.pidfd_send_signal(self._handle, number)
        except ProcessLookupError:
            return
        except (PermissionError, OSError):
            try:
                self._engine.signal(self._name, signal.Signals(number).name)
            except EngineError as error:
                _say(f"the container could not be told: {error}")

    # Its end

    def _end(self) -> int:
        self._drain()
        state = self._final_state()
        code = state.get("ExitCode")
        exit_code = int(code) if isinstance(code, int) else (KILLED if self._is_killed else None)
        is_memory = exit_code == KILLED and not self._is_killed
        is_memory = is_memory and (bool(state.get("OOMKilled")) or self._counter.read() > 0)
        _tell(
            ended={
                "reason": "out-of-memory" if is_memory else "application-exited",
                "detail": self._detail(exit_code, is_memory=is_memory),
                "exit_code": exit_code,
            }
        )
        return 0 if exit_code is None else exit_code & 0xFF

    def _detail(self, code: int | None, *, is_memory: bool) -> str:
        if is_memory:
            return (
                f"The application used more than the {self._plan.memory_mb} MiB of memory that it "
                "may have, and was ended (137)."
            )
        if code is None:
            return "The application ended, and the engine did not tell how."
        return f"The application ended with code {code}."

    def _final_state(self) -> dict[str, Any]:
        """What the engine knows of a container whose process is gone; it may lag behind."""
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            try:
                state: dict[str, Any] = self._engine.inspect(self._name)["State"]
                if not state.get("Running"):
                    return state
            except Refused:
                return {}
            except EngineError:
                pass
            time.sleep(0.05)
        return {}

    def _drain(self) -> None:
        """Take the last of its output."""
        until = time.monotonic() + DRAIN_S
        attached = self._attached
        while attached is not None and attached.is_open and time.monotonic() < until:
            if select.select([attached.fileno()], [], [], 0.2)[0]:
                _write(1, attached.take())
        if attached is not None:
            attached.close()

    def _remove(self) -> None:
        try:
            self._engine.remove(self._name)
        except EngineError as error:
            _say(f"the container could not be removed: {error}")  # the spawner does, by its label


def _resolving(path: str, pid: int) -> str:
    """What the engine wrote of name servers for a container.

    A node container has not the engine's files: there it is read where the application will see
    it, put by the engine over whatever the image has.
    """
    if Path(path).exists():
        return Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW
        folder = os.open(f"/proc/{pid}/root/etc", flags | os.O_DIRECTORY)
        try:
            handle = os.open("resolv.conf", flags, dir_fd=folder)
        finally:
            os.close(folder)
        with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
            return file.read(MAX_RESOLVING)
    except OSError as error:
        raise _CannotStart(f"its name servers cannot be read: {error.strerror}") from error


def _tell(**what: Any) -> None:
    _write(2, json.dumps(what).encode() + b"\n")


def _say(text: str) -> None:
    _tell(log=text)


def _write(handle: int, data: bytes) -> None:
    """All of *data*; a keeper that is gone takes nothing, and will have us killed."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(handle, view) :]
        except InterruptedError:
            continue
        except OSError as error:
            if error.errno == errno.EPIPE:
                return
            raise


def _read(path: Path, kind: type[Any]) -> Any:
    return kind(**json.loads(path.read_text(encoding="utf-8")))


def main() -> int:
    """Run, or remove what is left of, the container of the folder in the arguments."""
    folder = Path(sys.argv[1])
    plan: ContainerPlan = _read(folder / PLAN, ContainerPlan)
    engine = Engine(plan.engine)
    if "--remove" in sys.argv[2:]:
        try:
            engine.remove(name_of(plan.instance_id))
        except EngineError as error:
            _say(f"the container could not be removed: {error}")
            return 1
        return 0
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return Runner(plan, _read(folder / SEAMS, Seams), engine).run()


if __name__ == "__main__":
    sys.exit(main())
