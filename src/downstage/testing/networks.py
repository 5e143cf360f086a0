"""Hosts on one machine: network namespaces with cables to two switches, which can be pulled.

::

    with Networks(control=("bus", "gateway"), media=("gateway",)) as networks:
        subprocess.run([*networks.enter("gateway"), "some", "program"])
        networks.cut("gateway")

The tests' own process stands on the switch ``media``, as a person outside does, and not on
``control``. Everything is gone afterwards, processes in the namespaces too, even where the tests'
process was killed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Literal, Self, TypeVar

__all__ = ["Net", "Networks", "is_made_here", "why_not"]

Net = Literal["control", "media"]
Result = TypeVar("Result")
CLONE_NEWNET = 0x40000000
SWITCHES = "switches"
NETS: tuple[Net, ...] = ("control", "media")
FIRST = "10.213.{number}.0/24"
NUMBERS = 250
"""Networks that several runs on one machine may have at once."""
COMMAND_S = 30.0
GONE_S = 10.0
_made = set[IPv4Network]()
WATCH = """
tail --pid={owner} -s 1 -f /dev/null
for host in {hosts}; do
  for pid in $(ip netns pids $host 2>/dev/null); do kill -9 $pid; done
  ip netns del $host
done
for card in lock media; do ip link del ds{number}$card; done
"""


def why_not() -> str | None:
    """Why no namespaces can be made here; None: they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "nsenter"):
        if shutil.which(program) is None:
            return f"network namespaces need {program} (apt-get install iproute2 util-linux)"
    name = f"ds-try-{os.getpid()}"
    try:
        _ip([f"link add {name[:15]} type bridge", f"link del {name[:15]}", f"netns add {name}"])
        _ip([f"netns del {name}"])
    except RuntimeError as error:
        return f"network namespaces cannot be made here: {error}"
    return None


def is_made_here(address: str) -> bool:
    """Whether *address* is in a network that this process has made on this machine."""
    found = ip_address(address)
    return any(found in network for network in _made)


class Networks:
    """Two switches and the hosts on them; a context manager that leaves nothing.

    Args:
        control: hosts with a cable to the switch ``control``.
        media: hosts with one to ``media``; a host may have both.
    """

    def __init__(self, *, control: Sequence[str], media: Sequence[str]) -> None:
        self._on: dict[Net, tuple[str, ...]] = {"control": tuple(control), "media": tuple(media)}
        self._hosts = tuple(dict.fromkeys([*control, *media]))
        self._number = 0
        self._network = IPv4Network(FIRST.format(number=0))
        self._watcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def address(self, host: str, net: Net) -> str:
        """The address of *host* there; the tests' own process is the host ``""`` of ``media``."""
        place = self._hosts.index(host) + 2 if host else 1
        return str(self._network[place + (128 if net == "media" else 0)])

    def enter(self, host: str) -> tuple[str, ...]:
        """Words before a command that is to run there."""
        return ("nsenter", f"--net=/run/netns/{self._name(host)}")

    def inside(self, host: str, work: Callable[[], Result]) -> Result:
        """What *work* answers, done by a thread that stands on *host*."""
        answer = Future[Result]()

        def run() -> None:
            try:
                with Path("/run/netns", self._name(host)).open() as there:
                    _stand_on(there.fileno())
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                answer.set_exception(error)

        thread = Thread(target=run, daemon=True)
        thread.start()
        thread.join()
        return answer.result(0)

    def cut(self, host: str, net: Net | None = None) -> None:
        """Pull the cable of *host* out of a switch, or all of them: nobody is told anything."""
        self._plug(host, net, "down")

    def heal(self, host: str, net: Net | None = None) -> None:
        """Put it back."""
        self._plug(host, net, "up")

    def close(self) -> None:
        """End every process on these hosts, and remove them; safe to repeat."""
        for host in self._hosts:
            _end_all(self._name(host))
        for host in (SWITCHES, *self._hosts):
            _run(["ip", "netns", "del", self._name(host)])
        _run(["ip", "link", "del", self._lock])
        _run(["ip", "link", "del", f"ds{self._number}media"])
        if self._watcher is not None:
            os.killpg(self._watcher.pid, signal.SIGKILL)
            self._watcher.wait()
            self._watcher = None
        _made.discard(self._network)

    def _make(self) -> None:
        self._take_number()
        self._watch()
        _made.add(self._network)
        _ip([f"netns add {self._name(host)}" for host in (SWITCHES, *self._hosts)])
        own = f"ds{self._number}media"
        _ip(
            [
                f"link add {own} type veth peer name outside netns {self._name(SWITCHES)}",
                f"addr add {self.address('', 'media')}/25 dev {own}",
                f"link set {own} up",
            ]
        )
        # Switches stand apart: whoever watches the cards of this machine sees no cable pulled.
        lines = [f"link add {net} type bridge" for net in NETS]
        lines += [f"link set {net} up" for net in NETS]
        lines.append("link set outside master media up")
        for net in NETS:
            for host in self._on[net]:
                cable, name = self._cable(host, net), self._name(host)
                lines.append(f"link add {cable} type veth peer name {net} netns {name}")
                lines.append(f"link set {cable} master {net} up")
        _ip(lines, "-n", self._name(SWITCHES))
        for host in self._hosts:
            inside = ["link set lo up"]
            for net in NETS:
                if host in self._on[net]:
                    inside.append(f"addr add {self.address(host, net)}/25 dev {net}")
                    inside.append(f"link set {net} up")
            _ip(inside, "-n", self._name(host))

    def _take_number(self) -> None:
        """Whoever makes the card that stands for a number has it."""
        for attempt in range(NUMBERS):
            self._number = 1 + (os.getpid() + attempt) % NUMBERS
            if _run(["ip", "link", "add", self._lock, "type", "bridge"]):
                continue
            self._network = IPv4Network(FIRST.format(number=self._number))
            return
        raise RuntimeError("no number is free, or no bridge can be made")

    def _watch(self) -> None:
        hosts = " ".join(self._name(host) for host in (SWITCHES, *self._hosts))
        script = WATCH.format(owner=os.getpid(), hosts=hosts, number=self._number)
        self._watcher = subprocess.Popen(
            ["sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _plug(self, host: str, net: Net | None, state: str) -> None:
        on: list[Net] = [item for item in NETS if host in self._on[item] and net in (None, item)]
        lines = [f"link set {self._cable(host, item)} {state}" for item in on]
        _ip(lines, "-n", self._name(SWITCHES))

    def _name(self, host: str) -> str:
        return f"ds{self._number}-{host}"

    @property
    def _lock(self) -> str:
        return f"ds{self._number}lock"

    def _cable(self, host: str, net: Net) -> str:
        return f"ds{self._number}{net[0]}{self._hosts.index(host)}"


def _stand_on(namespace: int) -> None:
    """Move this very thread."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _end_all(name: str) -> None:
    deadline = time.monotonic() + GONE_S
    while pids := _pids(name):
        for pid in pids:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise RuntimeError(f"still on {name}: {pids}")
        time.sleep(0.05)


def _pids(name: str) -> list[int]:
    command = ["ip", "netns", "pids", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    return [int(word) for word in done.stdout.split()] if done.returncode == 0 else []


def _ip(lines: Iterable[str], *options: str) -> None:
    done = subprocess.run(
        ["ip", *options, "-batch", "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"ip: {done.stderr.strip()[-500:]}")


def _run(command: list[str]) -> int:
    return subprocess.run(command, capture_output=True, timeout=COMMAND_S, check=False).returncode
