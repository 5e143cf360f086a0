"""A cable that loses, delays and is narrow: frames between two network namespaces, in user space.

    with Cable(Line(loss=0.05, delay_s=0.015)) as cable:
        subprocess.run([*cable.enter(), "ping", "-c", "100", cable.here])

This process keeps one end (`Cable.here`), a namespace of its own has the other (`Cable.there`).
Each direction is a `Lane` with dice of its own: the same seed loses the same frames of the same
traffic. Not netem's model in one point: what the lane is busy with waits in a queue of so many
bytes, and what does not fit is lost, too. ARP always passes.

As a program it carries the frames of two taps until its standard input ends, and says then what it
did: the frames do not wait for whatever else the measuring process has to do.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

__all__ = ["Cable", "Lane", "Line", "why_not"]

TUNSETIFF = 0x400454CA
TAP_NO_PI = 0x0002 | 0x1000
FRAME_BYTES = 65536
ARP = b"\x08\x06"
LONGEST_WAIT_S = 0.5
COMMAND_S = 30.0
NAMES = ("bench0", "bench1")
HERE, THERE = "10.77.0.1", "10.77.0.2"


@dataclass(frozen=True, slots=True)
class Line:
    """What a cable does to frames, each way alike."""

    loss: float = 0.0
    """Share of frames that vanish, each way."""
    delay_s: float = 0.0
    """One way; the round trip has twice that."""
    rate_bps: float = 0.0
    """Bits a second; 0: no limit."""
    queue_bytes: int = 64 * 1024
    """What may wait for the lane; only with a rate."""
    seed: int = 1


@dataclass(slots=True)
class Lane:
    """One direction, as pure data: frames in with their time, frames out when they are due."""

    line: Line
    dice: random.Random
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque[tuple[float, bytes]])
    free_at: float = 0.0
    frames: int = 0
    bytes: int = 0
    lost: int = 0
    overflowed: int = 0

    def put(self, frame: bytes, now: float) -> None:
        """A frame has come; it is lost, dropped or waits."""
        self.frames += 1
        self.bytes += len(frame)
        is_protected = frame[12:14] == ARP
        if not is_protected and self.dice.random() < self.line.loss:
            self.lost += 1
            return
        sent_at = now
        if self.line.rate_bps:
            begins = max(now, self.free_at)
            if (begins - now) * self.line.rate_bps / 8 + len(frame) > self.line.queue_bytes:
                self.overflowed += 1
                return
            sent_at = self.free_at = begins + len(frame) * 8 / self.line.rate_bps
        self.waiting.append((sent_at + self.line.delay_s, frame))

    def due(self, now: float) -> list[bytes]:
        """Frames that arrive by *now*, in their order."""
        found = list[bytes]()
        while self.waiting and self.waiting[0][0] <= now:
            found.append(self.waiting.popleft()[1])
        return found

    def next_at(self) -> float | None:
        """When the next one arrives."""
        return self.waiting[0][0] if self.waiting else None

    def told(self) -> dict[str, int]:
        """What it did, as counts."""
        return {
            "frames": self.frames,
            "bytes": self.bytes,
            "lost": self.lost,
            "overflowed": self.overflowed,
        }


def carry(line: Line, taps: tuple[int, int], until: int) -> dict[str, dict[str, int]]:
    """Carry frames between two descriptors until a third can be read."""
    lanes = [Lane(line, random.Random(line.seed + number)) for number in (0, 1)]
    while True:
        times = [at for lane in lanes if (at := lane.next_at()) is not None]
        wait = min(times) - time.monotonic() if times else LONGEST_WAIT_S
        readable, _, _ = select.select([*taps, until], [], [], max(0.0, wait))
        for number, lane in enumerate(lanes):
            if taps[number] in readable:
                _take(taps[number], lane)
            for frame in lane.due(time.monotonic()):
                _send(taps[1 - number], frame)
        if until in readable:
            return {"out": lanes[0].told(), "back": lanes[1].told()}


def _take(tap: int, lane: Lane) -> None:
    for _ in range(64):
        try:
            frame = os.read(tap, FRAME_BYTES)
        except BlockingIOError:
            return
        lane.put(frame, time.monotonic())


def _send(tap: int, frame: bytes) -> None:
    try:
        os.write(tap, frame)
    except (BlockingIOError, OSError):
        return  # an interface that goes down, or is full, loses it as a real one does


def open_tap(name: str) -> int:
    """A new interface of this namespace; its frames come and go by the descriptor."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", name.encode(), TAP_NO_PI))
    return tap


def why_not() -> str | None:
    """Why no cable can be made here; None: it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.path.exists("/dev/net/tun"):  # noqa: PTH110 - one look
        return "there is no /dev/net/tun"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "unshare --net: " + done.stderr.decode().strip()


class Cable:
    """A cable between this process's namespace and a new one; gone when the block ends."""

    here, there = HERE, THERE

    def __init__(self, line: Line) -> None:
        self._line = line
        self._processes: list[subprocess.Popen[str]] = []
        self.told: dict[str, Any] = {}
        """What both lanes did; there once the block has ended."""

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _make(self) -> None:
        self._far = self._start(["unshare", "--net", "sh", "-c", "ip link set lo up; echo; cat"])
        _line_of(self._far)
        self._bridge = self._start(
            [sys.executable, __file__, "--line", json.dumps(asdict(self._line))]
        )
        _line_of(self._bridge)
        near, far = NAMES
        _run("ip", "link", "set", far, "netns", str(self._far.pid))
        _run("ip", "addr", "add", f"{HERE}/24", "dev", near)
        _run("ip", "link", "set", near, "up")
        _run(*self.enter(), "ip", "addr", "add", f"{THERE}/24", "dev", far)
        _run(*self.enter(), "ip", "link", "set", far, "up")

    def enter(self) -> tuple[str, ...]:
        """Words before a command that is to run at the other end."""
        return ("nsenter", f"--net=/proc/{self._far.pid}/ns/net", "--")

    @property
    def pid(self) -> int:
        """Of the process that carries the frames."""
        return self._bridge.pid

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        return process

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._processes):
            try:
                text, _ = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                text, _ = process.communicate()
            if process is getattr(self, "_bridge", None) and text.strip():
                self.told = json.loads(text)
        self._processes.clear()


def _line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args} ended before it was ready")
    return line


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def main() -> None:
    """Carry frames until standard input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--line", required=True, help="fields of Line as JSON")
    line = Line(**json.loads(parser.parse_args().line))
    os.nice(-10)  # a real line waits for no other program
    taps = open_tap(NAMES[0]), open_tap(NAMES[1])
    print(flush=True)
    print(json.dumps(carry(line, taps, sys.stdin.fileno())))


if __name__ == "__main__":
    main()
